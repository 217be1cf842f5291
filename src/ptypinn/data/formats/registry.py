"""Every file format by name. A new one is one module and one entry here."""

from __future__ import annotations

from pathlib import Path

from ptypinn.data.formats.base import Format
from ptypinn.data.formats.cxi import CXI
from ptypinn.data.formats.eiger import EIGER
from ptypinn.data.formats.native import NATIVE
from ptypinn.data.formats.npz import NPZ
from ptypinn.data.formats.nxcxi import NXCXI
from ptypinn.data.formats.ptychodus import PTYCHODUS
from ptypinn.data.formats.ptychonn import PTYCHONN
from ptypinn.data.formats.ptyd import PTYD
from ptypinn.data.formats.ptylab import PTYLAB
from ptypinn.data.formats.ptyr import PTYR
from ptypinn.data.formats.shelves import SHELVES
from ptypinn.data.formats.stem4d import STEM4D
from ptypinn.data.formats.tiff import TIFF
from ptypinn.data.hdf5 import require_file
from ptypinn.errors import InputError

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
        if candidate.sniff(path):
            return name
    expected = f"one of {', '.join(FORMATS)}, or --format to say which"
    raise InputError(str(path), "file", "content of no format that ptypinn knows", expected)
