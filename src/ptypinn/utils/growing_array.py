"""Arrays that rows are added to, without a copy of those before each time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

MIN_ROWS = 256
"""Rows that there is space for at first."""


class GrowingArray:
    """Array that grows along its first axis: the space doubles when it is used up, so a row costs the same at any size.

    Args:
        shape: Shape of a row; empty for numbers.
        dtype: Type of the numbers.

    >>> rows = GrowingArray((), int)
    >>> rows.append([3, 4]).tolist(), rows.append([5]).tolist()
    ([3, 4], [3, 4, 5])
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._space: np.ndarray = np.empty((MIN_ROWS, *shape), dtype)
        self._count = 0

    def append(self, rows: Any) -> np.ndarray:
        """Add rows, and return the whole array. It is written to in place; earlier arrays need not show what is."""
        end = self._count + len(rows)
        if end > len(self._space):
            space = np.empty((max(end, 2 * len(self._space)), *self._space.shape[1:]), self._space.dtype)
            space[: self._count] = self._space[: self._count]
            self._space = space
        self._space[self._count : end] = rows
        self._count = end
        return self._space[:end]
