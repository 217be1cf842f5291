"""Detector counts that are read from their file on demand."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Num

from ptypinn.data.scan import Counts
from ptypinn.data.validation import check_patterns
from ptypinn.errors import InputError
from ptypinn.io.crop import Window, read_cut
from ptypinn.io.safe.hdf5_open import DAMAGE, open_for_reading
from ptypinn.io.safe.npz import Archive, map_npy

MAX_GAP = 4
"""Maximum gap between requested patterns that is read through instead of skipped, patterns."""


class LazyCounts:
    """Patterns of an HDF5 dataset, read on demand and checked when read.

    The file is opened at the first read of each process, so the object can be pickled and sent to workers.

    Args:
        path: The HDF5 file.
        dataset: Name of the dataset, (M, N, N), or (rows, columns, N, N) for a raster of patterns.
        good: Good pixels, (N, N); values of the others are not checked. None checks all.
        window: Rows and columns of the patterns that are kept; None keeps all.
    """

    def __init__(self, path: Path, dataset: str, good: np.ndarray | None = None, window: Window | None = None) -> None:
        self._path, self._name, self._good = Path(path).resolve(), dataset, good
        self._window = window
        self._file: h5py.File | None = None
        self._process = -1
        data = self._open()
        self._dtype = np.dtype(data.dtype)
        edges = data.shape[-2:] if window is None else [part.stop - part.start for part in window]
        self._shape = (math.prod(data.shape[:-2]), *edges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""
        return self._dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice, by integer array in any order, or by boolean array.

        Raises:
            InputError: Where the file cannot be read, or good pixels hold negative or non-finite counts.
        """
        if isinstance(key, slice):
            wanted = np.arange(*key.indices(self._shape[0]))
        else:
            wanted = np.arange(self._shape[0])[np.atleast_1d(np.asarray(key))]
        ordered, inverse = np.unique(wanted, return_inverse=True)
        patterns = self._read(ordered)
        check_patterns(str(self._path), patterns, self._good, ordered)
        return patterns if np.array_equal(wanted, ordered) else patterns[inverse]

    def __len__(self) -> int:
        return self._shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": -1}

    def _open(self) -> h5py.Dataset:
        if self._file is None or self._process != os.getpid():
            try:
                self._file, self._process = open_for_reading(self._path), os.getpid()
            except InputError:
                raise
            except DAMAGE as error:
                raise InputError(
                    str(self._path), "file", f"{error}", "the HDF5 file that the scan came from"
                ) from error
        return self._file[self._name]

    def _read(self, ordered: np.ndarray) -> np.ndarray:
        patterns = np.empty((len(ordered), *self._shape[1:]), self._dtype)
        data = self._open()
        runs = np.split(np.arange(len(ordered)), np.flatnonzero(np.diff(ordered) > MAX_GAP) + 1)
        try:
            for run in runs:
                if len(run):
                    first, last = int(ordered[run[0]]), int(ordered[run[-1]])
                    patterns[run] = self._between(data, first, last + 1)[ordered[run] - first]
        except DAMAGE as error:
            raise InputError(str(self._path), self._name, f"unreadable data ({error})", "a complete file") from error
        return patterns

    def _between(self, data: h5py.Dataset, first: int, stop: int) -> np.ndarray:
        """Read patterns `first` to `stop`, of a raster by whole lines."""
        if data.ndim == 3:
            return read_cut(data, (slice(first, stop),), self._window)
        columns = data.shape[1]
        line = first // columns
        lines = read_cut(data, (slice(line, -(-stop // columns)), slice(None)), self._window)
        return lines.reshape(-1, *self._shape[1:])[first - line * columns : stop - line * columns]


class JoinedCounts:
    """Stacks of patterns of one size as a single stack, each read on demand.

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
    """Concatenate stacks: an array where all are in memory, the stack itself where it is the only one."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    return JoinedCounts(parts)


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
        window: Window | None = None,
        member: str = "",
        *,
        patterns_last: bool = False,
        squared: bool = False,
        good: np.ndarray | None = None,
    ) -> None:
        self._path, self._window = Path(path).resolve(), window
        self._member, self._last, self._squared, self._good = member, patterns_last, squared, good
        self._map()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        edges = self._patterns.shape[1:] if self._window is None else [w.stop - w.start for w in self._window]
        return (len(self._patterns), *edges)

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
        patterns = np.array(read_cut(self._patterns, (wanted,), self._window))
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
        self._patterns = np.moveaxis(whole, -1, 0) if self._last else whole.reshape(-1, *whole.shape[-2:])
