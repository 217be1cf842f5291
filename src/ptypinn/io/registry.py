"""Every file format by name. A new one is one module and one entry here."""

from __future__ import annotations

from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.io.format import Format
from ptypinn.io.formats.cxi import CXI
from ptypinn.io.formats.eiger import EIGER
from ptypinn.io.formats.native import NATIVE
from ptypinn.io.formats.npz import NPZ
from ptypinn.io.formats.nxcxi import NXCXI
from ptypinn.io.formats.ptychodus import PTYCHODUS
from ptypinn.io.formats.ptychonn import PTYCHONN
from ptypinn.io.formats.ptychoshelves import SHELVES
from ptypinn.io.formats.ptyd import PTYD
from ptypinn.io.formats.ptylab import PTYLAB
from ptypinn.io.formats.ptyr import PTYR
from ptypinn.io.formats.stem4d import STEM4D
from ptypinn.io.formats.tiff import TIFF
from ptypinn.io.safe.hdf5 import require_file

FORMATS: dict[str, Format] = {
    "native": NATIVE,
    "nxcxi": NXCXI,
    "cxi": CXI,
    "ptyd": PTYD,
    "ptyr": PTYR,
    "ptychodus": PTYCHODUS,
    "ptychonn": PTYCHONN,
    "npz": NPZ,
    "ptylab": PTYLAB,
    "shelves": SHELVES,
    "eiger": EIGER,
    "stem4d": STEM4D,
    "tiff": TIFF,
}
"""Formats by name. A file is of the first one that recognises it."""


def detect_format(path: Path) -> str:
    """Name of the format of an existing file, by its content.

    Raises:
        InputError: Where no format recognises it, or it cannot be read at all.
    """
    require_file(path)
    for name, candidate in FORMATS.items():
        if candidate.recognises(path):
            return name
    expected = f"one of {', '.join(FORMATS)}, or --format to say which"
    raise InputError(str(path), "file", "content of no format that ptypinn knows", expected)
