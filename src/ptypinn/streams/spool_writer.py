"""Write the spool of a scan in progress, so that what was flushed outlives the writer."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from ptypinn.errors import InputError
from ptypinn.streams.messages import Frames, Metadata, Positions
from ptypinn.streams.spool import (
    FRAME_COLUMNS,
    MASK,
    METADATA,
    NO_NUMBER,
    POSITION_COLUMNS,
    SpoolReader,
    list_segments,
    read_metadata,
)
from ptypinn.utils.atomic_files import atomic_path, write_json
from ptypinn.utils.plain_values import to_plain

MAX_SEGMENT_FRAMES = 65_536
"""Frames after which a new segment begins."""
CHUNK_ROWS = 4096
"""Rows of numbers, times and positions in one chunk."""


class SpoolWriter:
    """Writer of a spool: a new segment for itself, beside those that earlier ones have left.

    Args:
        folder: The spool; created where it does not exist.
        min_free_bytes: Space on the disk that is left free: frames that would take it are refused.
    """

    def __init__(self, folder: Path, min_free_bytes: int = 0) -> None:
        self._folder, self._min_free_bytes = folder, min_free_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._file: h5py.File | None = None
        self._frames = 0
        self._n_segments = max((int(path.stem) for path in list_segments(folder)), default=0)
        self.values: dict[str, Any] = read_metadata(folder)
        """Facts about the scan so far."""
        self._kind = _find_kind(folder)

    def write_metadata(self, metadata: Metadata) -> None:
        """Write facts about the scan; those of later messages replace earlier ones."""
        values = dict(metadata.values)
        if (mask := values.pop("mask", None)) is not None:
            with atomic_path(self._folder / MASK) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.asarray(mask, bool))
        names = {"name": metadata.name} if metadata.name else {}
        merged = {**{key: value for key, value in self.values.items() if key != "mask"}, **values, **names}
        write_json(self._folder / METADATA, to_plain(merged))
        self.values = merged

    def delete_mask(self) -> None:
        """Delete the mask: it is of other frames."""
        (self._folder / MASK).unlink(missing_ok=True)

    def write_frames(self, frames: Frames, arrivals_s: np.ndarray) -> bool:
        """Append frames; return False where the disk has no space for them.

        Args:
            frames: Frames of one shape and number type, the same for the whole scan.
            arrivals_s: Time of arrival of each, seconds since the epoch.

        Raises:
            InputError: Where they differ in shape or number type from the frames before.
        """
        kind = (frames.counts.shape[1:], frames.counts.dtype)
        if self._kind not in (None, kind):
            raise InputError("frame", "", _describe_kind(kind), f"{_describe_kind(self._kind)}, as those before")
        if not self._has_space(frames.counts.nbytes):
            return False
        self._kind = kind
        if self._file is None or "frames" not in self._file or self._frames >= MAX_SEGMENT_FRAMES:
            self._start_segment(frames.counts)
        assert self._file is not None
        group = self._file["frames"]
        times = np.full(len(frames.numbers), np.nan) if frames.times_s is None else frames.times_s
        _append(group["counts"], frames.counts)
        columns = {"times_s": times, "arrivals_s": arrivals_s, "numbers": frames.numbers}
        for name, values in columns.items():  # the numbers last: they say how many frames are complete
            _append(group[name], values)
        self._frames += len(frames.numbers)
        return True

    def write_positions(self, positions: Positions, arrivals_s: np.ndarray) -> None:
        """Append positions; those before the first frame make their own start of a segment.

        Args:
            positions: Positions by number or by time.
            arrivals_s: Time of arrival of each, seconds since the epoch.
        """
        if self._file is None:
            self._start_segment(None)
        assert self._file is not None
        group, count = self._file["positions"], len(positions.positions_m)
        numbers = np.full(count, NO_NUMBER) if positions.numbers is None else positions.numbers
        times = np.full(count, np.nan) if positions.times_s is None else positions.times_s
        _append(group["positions_m"], positions.positions_m)
        for name, values in {"times_s": times, "arrivals_s": arrivals_s, "numbers": numbers}.items():
            _append(group[name], values)

    def flush(self) -> None:
        """Make everything readable for others."""
        if self._file is not None:
            for group in ("frames", "positions"):
                if group in self._file:
                    for name in sorted(self._file[group], key=lambda name: name == "numbers"):
                        self._file[group][name].flush()

    def close(self) -> None:
        """Close the segment."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def abandon(self) -> None:
        """Leave the segment after a failure, as far as it was flushed: what comes next begins another one."""
        with contextlib.suppress(Exception):
            self.close()
        self._file = None

    def _start_segment(self, counts: np.ndarray | None) -> None:
        """Create the next segment; without frames, one for positions alone."""
        self.close()
        self._n_segments, self._frames = self._n_segments + 1, 0
        path = self._folder / f"{self._n_segments:04d}.h5"
        self._file = h5py.File(path, "w", libver="latest")
        if counts is not None:
            group = self._file.create_group("frames")
            shape = counts.shape[1:]
            options = {"maxshape": (None, *shape), "chunks": (1, *shape), **hdf5plugin.Bitshuffle(cname="lz4")}
            group.create_dataset("counts", (0, *shape), counts.dtype, **options)
            _create_columns(group, FRAME_COLUMNS)
        group = self._file.create_group("positions")
        group.create_dataset("positions_m", (0, 2), np.float64, maxshape=(None, 2), chunks=(CHUNK_ROWS, 2))
        _create_columns(group, POSITION_COLUMNS)
        self._file.swmr_mode = True

    def _has_space(self, need_bytes: int) -> bool:
        return shutil.disk_usage(self._folder).free - need_bytes >= self._min_free_bytes


def _find_kind(folder: Path) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return shape and number type of the frames of a spool; None where it has none."""
    reader = SpoolReader(folder)
    try:
        places, _ = reader.read_frames()
        first = reader.read_counts(places[:1]) if len(places) else None
        return None if first is None else (first.shape[1:], first.dtype)
    finally:
        reader.close()


def _describe_kind(kind: tuple[tuple[int, ...], np.dtype[Any]]) -> str:
    shape, dtype = kind
    return f"{' x '.join(map(str, shape))} pixels of {dtype}"


def _create_columns(group: h5py.Group, columns: Mapping[str, type]) -> None:
    for name, dtype in columns.items():
        group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(CHUNK_ROWS,))


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    before = len(dataset)
    dataset.resize(before + len(values), 0)
    try:
        dataset[before:] = values
    except BaseException:  # rows without values would be read as zeros
        dataset.resize(before, 0)
        raise
