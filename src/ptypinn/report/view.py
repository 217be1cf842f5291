"""What a screen can show of an object of any size: a bounded picture of its lit part, made a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import gaussian_filter

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.masks import bounding_box

Box = tuple[slice, slice]

MOST_PX = 1024
"""Longest edge of a picture."""
SHOWN_FRACTION = 0.03
"""Pixels with less than this share of the light (the 95th percentile) are left blank: they show nothing but noise."""


SMOOTHING = 0.006
"""Width of the filter that smooths the outline of a region, over the edge of the view."""


@dataclass(frozen=True)
class View:
    """Bounded pictures of a reconstruction, cut to where there was light; NaN where there was none."""

    amplitude: Float32[np.ndarray, "y x"]
    """Mean modulus of the object."""
    phase: Float32[np.ndarray, "y x"]
    """Phase of the mean of the object relative to that of all well-lit pixels, radians."""
    well_lit: Bool[np.ndarray, "y x"]
    """Where figures of merit are taken, its outline smoothed."""
    box: Box
    """The part of the canvas that is shown."""
    step: int
    """Object pixels along the edge of a pixel of the view."""


def view_of(recon: Reconstruction, most_px: int = MOST_PX) -> View:
    """Amplitude and phase where the probe lit the sample, at most `most_px` pixels wide and high."""
    box, shown = lit_box(recon)
    step = step_for(shown.shape, most_px)
    field = reduced(recon.object[box], shown, step)
    amplitude = reduced(recon.object[box], shown, step, np.abs)
    blank = ~(np.isfinite(amplitude) & _smooth(shown, step))
    lit = _smooth(recon.well_lit()[box], step) & ~blank
    phase = np.angle(field * np.exp(-1j * _mean_phase(field[lit if lit.any() else ~blank])))
    amplitude, phase = (np.where(blank, np.nan, image).astype(np.float32) for image in (amplitude, phase))
    return View(amplitude, phase, lit, box, step)


def lit_box(recon: Reconstruction) -> tuple[Box, Bool[np.ndarray, "y x"]]:
    """The rectangle of the canvas that holds all light worth showing, and where in it there is such light."""
    lit = recon.well_lit(SHOWN_FRACTION)
    if not lit.any():
        lit = np.ones(recon.object.shape, bool)
    box = bounding_box(lit)
    return box, lit[box]


def step_for(shape: tuple[int, ...], most_px: int) -> int:
    """Pixels to average along each edge so that none of the edges is longer than `most_px`."""
    return max(1, -(-max(shape) // most_px))


def reduced(
    image: np.ndarray, keep: np.ndarray, step: int, of: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Mean over blocks of `step` x `step` pixels, of those to keep; NaN where a block has none.

    Args:
        image: Real or complex image, (height, width).
        keep: Pixels that count.
        step: Edge of a block, pixels.
        of: Function of the pixels to average, such as the modulus; None for the pixels themselves.
    """
    rows, columns = range(0, image.shape[0], step), np.arange(0, image.shape[1], step)
    means = []
    with np.errstate(invalid="ignore"):
        for row in rows:
            band, kept = image[row : row + step], keep[row : row + step]
            values = np.where(kept, band if of is None else of(band), 0).sum(0)
            means.append(np.add.reduceat(values, columns) / np.add.reduceat(kept.sum(0), columns))
    return np.stack(means)


def _smooth(region: np.ndarray, step: int) -> np.ndarray:
    """A region on the pixels of a view, without the ragged edge and the islands that single pixels make."""
    share = reduced(region.astype(np.float32), np.ones(region.shape, bool), step)
    return np.asarray(gaussian_filter(share, SMOOTHING * max(share.shape), mode="constant") > 0.5)


def _mean_phase(values: np.ndarray) -> float:
    return float(np.angle(values.astype(np.complex128).sum()))
