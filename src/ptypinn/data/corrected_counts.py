"""Some of the patterns of a scan, and those without the defects that a survey lists, read on demand."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Num

from ptypinn.data.cosmic_rays import Candidates
from ptypinn.data.scan import Counts
from ptypinn.data.validation import check_patterns, deferred_checks


class PickedCounts:
    """Patterns of other counts, read on demand.

    Args:
        counts: All patterns, in memory or lazy.
        index: Which of them, sorted.
    """

    def __init__(self, counts: Counts, index: Int64[np.ndarray, " patterns"]) -> None:
        self._counts, self._index = counts, index

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return (len(self._index), *self._counts.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""
        return self._counts.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by index array."""
        return self._counts[self._index[key]]


class CorrectedCounts(PickedCounts):
    """Patterns of other counts, corrected and checked when they are read.

    Args:
        counts: All patterns as they are stored.
        index: Patterns to take, ascending.
        bad: Pixels to mask, (N, N); they read 0, also where they are stored as NaN.
        rays: Readings to replace, by their pattern in `counts`.
        source: Name of the data for messages.
    """

    def __init__(
        self,
        counts: Counts,
        index: Int64[np.ndarray, " patterns"],
        bad: Bool[np.ndarray, "y x"],
        rays: Candidates,
        source: str,
    ) -> None:
        super().__init__(counts, index)
        self._bad, self._rays, self._source = bad, rays, source

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice, by integer array in any order, or by boolean array.

        Raises:
            InputError: Where good pixels hold negative or non-finite counts.
        """
        wanted = np.atleast_1d(self._index[key])
        with deferred_checks():
            patterns = replace_readings(self._counts[wanted], wanted, self._bad, self._rays)
        check_patterns(self._source, patterns, None, wanted)
        return patterns

    def __len__(self) -> int:
        return len(self._index)


def correct_counts(
    counts: Counts,
    index: Int64[np.ndarray, " patterns"],
    bad: Bool[np.ndarray, "y x"],
    rays: Candidates,
    source: str,
) -> Counts:
    """Return corrected counts, in memory where they are now; arguments are those of `CorrectedCounts`."""
    if isinstance(counts, np.ndarray):
        return replace_readings(counts[index], index, bad, rays)
    return CorrectedCounts(counts, index, bad, rays, source)


def replace_readings(
    patterns: Num[np.ndarray, "patterns y x"],
    numbers: Int64[np.ndarray, " patterns"],
    bad: Bool[np.ndarray, "y x"],
    rays: Candidates,
) -> Num[np.ndarray, "patterns y x"]:
    """Replace bad pixels by 0 and readings hit by cosmic rays by their surroundings.

    Args:
        patterns: Some patterns.
        numbers: Index of each in the scan.
        bad: Bad pixels.
        rays: Readings to replace.
    """
    patterns = np.array(patterns)
    patterns[:, bad] = 0
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers.tolist()):
        places.setdefault(number, []).append(place)
    for hit in np.flatnonzero(np.isin(rays.frame, numbers)):
        y, x = rays.pixel[hit]
        patterns[places[int(rays.frame[hit])], y, x] = rays.replacement[hit]
    return patterns
