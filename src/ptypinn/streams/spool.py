"""Spool of a scan in progress: every frame and position as received, in HDF5 files that are read while they grow.

A spool is a folder with one file (segment) per start of the receiver and per some tens of thousands of frames, written
in the mode for simultaneous readers (SWMR): what was flushed stays readable when the writer is killed. Its facts about
the scan are in `metadata.json` and `mask.npy`, the state of the receiver in `receiver.json`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the compression filters
import numpy as np
from jaxtyping import Int64, Num

from ptypinn.data.ranges import read_ranges
from ptypinn.io.crop import Window, cut

FOLDER, METADATA, MASK, STATE = "spool", "metadata.json", "mask.npy", "receiver.json"
FRAME_COLUMNS = {"numbers": np.int64, "times_s": np.float64, "arrivals_s": np.float64}
POSITION_COLUMNS = {"numbers": np.int64, "times_s": np.float64, "arrivals_s": np.float64}
NO_NUMBER = -1
"""Number of positions that are joined by time."""


def list_segments(folder: Path) -> list[Path]:
    """Return the segments of a spool in the order of their start."""
    return sorted(path for path in folder.glob("*.h5") if path.stem.isdigit())


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return the facts about the scan so far, `mask` included; empty before the first."""
    values: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        values = json.loads((folder / METADATA).read_text())
        values["mask"] = np.load(folder / MASK, allow_pickle=False)
    return values


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state that the receiver has written last; empty before the first."""
    with contextlib.suppress(OSError, ValueError):
        state = json.loads((folder / STATE).read_text())
        return state if isinstance(state, dict) else {}
    return {}


def read_dropped(folder: Path) -> list[int]:
    """Return the numbers of the frames that came and could not be spooled, ascending."""
    return read_numbers(read_state(folder), "dropped_numbers")


def read_numbers(state: Mapping[str, Any], name: str) -> list[int]:
    """Return the frame numbers that a state of the receiver has under a name, ascending."""
    return read_ranges(str(state.get(name, "")))


def holds_frames(folder: Path) -> bool:
    """Return True if a spool has frames, or a file that cannot be read now and may have some."""
    for path in list_segments(folder):
        segment = _Segment.open(path)
        if segment is None:
            return True
        rows = segment.read_columns("frames", {}, {})
        segment.close()
        if len(rows):
            return True
    return False


class SpoolReader:
    """Reader of a spool that grows: every frame and position once.

    Args:
        folder: The spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: dict[Path, _Segment] = {}

    def read_frames(self) -> tuple[Int64[np.ndarray, "frames 2"], dict[str, np.ndarray]]:
        """Return place (segment, row) and `FRAME_COLUMNS` of the frames since the last call."""
        places, columns = [np.zeros((0, 2), np.int64)], {name: [np.zeros(0, t)] for name, t in FRAME_COLUMNS.items()}
        for number, segment in enumerate(self._refresh()):
            rows = segment.read_columns("frames", FRAME_COLUMNS, columns)
            places.append(np.stack([np.full(len(rows), number), rows], 1))
        return np.concatenate(places), {name: np.concatenate(parts) for name, parts in columns.items()}

    def read_positions(self) -> dict[str, np.ndarray]:
        """Return `positions_m` and `POSITION_COLUMNS` of the positions since the last call."""
        types = {"positions_m": np.float64, **POSITION_COLUMNS}
        columns = {name: [np.zeros((0, 2) if name == "positions_m" else 0, t)] for name, t in types.items()}
        for segment in self._refresh():
            segment.read_columns("positions", types, columns)
        return {name: np.concatenate(parts) for name, parts in columns.items()}

    def read_counts(self, places: Int64[np.ndarray, "frames 2"]) -> Num[np.ndarray, "frames y x"]:
        """Read frames by their places, in any order."""
        segments = list(self._segments.values())
        first = segments[places[0, 0]].counts
        counts = np.empty((len(places), *first.shape[1:]), first.dtype)
        for number in np.unique(places[:, 0]):
            index = np.flatnonzero(places[:, 0] == number)
            order = index[np.argsort(places[index, 1], kind="stable")]
            rows = places[order, 1]
            runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1)
            for run in runs:
                counts[order[run]] = segments[number].counts[rows[run[0]] : rows[run[-1]] + 1]
        return counts

    def pick_counts(self, places: Int64[np.ndarray, "frames 2"], window: Window | None = None) -> SpooledCounts:
        """Return frames by their places, cut to a window, as counts that are read when they are used."""
        return SpooledCounts(self, places, window)

    def close(self) -> None:
        """Close all segments."""
        for segment in self._segments.values():
            segment.close()

    def _refresh(self) -> list[_Segment]:
        for path in list_segments(self._folder):
            if path not in self._segments and (segment := _Segment.open(path)) is not None:
                self._segments[path] = segment
        return list(self._segments.values())


class _Segment:
    """One file of a spool, with the number of rows that were read of each group."""

    def __init__(self, file: h5py.File) -> None:
        self._file, self._rows = file, {"frames": 0, "positions": 0}

    @classmethod
    def open(cls, path: Path) -> _Segment | None:
        """Open a segment; None where its writer has not begun with the mode for readers."""
        try:
            return cls(h5py.File(path, "r", libver="latest", swmr=True))
        except OSError:
            return None

    @property
    def counts(self) -> h5py.Dataset:
        """The frames."""
        return self._file["frames/counts"]

    def read_columns(
        self, group: str, types: Mapping[str, type], columns: Mapping[str, list[np.ndarray]]
    ) -> Int64[np.ndarray, " rows"]:
        """Append the rows that are complete and new to lists of columns; return their numbers."""
        if group not in self._file:
            return np.zeros(0, np.int64)
        datasets = [self._file[group][name] for name in types]
        if group == "frames":
            datasets.append(self.counts)
        for dataset in datasets:
            dataset.refresh()
        start, end = self._rows[group], min(len(dataset) for dataset in datasets)
        for name in types:
            columns[name].append(self._file[group][name][start:end])
        self._rows[group] = end
        return np.arange(start, end)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SpooledCounts:
    """Frames of a spool in the order of their places, read on demand: `data.scan.Counts`.

    Args:
        reader: Reader of the spool.
        places: Segment and row of every frame.
        window: Part of every frame; None for all of it.
    """

    def __init__(
        self, reader: SpoolReader, places: Int64[np.ndarray, "frames 2"], window: Window | None = None
    ) -> None:
        self._reader, self._places, self._window = reader, places, window
        first = cut(reader.read_counts(places[:1]), window)
        self.shape: tuple[int, ...] = (len(places), *first.shape[1:])
        self.dtype = first.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "frames y x"]:
        """Read frames by slice or by index array."""
        places = self._places[key]
        if not len(places):
            return np.empty((0, *self.shape[1:]), self.dtype)
        return cut(self._reader.read_counts(places), self._window)
