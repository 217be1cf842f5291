"""Statistics of a scan that need one pass over its patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

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
