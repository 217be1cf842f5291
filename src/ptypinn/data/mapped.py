"""Detector counts that stay in an NPY or NPZ file until they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from ptypinn.data.archive import Archive, map_npy
from ptypinn.data.validate import check_patterns


class MappedCounts:
    """Patterns of an NPY file, or of an NPZ file without compression, read on demand and checked when read.

    Can be pickled and sent to workers.

    Args:
        path: The file, (M, rows, columns) or a raster (y, x, rows, columns), stored in C order.
        window: Rows and columns of the patterns that are kept; None keeps all.
        member: Name of the array in an NPZ file; empty for an NPY file.
        patterns_last: The axis of the patterns comes last instead, (rows, columns, M).
        squared: Amplitudes are stored, whose squares are the counts.
        good: Good pixels, (N, N); values of the others are not checked. None checks all.
    """

    def __init__(
        self,
        path: Path,
        window: tuple[slice, slice] | None = None,
        member: str = "",
        *,
        patterns_last: bool = False,
        squared: bool = False,
        good: np.ndarray | None = None,
    ) -> None:
        self._path, self._window = Path(path).resolve(), window or (slice(None), slice(None))
        self._member, self._last, self._squared, self._good = member, patterns_last, squared, good
        self._map()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return self._patterns.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type: the stored one, or float32 of squares."""
        return np.dtype(np.float32) if self._squared else self._patterns.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice, by integer array in any order, or by boolean array.

        Raises:
            InputError: Where patterns hold negative or non-finite counts.
        """
        wanted = np.atleast_1d(np.arange(self.shape[0])[key])
        patterns = np.array(self._patterns[wanted])
        check_patterns(str(self._path), patterns, self._good, wanted)
        return np.square(patterns, dtype=np.float64).astype(np.float32) if self._squared else patterns

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_patterns": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def _map(self) -> None:
        whole = Archive(self._path).mapped(self._member) if self._member else map_npy(self._path)
        assert whole is not None, "a member without compression"
        stack = np.moveaxis(whole, -1, 0) if self._last else whole.reshape(-1, *whole.shape[-2:])
        self._patterns = stack[(slice(None), *self._window)]
