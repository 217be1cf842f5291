"""Some patterns of a scan, left where they are until they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int64, Num

from ptypinn.data.scan import Counts


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
