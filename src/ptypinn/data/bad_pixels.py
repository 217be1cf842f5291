"""Detector pixels that hold no counts of the experiment: gaps, constant, hot, dead and saturated pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

PixelKind = Literal["gap", "constant", "hot", "dead", "saturated"]
FLAGS_FROM = 2**15 - 1
"""Smallest maximum of a number type that detectors use as a flag; 8 bits do hold counts up to theirs."""
MIN_FRAMES = 16
"""Minimum number of frames from which chance and defects are distinguished by statistics."""
MIN_FLAGGED = 3
"""Minimum number of frames in which a flag is recognised."""
IMPROBABLE = 25.0
"""Minus the logarithm of the probability of an accident anywhere on the detector."""
HOT_RATIO = 4.0
"""Minimum of a hot pixel's mean over the third largest of its 24 neighbours; speckles are two pixels wide or more."""
CLOSE_RATIO = 8.0
"""Minimum of its mean over the third largest of its eight neighbours, where no pixel nearby is an eighth as sharp."""
SHARP_RATIO = 16.0
"""The same near the zero frequency: the direct beam of a wide probe is this sharp."""
SHARPER = 2.0
"""Factor by which a hot pixel is sharper than the direct beam of the same scan."""
DEAD_COUNTS = 200.0
"""Median counts of 25 neighbours above which a pixel without any is dead, and of the lines beside a gap."""
DEAD_RING = 1000.0
"""Minimum counts of all but one of its eight neighbours: a node of a far field is not darker than a thousandth."""
FLAT_RING = 0.3
"""Minimum of these over their median: along a dark fringe, at least two are darker."""
MAX_BAD = 0.5
"""Maximum fraction of the pixels that statistics declare bad; more is no detector's defect."""


@dataclass(frozen=True)
class PixelStatistics:
    """Numbers of every pixel over the frames that hold counts."""

    frames: int
    """Number of such frames."""
    mean: Float64[np.ndarray, "y x"]
    """Mean counts; values that are no counts as 0."""
    variance: Float64[np.ndarray, "y x"]
    """Variance of the counts."""
    minimum: Float64[np.ndarray, "y x"]
    """Minimum count; infinite without frames."""
    maximum: Float64[np.ndarray, "y x"]
    """Maximum count."""
    invalid: Int64[np.ndarray, "y x"]
    """Number of frames with NaN, infinity or a negative number."""
    full: Int64[np.ndarray, "y x"]
    """Number of frames with the maximum of the number type."""
    flag: float
    """That maximum; infinite for floating-point numbers and 8 bits."""
    negative: Float64[np.ndarray, "y x"]
    """Latest value that was no count; 0 where there was none."""


@dataclass(frozen=True)
class PixelFinding:
    """Pixels with one defect."""

    kind: PixelKind
    pixels: Int64[np.ndarray, "pixel 2"]
    """(y, x) of each."""
    value: float | None = None
    """Value that all of them hold; None where they differ."""


@dataclass(frozen=True)
class BadPixels:
    """All defects, and their pixels together."""

    defects: tuple[PixelFinding, ...]
    bad: Bool[np.ndarray, "y x"]


def find_bad_pixels(pixels: PixelStatistics, good: Bool[np.ndarray, "y x"]) -> BadPixels:
    """Find gap, constant, hot and dead pixels.

    - gap: the maximum of the number type, NaN or a negative number in every frame with counts;
    - constant: the same count in every frame, in so many that shot noise makes it improbable;
    - hot: a single pixel far above its neighbours in the mean over the frames, which does not vary with the
      sample;
    - dead: zero in every frame amid pixels that counted, and whole lines of zeros between lines that counted.

    Args:
        pixels: Statistics of the pixels.
        good: Pixels that are not masked yet.
    """
    bad, defects = np.zeros_like(good), list[PixelFinding]()
    for kind, rule in RULES.items():
        new = rule(pixels, good & ~bad) & good & ~bad
        if kind != "gap" and np.count_nonzero(new) > MAX_BAD * np.count_nonzero(good):
            continue
        if new.any() and (good & ~bad & ~new).any():
            defects += _describe(kind, new, pixels)
            bad |= new
    return BadPixels(tuple(defects), bad)


def saturated_pixels(
    level: float, at_level: Int64[np.ndarray, "y x"], peaks: Float64[np.ndarray, " frames"], flag: float
) -> Bool[np.ndarray, "y x"]:
    """Return pixels that read the maximum of the scan, where so many do that the detector cuts there.

    Expected counts and shot noise spread the brightest readings over many values; a counter that is full repeats one.

    Args:
        level: Maximum count of the scan.
        at_level: Number of frames in which a pixel reads it.
        peaks: Maximum count of every frame.
        flag: Maximum of the number type, which counts at once.
    """
    number, frames = int(at_level.sum()), int(np.count_nonzero(peaks == level))
    width = 2 * np.sqrt(max(level, 1.0))
    below = np.count_nonzero((peaks < level) & (peaks >= level - width)) / width
    piled = level >= 50 and frames >= 3 and number >= 8 and number > frames and number >= 8 * max(1.0, below)
    return (at_level > 0) & (piled or level >= flag)


def _gaps(pixels: PixelStatistics, good: np.ndarray) -> np.ndarray:
    flagged = (pixels.invalid + pixels.full) >= pixels.frames
    return flagged & (pixels.frames >= MIN_FLAGGED) & ((pixels.invalid > 0) | (pixels.full > 0))


def _constant(pixels: PixelStatistics, good: np.ndarray) -> np.ndarray:
    same = (pixels.minimum == pixels.maximum) & (pixels.mean > 0) & (pixels.frames >= MIN_FRAMES)
    if not same.any():
        return same
    from scipy.special import gammaln

    whole = np.floor(np.clip(pixels.mean, 1, 1e12))
    surprise = -pixels.frames * (whole * np.log(whole) - whole - gammaln(whole + 1))
    return same & (surprise > IMPROBABLE + np.log(good.size))


def _hot(pixels: PixelStatistics, good: np.ndarray) -> np.ndarray:
    if pixels.frames < MIN_FRAMES:
        return np.zeros_like(good)
    mean, variance = np.where(good, pixels.mean, 0), np.where(good, pixels.variance, 0)
    wide, close = _ratio(mean, pixels.frames, 5), _ratio(mean, pixels.frames, 3)
    centre = _near_zero_frequency(good.shape[0])
    sharp = wide[centre & (wide <= SHARP_RATIO)].max(initial=1.0)
    limit = np.where(centre, SHARP_RATIO, max(HOT_RATIO, min(SHARP_RATIO, SHARPER * sharp)))
    alone = (close > np.maximum(limit, CLOSE_RATIO)) & (close > CLOSE_RATIO * _third_neighbour(close, 5))
    around, natural = _third_neighbour(mean, 3), _third_neighbour(variance, 3)
    steady = variance <= (0.3 * (mean - around)) ** 2 + 4 * natural + 3 * mean
    return good & ((wide > limit) | alone) & steady


def _ratio(mean: np.ndarray, frames: int, edge: int) -> Float64[np.ndarray, "y x"]:
    """Return the counts of every pixel over those of its neighbours and what chance adds to them."""
    around = frames * _third_neighbour(mean, edge)
    return frames * mean / (around + 6 * np.sqrt(around) + 25)


def _near_zero_frequency(size: int) -> np.ndarray:
    offset = np.arange(size) - size // 2
    return np.hypot(offset[:, None], offset) <= max(4, size / 16)


def _third_neighbour(image: Float64[np.ndarray, "y x"], edge: int) -> Float64[np.ndarray, "y x"]:
    """Return the third largest of the neighbours of every pixel in a square; far fields are periodic.

    Args:
        image: The image.
        edge: Edge of the square, 3 or 5 pixels.
    """
    from scipy.ndimage import rank_filter

    ring = np.ones((edge, edge), bool)
    ring[edge // 2, edge // 2] = False
    return rank_filter(image, -3, footprint=ring, mode="wrap")


def _dead(pixels: PixelStatistics, good: np.ndarray) -> np.ndarray:
    if pixels.frames < MIN_FRAMES:
        return np.zeros_like(good)
    from scipy.ndimage import median_filter, rank_filter

    total = np.where(good, pixels.frames * pixels.mean, 0)
    silent = good & (pixels.maximum <= 0)
    lines = _silent_lines(silent, good, total) | _silent_lines(silent.T, good.T, total.T).T
    filled = np.where(good & ~lines, total, _median_or_zero(total[good & ~silent]))
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    darkest, middle = (rank_filter(filled, rank, footprint=ring, mode="nearest") for rank in (1, 4))
    amid_counts = (darkest >= np.maximum(DEAD_RING, FLAT_RING * middle)) & (
        median_filter(filled, size=5, mode="nearest") >= DEAD_COUNTS
    )
    return silent & (lines | amid_counts)


def _median_or_zero(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else 0.0


def _silent_lines(silent: np.ndarray, good: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return silent pixels of rows that are silent from edge to edge, with a row that counts on both sides."""
    empty = ~(good & ~silent).any(1)
    counting = np.flatnonzero(~empty)
    chosen = np.zeros_like(silent)
    for above, below in pairwise(counting):
        if below - above > 1 and min(total[above].sum(), total[below].sum()) >= DEAD_COUNTS:
            chosen[above + 1 : below] = silent[above + 1 : below]
    return chosen


RULES: Mapping[PixelKind, Callable[[PixelStatistics, np.ndarray], np.ndarray]] = {
    "gap": _gaps,
    "constant": _constant,
    "hot": _hot,
    "dead": _dead,
}


def _describe(kind: PixelKind, new: np.ndarray, pixels: PixelStatistics) -> list[PixelFinding]:
    """Split pixels of one kind by the value that they hold, where they hold one."""
    where = np.argwhere(new)
    if kind in ("hot", "dead"):
        return [PixelFinding(kind, where, 0.0 if kind == "dead" else None)]
    values = pixels.maximum[new] if kind == "constant" else np.where(pixels.full > 0, pixels.flag, pixels.negative)[new]
    groups = np.unique(values[~np.isnan(values)])
    if len(groups) + bool(np.isnan(values).any()) > 4:
        return [PixelFinding(kind, where)]
    parts = [PixelFinding(kind, where[values == value], float(value)) for value in groups]
    lost = np.isnan(values)
    return [*parts, *([PixelFinding(kind, where[lost], float("nan"))] if lost.any() else [])]
