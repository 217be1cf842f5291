"""Patterns of several datasets, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Num

from ptypinn.data.scan import Counts


class JoinedCounts:
    """Stacks of patterns of one size as a single stack, each left where it is until it is asked for.

    Args:
        parts: The stacks, in order; at least one.
    """

    def __init__(self, parts: Sequence[Counts]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(int(part.shape[0]) for part in self._parts)])
        self._dtype = np.result_type(*(part.dtype for part in self._parts))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return (int(self._starts[-1]), *self._parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type that holds the values of all parts."""
        return self._dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice, by integer array in any order, or by boolean array."""
        wanted = np.atleast_1d(np.arange(self.shape[0])[key])
        patterns = np.empty((len(wanted), *self.shape[1:]), self._dtype)
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            patterns[mine] = self._parts[number][wanted[mine] - self._starts[number]]
        return patterns


def join(parts: Sequence[Counts]) -> Counts:
    """One stack of several: an array where all are in memory, and the part itself where it is the only one."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    return JoinedCounts(parts)
