"""Open HDF5 files for reading, and distinguish files that are being written from damaged ones."""

from __future__ import annotations

from pathlib import Path

import h5py

from ptypinn.errors import InputError

OPEN_FOR_WRITING = "already open for write"
"""Part of HDF5's message for a file whose writer has not closed it."""
LOCKED = "unable to lock file"
"""Part of HDF5's message for a file that another process has locked."""
UNFINISHED = "the file is marked as being written: its writer has not closed it; if it has ended, `h5clear -s` mends it"


def open_for_reading(path: Path) -> h5py.File:
    """Open an HDF5 file; one that is written in the mode for simultaneous readers (SWMR) as it is at the moment.

    Raises:
        InputError: Where a writer has the file open without that mode, or ended without closing it.
        OSError: Where the file is damaged.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if LOCKED in str(error):
            expected = "a closed file; wait for the writer, or let it write in SWMR mode"
            raise InputError(str(path), "file", "a file that another program has open for writing", expected) from error
        if OPEN_FOR_WRITING not in str(error):
            raise
    try:
        return h5py.File(path, "r", libver="latest", swmr=True)
    except OSError as error:
        actual = "a file that its writer has not closed"
        expected = f"a closed one; wait for the writer, or, if it has ended, `h5clear -s {path.name}`"
        raise InputError(str(path), "file", actual, expected) from error


def require_file(path: Path) -> None:
    """Raise `InputError` where `path` is not a file that can be read."""
    if not path.exists():
        raise InputError(str(path), "file", "nothing under this name", "a file")
    if not path.is_file():
        raise InputError(str(path), "file", "a folder" if path.is_dir() else "a device or pipe", "a file")
