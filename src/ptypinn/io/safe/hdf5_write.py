"""Write HDF5 files so that a full disk is an error, and never the end of the process.

Once a write has failed, HDF5 can neither finish nor close a file: it ends in a segmentation fault, at the latest when
the process ends. So it writes through an object that keeps failures from it: what follows is kept in memory, so that
the file can be closed, and the failure is raised afterwards.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from io import SEEK_SET, FileIO
from pathlib import Path
from typing import Any

import h5py

from ptypinn.utils.atomic_files import NoSpaceError, atomic_path

MIN_JUDGED_BYTES = 2**22
"""Smallest part of a file from which the size of the whole is estimated."""
MARGIN = 2.0
"""Size of what is left, as estimated, over the free space, from which a file counts as too large."""

_target: ContextVar[_ForgivingFile | None] = ContextVar("hdf5_target", default=None)


@contextlib.contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file, which is complete once the context ends without an error.

    Args:
        path: The file; an existing one is emptied.

    Raises:
        OSError: Where a write has failed: the disk is full, or a quota or a limit of the process is reached.
    """
    with _ForgivingFile(path) as target:
        token = _target.set(target)
        try:
            with h5py.File(target, "w") as file:
                yield file
        finally:
            _target.reset(token)
            target.require_complete()


@contextlib.contextmanager
def replace_hdf5(path: Path, need_bytes: int = 0) -> Iterator[h5py.File]:
    """Create an HDF5 file that replaces an existing one when it is complete.

    Args:
        path: The file.
        need_bytes: Bytes that will be written, where that is certain beforehand.

    Raises:
        OSError: Where it cannot be written.
    """
    with atomic_path(path, need_bytes) as temporary, create_hdf5(temporary) as file:
        yield file


def require_written(fraction: float) -> None:
    """Raise the error of a write that has failed in the file that is being created: for loops over large data.

    Args:
        fraction: Fraction of the data that has been given to HDF5; where the rest would take more than twice the space
            that is left, the disk counts as full.
    """
    target = _target.get()
    if target is None:
        return
    target.require_complete()
    need_bytes = int(target.size / fraction)
    if target.size > MIN_JUDGED_BYTES and need_bytes - target.size > MARGIN * target.measure_free_space():
        raise NoSpaceError(need_bytes)


class _ForgivingFile(FileIO):
    """A file that accepts everything: the first write that fails is remembered, and what follows is kept in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._failure: OSError | None = None
        self._place, self._end = 0, 0
        self._pieces: list[tuple[int, bytes]] = []

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self._end

    def measure_free_space(self) -> int:
        """Return the bytes that are free on its disk."""
        status = os.fstatvfs(self.fileno())
        return status.f_bavail * status.f_frsize

    def require_complete(self) -> None:
        """Raise the error of the first write that failed."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any, /) -> int:
        """Write a view of bytes at the present place; return their number."""
        length = len(data)
        if self._failure is None:
            try:
                written = os.pwrite(self.fileno(), data, self._place)
                while written < length:
                    written += os.pwrite(self.fileno(), data[written:], self._place + written)
            except OSError as error:
                self._failure = error
        if self._failure is not None:
            self._pieces.append((self._place, bytes(data)))
        self._place += length
        self._end = max(self._end, self._place)
        return length

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer from the present place; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        length = max(min(len(view), self._end - self._place), 0)
        stored = os.pread(self.fileno(), length, self._place)
        view[:length] = stored + bytes(length - len(stored))
        for start, piece in self._pieces:
            first, last = max(start, self._place), min(start + len(piece), self._place + length)
            if first < last:
                view[first - self._place : last - self._place] = piece[first - start : last - start]
        self._place += length
        return length

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Go to a place; return it."""
        starts = 0, self._place, self._end  # SEEK_SET, SEEK_CUR, SEEK_END
        self._place = starts[whence] + offset
        return self._place

    def tell(self) -> int:
        """Return the present place."""
        return self._place

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or extend the file; return its size."""
        self._end = self._place if size is None else size
        if self._failure is None:
            try:
                os.ftruncate(self.fileno(), self._end)
            except OSError as error:
                self._failure = error
        return self._end
