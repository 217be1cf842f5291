"""Counts derived from other counts: marked pixels masked, amplitudes squared."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Num

from ptypinn.data.scan import Counts
from ptypinn.errors import InputError

SAMPLED = 64
"""Number of frames sampled for marked pixels where a stack exceeds the memory."""
BATCH = 64


class UnmarkedCounts:
    """Frames whose marked pixels read 0 where they are masked; elsewhere they are an error.

    Args:
        counts: The frames as they are stored.
        mark: The value.
        good: Good pixels, (N, N).
        source: Name of the data for messages.
    """

    def __init__(self, counts: Counts, mark: int, good: np.ndarray, source: str) -> None:
        self._counts, self._mark, self._good, self._source = counts, mark, good, source

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return self._counts.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""
        return self._counts.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by index array."""
        patterns = self._counts[key]
        marked = patterns == self._mark
        wrong = np.argwhere(marked & self._good)
        if len(wrong):
            j, y, x = (int(i) for i in wrong[0])
            number = int(np.atleast_1d(np.arange(self.shape[0])[key])[j])
            overflow = f"an overflow at pattern {number}, pixel ({y}, {x})"
            expected = "none at good pixels; a larger --memory-budget-gib masks what overflows in any frame"
            raise InputError(self._source, "counts", overflow, expected)
        return np.where(marked, patterns.dtype.type(0), patterns)


def without_marked(
    counts: Counts, mark: int | None, good: Bool[np.ndarray, "y x"], source: str
) -> tuple[Counts, Bool[np.ndarray, "y x"]]:
    """Return frames without marks, and a mask of the pixels that are good in all of them.

    Args:
        counts: The frames as they are stored; those in memory are changed.
        mark: Value of an invalid pixel; None where there is none.
        good: Good pixels so far, (N, N).
        source: Name of the data for messages.

    Returns:
        The frames, and the pixels that are never marked by all frames that are in memory, or by some of those that
        are not.
    """
    if mark is None:
        return counts, good
    good, frames = good.copy(), counts.shape[0]
    if isinstance(counts, np.ndarray):
        for start in range(0, frames, BATCH):
            part = counts[start : start + BATCH]
            marked = part == mark
            good &= ~marked.any(0)
            part[marked] = 0
        return counts, good
    for number in np.unique(np.linspace(0, frames - 1, min(frames, SAMPLED)).astype(int)):
        good &= counts[number : number + 1][0] != mark
    return UnmarkedCounts(counts, mark, good, source), good


class SquaredCounts:
    """Counts of amplitudes, squared when they are read.

    Args:
        amplitudes: Square roots of counts, lazy.
    """

    def __init__(self, amplitudes: Counts) -> None:
        self._amplitudes = amplitudes

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return self._amplitudes.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of squares, float32."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by index array."""
        return square(self._amplitudes[key])


def square(amplitudes: Num[np.ndarray, "*axes"]) -> Num[np.ndarray, "*axes"]:
    """Return the counts of amplitudes, float32, squared in double precision."""
    return np.square(amplitudes, dtype=np.float64).astype(np.float32)
