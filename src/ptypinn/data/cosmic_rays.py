"""Cosmic rays: up to a few pixels of a single frame far above the same pixels of other frames and their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

BRIGHTER = 8.0
"""Minimum factor over nearly all other frames at the same place: speckles above it are one in a billion."""
LONELY = 4.0
"""Minimum factor over the neighbours in the same frame that are not hit themselves."""
SURPLUS = 20.0
"""Counts that chance adds in the dark."""
PEAK_FRACTION = 0.1
"""Minimum fraction of the pattern's own brightest pixel: fainter hits are harmless, or single photons of a detector
that is not calibrated."""
UPPER = 0.1
"""Fraction of the sampled frames that may be hit or bad at a pixel."""
MAX_HITS = 0.01
"""Maximum fraction of a frame's pixels that are hit; a frame with more is bad as a whole."""
TWICE = 2
"""Maximum number of frames that are hit at one place; more are no accident, or a pixel that blinks."""
MAX_TRACK = 4
"""Pixels of a track; one that is bright itself beside a bright speckle makes the whole of it a speckle."""
NEIGHBOURS = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)])


@dataclass(frozen=True)
class Candidates:
    """Single readings: their place, value and surroundings."""

    frame: Int64[np.ndarray, " hits"]
    pixel: Int64[np.ndarray, "hits 2"]
    """(y, x)."""
    value: Float64[np.ndarray, " hits"]
    replacement: Float64[np.ndarray, " hits"]
    """Median of the neighbours in the same frame that are not hit."""

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        """Concatenate the hits of batches of frames."""
        parts = parts or [no_candidates()]
        names = ("frame", "pixel", "value", "replacement")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def pick(self, index: np.ndarray) -> Candidates:
        """Return some of the hits."""
        return Candidates(self.frame[index], self.pixel[index], self.value[index], self.replacement[index])

    def __len__(self) -> int:
        return len(self.frame)


def no_candidates() -> Candidates:
    """Return an empty list of hits."""
    integers, numbers = np.zeros(0, np.int64), np.zeros(0)
    return Candidates(integers, np.zeros((0, 2), np.int64), numbers, numbers)


def limit_counts(
    sample: Float64[np.ndarray, "frames y x"], usable: Bool[np.ndarray, "y x"]
) -> Float64[np.ndarray, "y x"]:
    """Return the counts above which a reading of a pixel is a candidate; infinite where there is no telling.

    Args:
        sample: Some frames of the scan, at least four.
        usable: Pixels that hold counts.
    """
    if len(sample) < 4:
        return np.full(usable.shape, np.inf)
    from scipy.ndimage import maximum_filter

    rank = len(sample) - 1 - max(1, int(UPPER * len(sample)))
    upper = np.where(usable, np.partition(sample, rank, axis=0)[rank], 0)
    limit = np.maximum(BRIGHTER * maximum_filter(upper, size=3, mode="nearest") + SURPLUS, PEAK_FRACTION * upper.max())
    return np.where(usable, limit, np.inf)


def find_candidates(
    counts: Float64[np.ndarray, "frames y x"],
    limit: Float64[np.ndarray, "y x"],
    usable: Bool[np.ndarray, "y x"],
    numbers: Int64[np.ndarray, " frames"],
) -> Candidates:
    """Return readings above the limit that also stand alone in their frame.

    Args:
        counts: Frames; pixels that hold none are 0.
        limit: See `limit_counts`.
        usable: Pixels that hold counts.
        numbers: Index of each frame in the scan.
    """
    hit = counts > limit
    hit[np.count_nonzero(hit, axis=(1, 2)) > max(4, MAX_HITS * usable.size)] = False
    j, y, x = np.nonzero(hit)
    if not len(j):
        return no_candidates()
    near = np.stack([y, x], 1)[:, None] + NEIGHBOURS
    inside = ((near >= 0) & (near < usable.shape)).all(-1)
    ny, nx = np.clip(near, 0, np.array(usable.shape) - 1).transpose(2, 0, 1)
    free = inside & usable[ny, nx] & ~hit[j[:, None], ny, nx]
    around = np.where(free, counts[j[:, None], ny, nx], np.nan)
    ring = np.max(np.where(free, around, -np.inf), axis=1)
    alone = (free.sum(1) >= np.maximum(3, inside.sum(1) - 3)) & (counts[j, y, x] > LONELY * ring + SURPLUS)
    beside = inside & hit[j[:, None], ny, nx]
    for _ in range(MAX_TRACK):
        rejected = np.zeros_like(hit)
        rejected[j[~alone], y[~alone], x[~alone]] = True
        alone &= ~(beside & rejected[j[:, None], ny, nx]).any(1)
    middle = np.array([np.median(row[~np.isnan(row)]) for row in around[alone]])
    hits = Candidates(numbers[j], np.stack([y, x], 1), counts[j, y, x], np.zeros(len(j))).pick(alone)
    return Candidates(hits.frame, hits.pixel, hits.value, np.rint(middle))


def choose_rays(candidates: Candidates, frames: int) -> Candidates:
    """Return the candidates that are accidents: none where a pixel or most frames have many.

    Args:
        candidates: Readings that stand alone.
        frames: Number of frames of the scan.
    """
    if not len(candidates) or len(np.unique(candidates.frame)) > 0.5 * frames:
        return no_candidates()
    place = candidates.pixel // 2 @ np.array([2**31, 1])
    visits = np.unique(np.stack([place, candidates.frame], 1), axis=0)[:, 0]
    places, number = np.unique(visits, return_counts=True)
    return candidates.pick(number[np.searchsorted(places, place)] <= TWICE)
