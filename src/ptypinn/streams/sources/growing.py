"""A file or a folder of files that grows while the scan is measured.

The address is a path, with options as a query where needed: `scan.h5`, `scan.h5?positions=entry/stage/yx`,
`scan_master.h5?frames=2401`, `folder/`. Read are HDF5 files in the mode for simultaneous readers (SWMR), and HDF5 files
that appear one by one: those that an Eiger master file links to, or all of a folder, by the numbers at the end of their
names. Positions are in the first of them, or in another file that grows.

A scan is over when as many frames have come as the master file or `frames` states, when a file has an `end` (attribute
of the file, dataset `end`, or the `end_time` of NeXus), or when nothing has come for `idle_s` seconds: 30 times as
long, or 3 times the longest pause, while frames of a stated number are to come, as files of many frames do one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import h5py
import watchfiles

from ptypinn.errors import InputError
from ptypinn.streams.messages import End, Frames, Message, Metadata, Rejected
from ptypinn.streams.sources.decode import shorten
from ptypinn.streams.sources.hdf5_part import FramesOfFile, GrowingFile
from ptypinn.streams.sources.hdf5_places import (
    FileOptions,
    describe_file,
    find_frames,
    find_index,
    find_prefix,
    is_over,
    list_data_files,
    read_places,
)
from ptypinn.streams.sources.options import PATIENCE, SourceOptions
from ptypinn.streams.sources.rows import SETTLE_S, GrowingRows
from ptypinn.streams.sources.series import NumberCheck

LOOK_MS = 150
"""Maximum time between two looks: disks of other machines report no changes."""
PATIENCE_OF_PAUSES = 3.0
"""Time without growth that ends a scan of which frames are to come, at least, in units of its longest pause."""
SUFFIXES = (".h5", ".hdf5", ".nxs", ".cxi")
MASTER = "_master"
"""End of the name of a master file, without its suffix."""


class GrowingSource:
    """Frames and positions of a file, of a master file with its data files, or of the files of a folder.

    Args:
        path: The file or folder.
        options: Datasets and number of frames.
        common: Unit of positions, and the time without growth that ends the scan.

    Raises:
        InputError: Where there is nothing under this name.
    """

    can_wait = True

    def __init__(self, path: Path, options: FileOptions, common: SourceOptions) -> None:
        if not path.exists():
            raise InputError(str(path), "file", "nothing under this name", "a file or folder that grows")
        self._path, self._options, self._common = path, options, common
        self._folder = path if path.is_dir() else path.parent
        self._first: GrowingFile | None = None if path.is_dir() else GrowingFile(path)
        self._parts: dict[Path, FramesOfFile] = {}
        self._rows = GrowingRows()
        self._expected = options.frames or None
        self._values: dict[str, object] | None = None
        self._faults: set[str] = set()
        self._over = self._is_last = self._is_linked = False
        self._longest_pause_s = 0.0
        self._check = NumberCheck(self._expected)
        self._open = True

    def messages(self) -> Iterator[Message | None]:
        """Yield what is there, then what comes, and `End`.

        Raises:
            InputError: Where the file turns out to be no scan.
        """
        changes = watch_folder(self._folder)
        latest = arrived = time.monotonic()
        try:
            while self._open and not self._is_finished(latest):
                for message in map(self._check.take, self._look()):
                    if isinstance(message, Frames):
                        self._longest_pause_s = max(self._longest_pause_s, time.monotonic() - arrived)
                    yield message
                    latest = time.monotonic()  # the receiver may have taken long
                    arrived = latest if isinstance(message, Frames) else arrived
                yield None
                next(changes)
            self._is_last = True
            yield from map(self._check.take, self._look())
            yield from self._reject_unread()
            yield End(self._expected)
        finally:
            changes.close()
            self.close()

    def close(self) -> None:
        """Close all files."""
        self._open = False
        for file in [self._first, *(part.file for part in self._parts.values())]:
            if file is not None:
                file.close()

    def _is_finished(self, latest: float) -> bool:
        """Return True where nothing more is to come.

        Args:
            latest: Time of the latest message.
        """
        taken = sum(part.n_taken for part in self._parts.values())
        if self._expected is not None and taken >= self._expected:
            if not self._rows.n_taken or self._rows.n_taken >= self._expected:
                return True
            return time.monotonic() - latest > SETTLE_S
        if self._path.is_dir() and not self._parts:
            return False
        files = [file for file in (self._first, *(part.file for part in self._parts.values())) if file is not None]
        idle_s = time.monotonic() - max([latest, *(file.changed_at for file in files)])
        return idle_s > (min(SETTLE_S, self._common.idle_s) if self._over else self._choose_patience())

    def _choose_patience(self) -> float:
        """Return the time without growth that ends the scan, seconds."""
        parts = self._parts.values()
        there = sum(part.n_taken + part.n_withheld for part in parts)
        are_whole = self._is_linked and all(part.file.is_closed for part in parts)
        if self._expected is None or there >= self._expected or are_whole:
            return self._common.idle_s
        return max(PATIENCE * self._common.idle_s, PATIENCE_OF_PAUSES * self._longest_pause_s)

    def _look(self) -> Iterator[Message]:
        """Yield what has come since the last look."""
        if self._path.is_dir():
            yield from self._read_folder()
        if self._first is not None and (self._is_last or self._rows.is_waiting or self._first.is_waiting()):
            with self._first.look() as file:
                if file is not None:
                    yield from self._read_first(file, self._first)
        newest = max((_order(path) for path in self._parts if path.exists()), default=0)
        for path, part in list(self._parts.items()):
            if part.file is not self._first:
                yield from self._read_part(part, is_past=_order(path) < newest)

    def _read_part(self, part: FramesOfFile, is_past: bool) -> Iterator[Message]:
        """Yield the frames of one of several files.

        Args:
            part: The file.
            is_past: True where a later file is there: its writer has closed this one, or soon will.
        """
        if is_past:
            part.file.reopen()
        if part.is_waiting() or (part.n_withheld and (is_past or self._is_last)):
            with part.file.look() as file:
                is_over = is_past and file is not None and not file.swmr_mode
                yield from part.take(file, self._is_last or is_over)

    def _read_folder(self) -> Iterator[Message]:
        """Look for a master file, or else for numbered files of one scan, or a single file; others are rejected."""
        paths = list_parts(self._folder)
        numbered = [path for path in paths if find_index(path) is not None]
        names = [path for path in paths if path.stem.endswith(MASTER)] or ([] if numbered else paths)
        if self._first is None and names:
            self._first = GrowingFile(names[0], self._folder)
        if self._first is not None and self._first.path.stem.endswith(MASTER):
            return
        scan = find_prefix(next(iter(self._parts), numbered[0])) if numbered else ""
        self._add_parts({path: "" for path in numbered if find_prefix(path) == scan})
        for path in paths:
            if path not in self._parts and (self._first is None or path != self._first.path):
                yield from self._reject(f"{path.name}: not of the scan of the other files in the folder")

    def _reject(self, fault: str) -> Iterator[Rejected]:
        """Yield a fault, once."""
        if fault not in self._faults:
            self._faults.add(fault)
            yield Rejected(shorten(fault))

    def _read_first(self, file: h5py.File, first: GrowingFile) -> Iterator[Message]:
        """Yield what a single file, or a master file, states, and the frames of a single file."""
        path, source = first.path, first.path.name
        if self._values is None or not file.swmr_mode or self._is_last:
            values, faults = describe_file(file, source)
            if self._values is None or self._values.keys() != values.keys():
                yield Metadata(values, path.stem.removesuffix(MASTER))
            for fault in faults:
                yield from self._reject(fault)
            self._values = values
            self._expected = self._expected or values.get("n_frames")
        links = list_data_files(file)
        if links:
            self._is_linked = True
            self._add_parts({path.parent / name: place for name, place in links.items()})
        elif find_frames(file, self._options.data) is not None:
            self._parts.setdefault(path, FramesOfFile(first, self._options.data))
            yield from self._parts[path].take(file, self._is_last)
        self._over = self._over or is_over(file)
        try:
            places = read_places(file, source, self._options.positions, self._common.positions_unit)
        except InputError as error:
            yield from self._reject(str(error))
        else:
            yield from () if places is None else self._rows.take(places, self._is_last)

    def _add_parts(self, names: dict[Path, str]) -> None:
        for path, name in names.items():
            if path not in self._parts:
                file = GrowingFile(path, self._folder)
                self._parts[path] = FramesOfFile(file, self._options.data or name, self._count_before(path))

    def _count_before(self, path: Path) -> Callable[[], int | None]:
        """Return a function that counts the frames of the files before one, for files that do not number theirs."""

        def count() -> int | None:
            parts = {index: part for each, part in self._parts.items() if (index := find_index(each)) is not None}
            index, first = find_index(path), min(parts, default=0)
            if index is None or (index == first and (index <= 1 or self._is_last)):
                return 0
            before = [part for place, part in sorted(parts.items()) if place < index]
            lengths = [part.length for part in before if part.is_complete or (self._is_last and part.length)]
            return (index - first) * lengths[0] if lengths else None

        return count

    def _reject_unread(self) -> Iterator[Message]:
        """Yield the files that could not be read until the end.

        Raises:
            InputError: Where that is the one file that was asked for.
        """
        if self._first is not None and not self._parts:
            reason = self._first.reason or "no frames"
            raise InputError(str(self._first.path), "frames", reason, "a stack of frames; ?data=DATASET names it")
        for path, part in self._parts.items():
            if part.file.reason or (part.n_taken == 0 and not part.length):
                yield Rejected(shorten(f"{path.name}: {part.file.reason or 'no frames'}"))


def _order(path: Path) -> int:
    """Return the place of a file among those of its scan, by the number at the end of its name."""
    return find_index(path) or 0


def watch_folder(folder: Path) -> Generator[object, None, None]:
    """Yield when something changes in a folder, and in intervals too."""
    return watchfiles.watch(
        folder, rust_timeout=LOOK_MS, step=20, debounce=40, yield_on_timeout=True, recursive=False, watch_filter=None
    )


def list_parts(folder: Path) -> list[Path]:
    """Return the HDF5 files of a folder by their names, in order; none where it is gone."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError:
        return []
