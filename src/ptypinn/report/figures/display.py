"""Bounded pictures of an object of any size: its illuminated part, binned to what a screen can show, and outlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float32, Float64

from ptypinn.data.depth import project_phase
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.image import bounding_box

Box = tuple[slice, slice]

MAX_PX = 1024
"""Longest edge of a picture."""
VISIBLE_FRACTION = 0.03
"""Pixels below this fraction of the illumination's 95th percentile are left blank: they hold nothing but noise."""
SMOOTHING = 0.006
"""Width of the Gaussian that smooths the outline of a region, over the edge of the view."""
MAX_RINGS, MAX_POINTS = 40, 2000
TOLERANCES_PX = (0.4, 1.0, 2.5, 6.0)
"""Largest distance between a contour and its simplification, tried in turn."""
Polygon = Float64[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class VisibleRegion:
    """The part of a canvas that is worth drawing."""

    box: Box
    """Smallest rectangle around it."""
    visible: Bool[np.ndarray, "y x"]
    """Pixels inside the box with enough illumination to draw."""
    well_illuminated: Bool[np.ndarray, "y x"]
    """Pixels inside the box on which metrics are computed."""


@dataclass(frozen=True)
class ObjectView:
    """Amplitude and phase of the visible region at a bounded size; NaN where nothing was illuminated."""

    amplitude: Float32[np.ndarray, "y x"]
    """Mean modulus of the object."""
    phase: Float32[np.ndarray, "y x"]
    """Phase of the mean of the object relative to that of all well-illuminated pixels, radians."""
    well_illuminated: Bool[np.ndarray, "y x"]
    """Pixels on which metrics are computed, with a smoothed outline."""
    binning: int
    """Object pixels along the edge of a pixel of the view."""

    @property
    def reference_mask(self) -> Bool[np.ndarray, "y x"]:
        """Well-illuminated pixels; all with a value where there are none."""
        return self.well_illuminated if self.well_illuminated.any() else np.isfinite(self.amplitude)


def find_visible_region(recon: Reconstruction) -> VisibleRegion:
    """Return the illuminated part of the object; the whole canvas where nothing was illuminated."""
    visible = recon.well_illuminated(VISIBLE_FRACTION)
    if not visible.any():
        visible = np.ones(recon.object.shape, bool)
    binning = choose_binning(visible.shape, MAX_PX)
    coarse = _smooth(visible, binning)
    rows, columns = bounding_box(coarse if coarse.any() else np.ones_like(coarse))
    height, width = visible.shape
    box = (
        slice(rows.start * binning, min(rows.stop * binning, height)),
        slice(columns.start * binning, min(columns.stop * binning, width)),
    )
    return VisibleRegion(box, visible[box], recon.well_illuminated()[box])


def view_object(recon: Reconstruction, region: VisibleRegion, max_px: int = MAX_PX) -> ObjectView:
    """Return amplitude and phase inside a region, at most `max_px` pixels wide and high.

    The phase is relative to that of the mean; of a thick sample it is that of all slices together, without jumps.
    """
    object_, binning = recon.object[region.box], choose_binning(region.visible.shape, max_px)
    field = bin_image(object_, binning, region.visible)
    amplitude = bin_image(object_, binning, region.visible, np.abs)
    blank = ~(np.isfinite(amplitude) & _smooth(region.visible, binning))
    mask = _smooth(region.well_illuminated, binning) & ~blank
    inside = mask if mask.any() else ~blank
    if recon.slices is None:
        phase = np.angle(field * np.exp(-1j * _mean_phase(field[inside])))
    else:
        phase = bin_image(project_phase(recon.slices[:, *region.box]), binning, region.visible)
        phase = phase - phase[inside].mean()
    amplitude, phase = (np.where(blank, np.nan, image).astype(np.float32) for image in (amplitude, phase))
    return ObjectView(amplitude, phase, mask, binning)


def choose_binning(shape: tuple[int, ...], max_px: int) -> int:
    """Return the number of pixels to average along each edge so that no edge is longer than `max_px`.

    >>> choose_binning((300, 2050), 1024)
    3
    """
    return max(1, -(-max(shape) // max_px))


def bin_image(
    image: np.ndarray,
    binning: int,
    mask: np.ndarray | None = None,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the mean over blocks of `binning` x `binning` pixels; NaN where a block has no finite pixel of the mask.

    Args:
        image: Real or complex image, (height, width).
        binning: Edge of a block, pixels.
        mask: Pixels that count; None for all.
        transform: Function of the pixels to average, such as the modulus; None for the pixels themselves.

    >>> bin_image(np.array([[1.0, 3.0, 5.0], [1.0, 3.0, np.nan]]), 2)
    array([[2., 5.]])
    """
    columns, means = np.arange(0, image.shape[1], binning), []
    with np.errstate(invalid="ignore"):
        if binning == 1:
            counted = np.isfinite(image) & (True if mask is None else mask)
            return np.asarray(
                np.where(counted, image if transform is None else transform(image), 0) / counted.astype(int)
            )
        for row in range(0, image.shape[0], binning):
            band = image[row : row + binning]
            counted = np.isfinite(band) & (True if mask is None else mask[row : row + binning])
            values = np.where(counted, band if transform is None else transform(band), 0).sum(0)
            means.append(np.add.reduceat(values, columns) / np.add.reduceat(counted.sum(0), columns))
    return np.stack(means)


def _smooth(region: np.ndarray, binning: int) -> np.ndarray:
    """Return a region on the pixels of a view, without ragged edges and islands of single pixels."""
    from scipy.ndimage import gaussian_filter

    fraction = bin_image(region, binning, transform=_as_number)
    return np.asarray(gaussian_filter(fraction, SMOOTHING * max(fraction.shape), mode="constant") > 0.5)


def _as_number(region: np.ndarray) -> np.ndarray:
    return region.astype(np.float32)


def _mean_phase(values: np.ndarray) -> float:
    return float(np.angle(values.astype(np.complex128).sum()))


def contour_path(mask: Bool[np.ndarray, "y x"]) -> str:
    """Return the contour of a mask in the coordinates of its pixels; empty where the mask is.

    Corners are rounded off, by 0.4 pixels or as far as keeps the path below 2,000 points; of a mask in many pieces only
    the 40 longest contours are drawn.

    >>> contour_path(np.array([[True]]))
    'M0 0.5 0.5 0 1 0.5 0.5 1Z'
    """
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float32)).lines(0.5)
    rings = sorted((np.asarray(line) for line in lines), key=len, reverse=True)[:MAX_RINGS]
    polygons: list[Polygon] = []
    for tolerance in TOLERANCES_PX:
        polygons = [simplify(ring, tolerance) for ring in rings]
        if sum(map(len, polygons)) <= MAX_POINTS:
            break
    before = np.cumsum([0, *map(len, polygons)])[1:]
    return "".join(
        _ring_path(polygon - 0.5) for polygon, points in zip(polygons, before, strict=True) if points <= MAX_POINTS
    )


def simplify(line: Polygon, tolerance: float) -> Polygon:
    """Return the points of a line that keep it within a distance of the original (Douglas and Peucker, 1973).

    >>> simplify(np.array([[0.0, 0.0], [1.0, 0.1], [2.0, 0.0]]), 0.2).tolist()
    [[0.0, 0.0], [2.0, 0.0]]
    """
    retained = np.zeros(len(line), bool)
    retained[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _distance_to_chord(line[first + 1 : last], line[first], line[last])
        farthest = int(distance.argmax())
        if distance[farthest] > tolerance:
            split = first + 1 + farthest
            retained[split] = True
            spans += [(first, split), (split, last)]
    return np.asarray(line[retained])


def _distance_to_chord(points: Polygon, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of points from a chord; from its start where both ends coincide."""
    along, offset = end - start, points - start
    length = float(np.hypot(*along))
    if length == 0:
        return np.asarray(np.hypot(offset[:, 0], offset[:, 1]))
    return np.asarray(np.abs(along[0] * offset[:, 1] - along[1] * offset[:, 0]) / length)


def _ring_path(polygon: Polygon) -> str:
    points = " ".join(f"{x:.4g} {y:.4g}" for x, y in polygon[:-1])
    return f"M{points}Z"
