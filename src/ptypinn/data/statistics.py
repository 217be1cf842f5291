"""Statistics of a scan that need one pass over its patterns, and those of its positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from ptypinn.data.position_clusters import gap_width, label_islands
from ptypinn.data.scan import ScanData

DEAD_PATTERNS = 10
"""Minimum number of patterns that distinguishes a dead pixel from a dark speckle."""
DEAD_COUNTS = 10
"""Photons on neighbouring pixels above which a reading of zero has a probability of 1 in 20 000."""


@dataclass(frozen=True)
class PatternSurvey:
    """Statistics of one pass over the patterns; bad pixels are excluded."""

    sums: Float64[np.ndarray, " patterns"]
    """Photons in every pattern."""
    peaks: Float64[np.ndarray, " patterns"]
    """Maximum count in every pattern."""
    mean_pattern: Float64[np.ndarray, "y x"]
    """Mean counts of every pixel, zero frequency centred; 0 at bad pixels."""
    silent: Bool[np.ndarray, "y x"]
    """Good pixels that read zero in every pattern."""
    dead: Bool[np.ndarray, "y x"]
    """Silent pixels amid others that counted: among 25 neighbours the median counted at least 10 in all."""
    zero_fraction: float
    """Fraction of the good pixels' readings that are zero."""


@dataclass(frozen=True)
class PositionSurvey:
    """Statistics of the positions."""

    extent_px: tuple[float, float]
    """Span (y, x) of the positions, object pixels."""
    spacing_px: float | None
    """Mean spacing of neighbours: the step of the square raster with as many positions in the same outline, object
    pixels; None for a single position."""
    nearest_px: float | None
    """Median distance of each position to the nearest other one, object pixels; None for a single position."""
    coincident: int
    """Positions that repeat another one exactly."""


def survey_patterns(scan: ScanData, batch: int = 64) -> PatternSurvey:
    """Read the counts once, `batch` patterns at a time.

    Args:
        scan: The scan.
        batch: Patterns in memory at a time.
    """
    sums, peaks = np.empty(scan.n_patterns), np.empty(scan.n_patterns)
    from scipy.ndimage import median_filter

    total, zeros = np.zeros((scan.size, scan.size)), 0
    for part, counts in scan.batches(batch):
        good = np.where(scan.good, counts, 0)
        sums[part] = good.sum((1, 2), dtype=np.float64)
        peaks[part] = good.max((1, 2))
        total += good.sum(0, dtype=np.float64)
        zeros += int(np.count_nonzero((good == 0) & scan.good))
    readings = scan.n_patterns * np.count_nonzero(scan.good)
    silent = (total == 0) & scan.good
    enough = scan.n_patterns >= DEAD_PATTERNS
    dead = silent & (median_filter(total, size=5, mode="nearest") >= DEAD_COUNTS) & enough
    return PatternSurvey(sums, peaks, total / scan.n_patterns, silent, dead, float(zeros / readings))


def survey_positions(positions_px: Float64[np.ndarray, "patterns 2"]) -> PositionSurvey:
    """Measure extent and spacing of positions (y, x), object pixels."""
    height, width = np.ptp(positions_px, axis=0).tolist()
    coincident = len(positions_px) - len(np.unique(positions_px, axis=0))
    if len(positions_px) < 2:
        return PositionSurvey((height, width), None, None, coincident)
    from scipy.spatial import cKDTree

    nearest = cKDTree(positions_px).query(positions_px, k=2)[0][:, 1]
    return PositionSurvey((height, width), mean_spacing(positions_px), float(np.median(nearest)), coincident)


def mean_spacing(positions_px: Float64[np.ndarray, "patterns 2"]) -> float:
    """Return the step of the square raster with as many points in the same outline, object pixels.

    Pick's theorem gives the area `A = s^2 (n - P / 2s - 1)` of a raster's outline with perimeter P, so a raster's own
    step comes out exactly, and that of a line scan too. Islands far from each other have outlines of their own, and
    single positions far from all others none: the mean is one over neighbours.

    >>> y, x = np.mgrid[:4, :5]
    >>> round(mean_spacing(np.stack([y.ravel(), x.ravel()], 1) * 2.5), 9)
    2.5
    """
    islands = label_islands(positions_px, gap_width(positions_px))
    parts = [positions_px[islands == number] for number in range(islands.max() + 1)]
    parts = [part for part in parts if len(part) > 1] or [positions_px]
    return float(np.sqrt(np.average([_raster_step(part) ** 2 for part in parts], weights=[len(p) for p in parts])))


def _raster_step(positions_px: np.ndarray) -> float:
    from scipy.spatial import ConvexHull, QhullError

    n = len(positions_px)
    try:
        hull = ConvexHull(positions_px)
        area, perimeter = float(hull.volume), float(hull.area)
    except QhullError:
        area, perimeter = 0.0, 2 * float(np.linalg.norm(np.ptp(positions_px, axis=0)))
    return float((perimeter / 2 + np.sqrt(perimeter**2 / 4 + 4 * (n - 1) * area)) / (2 * (n - 1)))
