"""Counts on disk as xarray sees them: chosen patterns are read when their values are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from ptypinn.data.scan import Counts


class _Unread(BackendArray):  # type: ignore[misc, unused-ignore] # xarray may be missing where types are checked
    def __init__(self, counts: Counts) -> None:
        self._counts, self.shape, self.dtype = counts, counts.shape, np.dtype(counts.dtype)

    def __getitem__(self, key: Any) -> Any:
        support = indexing.IndexingSupport.OUTER_1VECTOR
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        patterns, *pixels = key
        if isinstance(patterns, int | np.integer):
            return np.asarray(self._counts[np.array([patterns])][(0, *pixels)])
        return np.asarray(self._counts[patterns][(slice(None), *pixels)])


def lazily(counts: Counts) -> Any:
    """Counts whose patterns are read by whoever asks for their values."""
    return indexing.LazilyIndexedArray(_Unread(counts))
