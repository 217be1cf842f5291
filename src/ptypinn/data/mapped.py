"""Detector counts that stay in an NPY file until they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from ptypinn.data.archive import map_npy
from ptypinn.data.validate import check_patterns


class MappedCounts:
    """Patterns of an NPY file, read on demand and checked when read; can be pickled and sent to workers.

    Args:
        path: The file, (M, rows, columns) or a raster (y, x, rows, columns), stored in C order.
        window: Rows and columns of the patterns that are kept; None keeps all.
    """

    def __init__(self, path: Path, window: tuple[slice, slice] | None = None) -> None:
        self._path, self._window = Path(path).resolve(), window or (slice(None), slice(None))
        self._map()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return self._patterns.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""
        return self._patterns.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice, by integer array in any order, or by boolean array.

        Raises:
            InputError: Where patterns hold negative or non-finite counts.
        """
        wanted = np.atleast_1d(np.arange(self.shape[0])[key])
        patterns = np.array(self._patterns[wanted])
        check_patterns(str(self._path), patterns, None, wanted)
        return patterns

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_patterns": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def _map(self) -> None:
        whole = map_npy(self._path)
        self._patterns = whole.reshape(-1, *whole.shape[-2:])[(slice(None), *self._window)]
