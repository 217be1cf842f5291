"""Positions in a file of their own that grows: a text table with a line per frame, or an HDF5 dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.position_table import read_positions
from ptypinn.streams.messages import End, Message, Rejected
from ptypinn.streams.sources.decode import shorten
from ptypinn.streams.sources.growing import SUFFIXES, watch_folder
from ptypinn.streams.sources.hdf5_part import GrowingFile
from ptypinn.streams.sources.hdf5_places import FileOptions, read_places
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.rows import SETTLE_S, GrowingRows


class PositionsFile:
    """Positions of a file that grows, for the frames of another source, which knows the end.

    Args:
        path: Text table with the columns y and x, or HDF5.
        options: Dataset of the positions, for HDF5.
        common: Unit of positions without one.

    Raises:
        InputError: Where there is no such file.
    """

    can_wait = True

    def __init__(self, path: Path, options: FileOptions, common: SourceOptions) -> None:
        if not path.is_file():
            raise InputError(str(path), "positions", "no file under this name", "a text table or an HDF5 file")
        self._path, self._options, self._unit = path, options, common.positions_unit
        self._file = GrowingFile(path)
        self._rows = GrowingRows(min(SETTLE_S, common.idle_s / 2))
        self._reason = ""
        self._open = True

    def messages(self) -> Iterator[Message | None]:
        """Yield positions as they are written, without an end of its own, and what cannot be read."""
        changes = watch_folder(self._path.parent)
        try:
            while self._open:
                yield from self._look()
                yield None
                next(changes)
        finally:
            changes.close()
            self._file.close()
        yield End()

    def close(self) -> None:
        """Stop after the next look."""
        self._open = False

    def _look(self) -> Iterator[Message]:
        if not self._file.is_waiting() and not self._rows.is_waiting:
            return
        is_table = self._path.suffix.lower() not in SUFFIXES
        if is_table:
            places = self._read_table()
        else:
            with self._file.look() as file:
                places = None if file is None else self._read_dataset(file)
        if places is not None:
            yield from self._rows.take(places, last=is_table)
        if self._file.reason not in ("", self._reason):
            self._reason = self._file.reason
            yield Rejected(shorten(self._reason))

    def _read_dataset(self, file: h5py.File) -> Float64[np.ndarray, "rows 2"] | None:
        return read_places(file, self._path.name, self._options.positions, self._unit)

    def _read_table(self) -> Float64[np.ndarray, "rows 2"] | None:
        """Return the complete lines of a table, metres; the last may still be written."""
        self._file.note_change()
        config = LoadConfig(positions_unit="auto" if self._unit == "mm" else self._unit)
        try:
            is_whole = self._path.read_bytes()[-1:] == b"\n"
            places = read_positions(self._path, config, pixel_m=1.0)
        except (InputError, OSError) as error:
            self._file.reason = str(error)
            return None
        self._file.reason = ""
        return places if is_whole else places[:-1]
