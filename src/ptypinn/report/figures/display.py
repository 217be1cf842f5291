"""What a screen can show of an object of any size: a bounded picture of its lit part, made a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import gaussian_filter

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.split import bounding_box

Box = tuple[slice, slice]

MOST_PX = 1024
"""Longest edge of a picture."""
SHOWN_FRACTION = 0.03
"""Pixels with less than this share of the light (the 95th percentile) are left blank: they show nothing but noise."""

SMOOTHING = 0.006
"""Width of the filter that smooths the outline of a region, over the edge of the view."""


@dataclass(frozen=True)
class Frame:
    """The part of a canvas that is worth showing."""

    box: Box
    """The smallest rectangle that holds it."""
    shown: Bool[np.ndarray, "y x"]
    """Pixels inside the box with light enough to show something."""
    well_lit: Bool[np.ndarray, "y x"]
    """Pixels inside the box on which figures of merit are taken."""


@dataclass(frozen=True)
class View:
    """Bounded pictures of an object, cut to its frame; NaN where there was no light."""

    amplitude: Float32[np.ndarray, "y x"]
    """Mean modulus of the object."""
    phase: Float32[np.ndarray, "y x"]
    """Phase of the mean of the object relative to that of all well-lit pixels, radians."""
    well_lit: Bool[np.ndarray, "y x"]
    """Where figures of merit are taken, its outline smoothed."""
    step: int
    """Object pixels along the edge of a pixel of the view."""


def frame_of(recon: Reconstruction) -> Frame:
    """Where the probe lit the sample; the whole canvas where it did nowhere."""
    shown = recon.well_lit(SHOWN_FRACTION)
    if not shown.any():
        shown = np.ones(recon.object.shape, bool)
    step = step_for(shown.shape, MOST_PX)
    coarse = _smooth(shown, step)
    rows, columns = bounding_box(coarse if coarse.any() else np.ones_like(coarse))
    height, width = shown.shape
    box = (
        slice(rows.start * step, min(rows.stop * step, height)),
        slice(columns.start * step, min(columns.stop * step, width)),
    )
    return Frame(box, shown[box], recon.well_lit()[box])


def view_of(recon: Reconstruction, frame: Frame, most_px: int = MOST_PX) -> View:
    """Amplitude and phase inside a frame, at most `most_px` pixels wide and high."""
    object_, step = recon.object[frame.box], step_for(frame.shown.shape, most_px)
    field = reduced(object_, step, frame.shown)
    amplitude = reduced(object_, step, frame.shown, np.abs)
    blank = ~(np.isfinite(amplitude) & _smooth(frame.shown, step))
    lit = _smooth(frame.well_lit, step) & ~blank
    phase = np.angle(field * np.exp(-1j * _mean_phase(field[lit if lit.any() else ~blank])))
    amplitude, phase = (np.where(blank, np.nan, image).astype(np.float32) for image in (amplitude, phase))
    return View(amplitude, phase, lit, step)


def step_for(shape: tuple[int, ...], most_px: int) -> int:
    """Pixels to average along each edge so that none of the edges is longer than `most_px`."""
    return max(1, -(-max(shape) // most_px))


def reduced(
    image: np.ndarray,
    step: int,
    keep: np.ndarray | None = None,
    of: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Mean over blocks of `step` x `step` pixels; NaN where a block has no pixel that is finite and to keep.

    Args:
        image: Real or complex image, (height, width).
        step: Edge of a block, pixels.
        keep: Pixels that count; None for all.
        of: Function of the pixels to average, such as the modulus; None for the pixels themselves.
    """
    columns, means = np.arange(0, image.shape[1], step), []
    with np.errstate(invalid="ignore"):
        for row in range(0, image.shape[0], step):
            band = image[row : row + step]
            kept = np.isfinite(band) & (True if keep is None else keep[row : row + step])
            values = np.where(kept, band if of is None else of(band), 0).sum(0)
            means.append(np.add.reduceat(values, columns) / np.add.reduceat(kept.sum(0), columns))
    return np.stack(means)


def _smooth(region: np.ndarray, step: int) -> np.ndarray:
    """A region on the pixels of a view, without the ragged edge and the islands that single pixels make."""
    share = reduced(region, step, of=_as_number)
    return np.asarray(gaussian_filter(share, SMOOTHING * max(share.shape), mode="constant") > 0.5)


def _as_number(region: np.ndarray) -> np.ndarray:
    return region.astype(np.float32)


def _mean_phase(values: np.ndarray) -> float:
    return float(np.angle(values.astype(np.complex128).sum()))
