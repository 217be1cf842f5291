"""Frames of one HDF5 file that may still be written: those that are there and have not been taken."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from ptypinn.errors import InputError
from ptypinn.io.safe.external_files import are_external_files_allowed
from ptypinn.io.safe.hdf5 import require_readable
from ptypinn.io.safe.hdf5_chunks import read_part, read_stored_chunk
from ptypinn.io.safe.hdf5_open import DAMAGE, open_hdf5
from ptypinn.streams.messages import Frames
from ptypinn.streams.sources.blocks import BLOCK_BYTES
from ptypinn.streams.sources.decode import MAX_ARRAY_BYTES
from ptypinn.streams.sources.hdf5_places import find_frames

RETRY_S = 0.5
"""Time after which a file that could not be read is tried again, changed or not: its lock may be gone."""
LOOK_AHEAD = 64
"""Frames behind the first missing one of a file that are looked for."""
RECHECK = 1.25
"""Growth of a dataset after which its storage is checked again, which takes a look at every chunk."""
MAX_FRAMES = 1 << 40
"""Maximum number of frames of a file."""


class GrowingFile:
    """An HDF5 file that may not be there, may not be complete, or may grow while it is read.

    A file in the mode for simultaneous readers (SWMR) stays open; any other is opened anew when it has changed, so that
    no lock is in the way of its writer.

    Args:
        path: The file.
        folder: Folder in which it must lie, links followed; None for a file that the user named.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path, self._folder = path, folder
        self.reason = ""
        self._tried_at = self._opened_at = 0.0
        self._is_due = False
        self.changed_at = time.monotonic()
        self._stack = contextlib.ExitStack()
        self._file: h5py.File | None = None
        self._stamp: tuple[int, int] | None = None

    @contextlib.contextmanager
    def look(self) -> Iterator[h5py.File | None]:
        """Open the file; None where it cannot be read. What turns out to be damaged within ends it, with a reason."""
        self._open()
        try:
            yield self._file
        except (InputError, *DAMAGE) as error:
            self._give_up(error)
        else:
            if self._file is not None and not self._file.swmr_mode:
                self.close()

    def is_waiting(self) -> bool:
        """Return True where a look may show something new: the file has changed, grows, or was not readable before."""
        failed = bool(self.reason) and time.monotonic() - self._tried_at > RETRY_S
        return self._file is not None or self._is_due or failed or self._state() != self._stamp

    @property
    def is_closed(self) -> bool:
        """True for a file that is there and that its writer does not hold open, as far as it could be read."""
        return self._stamp is not None and self._file is None and not self._is_due

    def reopen(self) -> None:
        """Let the next look open a file anew that is open in SWMR mode: its writer may have closed it by now."""
        if self._file is not None and time.monotonic() - self._opened_at > RETRY_S:
            self.close()
            self._is_due = True

    def close(self) -> None:
        """Close the file."""
        self._file = None
        with contextlib.suppress(*DAMAGE):
            self._stack.close()

    def note_change(self) -> None:
        """Remember the state of the file, and when it changed."""
        self._tried_at = time.monotonic()
        if (stamp := self._state()) != self._stamp:
            self.changed_at, self._stamp = self._tried_at, stamp

    def _open(self) -> None:
        self.note_change()
        if self._file is not None or self._stamp is None:
            return
        try:
            self._require_inside()
            self._is_due, self._opened_at = False, time.monotonic()
            self._file = self._stack.enter_context(open_hdf5(self.path))
            self.reason = ""
        except (InputError, *DAMAGE) as error:
            self._give_up(error)

    def _require_inside(self) -> None:
        if self._folder is None or are_external_files_allowed():
            return
        if not self.path.resolve().is_relative_to(self._folder.resolve()):
            raise InputError(self.path.name, "file", "a link that leads outside the folder", "a file in it")

    def _give_up(self, error: Exception) -> None:
        self.reason = str(error)
        self.close()

    def _state(self) -> tuple[int, int] | None:
        """Return what changes when the file does; None where there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


class FramesOfFile:
    """Frames of a growing file, each taken once.

    Args:
        file: The file.
        name: Dataset of the frames; empty for the usual places.
        count_before: Number of frames of the files before; None where it is not clear yet.
    """

    def __init__(self, file: GrowingFile, name: str = "", count_before: Callable[[], int | None] = int) -> None:
        self.file = file
        self.length = self.n_withheld = 0
        self.is_complete = False
        self._stalled = False
        self._checked = 0
        self._name, self._count_before = name, count_before
        self._taken = np.zeros(0, bool)
        self._start = 0

    @property
    def n_taken(self) -> int:
        """Frames that have been taken."""
        return int(self._taken.sum())

    def is_waiting(self) -> bool:
        """Return True where a look may show new frames."""
        return not self.is_complete and (self._stalled or self.file.is_waiting())

    def take(self, file: h5py.File | None, last: bool = False) -> Iterator[Frames]:
        """Yield the frames that are there and have not been taken, in blocks.

        Args:
            file: The file, open; None where it could not be opened.
            last: Take empty frames too: nothing more will be written.

        Raises:
            InputError: Where frames cannot be read; those before have been yielded.
        """
        stack = None if file is None else find_frames(file, self._name)
        if file is None or stack is None:
            return
        if file.swmr_mode:
            stack.refresh()
        first = self._find_first(stack)
        self._stalled = first is None
        if first is None:
            return
        self._grow(stack, str(self.file.path))
        places = self._leave_unwritten(stack, self._list_stored(stack), last)
        frame_bytes = int(np.prod(stack.shape[1:], dtype=object)) * stack.dtype.itemsize
        step = max(1, BLOCK_BYTES // frame_bytes)
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            for place in range(0, len(run), step):
                part = run[place : place + step]
                counts = read_part(stack, (slice(int(part[0]), int(part[-1]) + 1), slice(None), slice(None)))
                self._taken[part] = True
                yield Frames(part.astype(np.int64) + first, counts)
        self.is_complete = not file.swmr_mode and bool(self._taken.all())

    def _find_first(self, stack: h5py.Dataset) -> int | None:
        """Return the number of the first frame of the file: by Eiger's attribute (from 1), or by its place."""
        low = stack.attrs.get("image_nr_low")
        if isinstance(low, np.integer | int) and 1 <= int(low) < MAX_FRAMES:
            return int(low) - 1
        return self._count_before()

    def _grow(self, stack: h5py.Dataset, source: str) -> None:
        size = int(np.prod(stack.shape[1:], dtype=object)) * stack.dtype.itemsize
        if not 0 < size <= MAX_ARRAY_BYTES or len(stack) > MAX_FRAMES:
            raise InputError(
                source, str(stack.name), f"shape {stack.shape}", f"frames of up to {MAX_ARRAY_BYTES} bytes"
            )
        if len(stack) >= RECHECK * self._checked or not stack.file.swmr_mode:
            require_readable(stack, source)
            self._checked = len(stack)
        self.length = len(stack)
        self._taken = np.concatenate([self._taken, np.zeros(max(0, self.length - len(self._taken)), bool)])

    def _list_stored(self, stack: h5py.Dataset) -> np.ndarray:
        """Return the places of frames that are stored and have not been taken; a writer may fill a stack in any order.

        A dataset grows, or has its full size, before its values are there: a reader would get zeros.
        """
        while self._start < self.length and self._taken[self._start]:
            self._start += 1
        waiting = self._start + np.flatnonzero(~self._taken[self._start : self.length])
        if stack.chunks is None:
            return waiting
        places, absent = [], 0
        for place in waiting:
            if _is_stored(stack, int(place)):
                places.append(place)
                absent = 0
            elif (absent := absent + 1) > LOOK_AHEAD:
                break
        return np.array(places, np.int64)

    def _leave_unwritten(self, stack: h5py.Dataset, places: np.ndarray, last: bool) -> np.ndarray:
        """Return places without the empty frames at their end, where frames share their storage.

        Then a frame may be stored before it is written, and reads as empty. One in several pieces may be half written
        too, until the next one is there.

        Args:
            stack: The frames.
            places: Places of those that are stored.
            last: Leave nothing: what is not written now never will be.
        """
        self.n_withheld = 0
        if last or not len(places) or (stack.chunks is not None and stack.chunks[0] == 1):
            return places
        count = _count_written(stack, places)
        if stack.file.swmr_mode and (stack.chunks is None or stack.chunks[1:] != stack.shape[1:]):
            count = max(0, count - 1)
        self.n_withheld = len(places) - count
        return places[:count]


def _is_stored(stack: h5py.Dataset, place: int) -> bool:
    """Return True where all chunks of a frame are stored."""
    length, *edges = stack.chunks
    corners = itertools.product(*map(range, (0, 0), stack.shape[1:], edges))
    return all(read_stored_chunk(stack, (place // length * length, *corner)) is not None for corner in corners)


def _count_written(stack: h5py.Dataset, places: np.ndarray) -> int:
    """Return the number of places up to the last frame that is not empty.

    Chunks before the last one that is stored are taken as written; without chunks, only some frames are looked at
    behind the last one that is not empty.
    """
    if stack.chunks is None:
        count = 0
        for index, place in enumerate(places):
            if not _is_empty(stack, int(place)):
                count = index + 1
            elif index - count >= LOOK_AHEAD:
                break
        return count
    count, settled = len(places), int(np.searchsorted(places, places[-1] // stack.chunks[0] * stack.chunks[0]))
    while count > settled and _is_empty(stack, int(places[count - 1])):
        count -= 1
    return count


def _is_empty(stack: h5py.Dataset, place: int) -> bool:
    """Return True for a frame that reads as one that nothing was written to."""
    frame = read_part(stack, (slice(place, place + 1), slice(None), slice(None)))
    return bool((frame == stack.fillvalue).all())
