"""Registry of file formats: those of the package, and those of other packages by entry point."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ptypinn.errors import InputError
from ptypinn.io.format import Format
from ptypinn.io.formats.camera import CAMERA
from ptypinn.io.formats.cxi import CXI
from ptypinn.io.formats.eiger import EIGER
from ptypinn.io.formats.native import NATIVE
from ptypinn.io.formats.nion import NION
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
from ptypinn.io.safe.hdf5_open import require_file
from ptypinn.utils.plug_ins import describe_plug_in, load_plug_in

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
    "ptychoshelves": SHELVES,
    "eiger": EIGER,
    "stem4d": STEM4D,
    "nion": NION,
    "camera": CAMERA,
    "tiff": TIFF,
}
"""Formats of this package by name."""
NO_FORMAT = "content of no format that ptypinn reads"
"""Content of sound files that are no scans, in errors of `detect_format`."""
ENTRY_POINTS = "ptypinn.formats"
"""Entry point group under which other packages register a `Format`."""


def list_formats() -> dict[str, Format]:
    """Return all formats by name, plug-ins included; a plug-in that cannot be loaded is left out with a warning.

    >>> "cxi" in list_formats()
    True
    """
    formats = dict(FORMATS)
    for entry in _find_plug_ins(tuple(sys.path)):
        if entry.name in FORMATS:
            warnings.warn(f"the plug-in {entry.name} ({entry.value}) has the name of a format of ptypinn", stacklevel=2)
            continue
        try:
            formats.setdefault(entry.name, _load(entry))
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
    return formats


def find_format(name: str, option: str = "--format") -> Format:
    """Return the format of a name.

    Args:
        name: Name of a format in `FORMATS`, or of an entry point.
        option: Option that names it, for messages.

    Raises:
        InputError: If there is none of that name, or its package cannot be imported.
    """
    if name in FORMATS:
        return FORMATS[name]
    plug_ins = _find_plug_ins(tuple(sys.path))
    entries = [entry for entry in plug_ins if entry.name == name]
    if not entries:
        names = sorted({*FORMATS, *(entry.name for entry in plug_ins)})
        raise InputError(
            option, "", repr(name), f"one of {', '.join(names)}; is the package installed that provides it?"
        )
    return _load(entries[0])


def detect_format(path: Path) -> str:
    """Return the name of the format of an existing file, by its content.

    A generic format, such as any NPZ file, counts only where no specific one recognises the file.

    Raises:
        InputError: Where no format recognises it, several do, or it cannot be read at all.
    """
    require_file(path)
    formats = list_formats()
    for generic in (False, True):
        candidates = [(name, candidate) for name, candidate in formats.items() if candidate.generic is generic]
        names = [name for name, candidate in candidates if _recognises(name, candidate, path)]
        if len(names) > 1:
            titles = " and of ".join(formats[name].title for name in names)
            expected = f"that of one format; {' or '.join(f'--format {name}' for name in names)} chooses"
            raise InputError(str(path), "file", f"content of {titles}", expected)
        if names:
            return names[0]
    expected = f"one of {', '.join(formats)}, or --format to choose"
    raise InputError(str(path), "file", NO_FORMAT, expected)


@lru_cache(maxsize=1)
def _find_plug_ins(search_path: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the entry points of plug-ins; looking through all installed packages takes longer than opening a file."""
    return tuple(entry_points(group=ENTRY_POINTS))


def _recognises(name: str, candidate: Format, path: Path) -> bool:
    if name in FORMATS:
        return candidate.recognises(path)
    try:
        return bool(candidate.recognises(path))
    except Exception as error:  # a package from outside may raise anything
        reason = " ".join(f"the plug-in {name} fails to recognise it with {type(error).__name__}: {error}".split())
        warnings.warn(f"{path}: {reason}", stacklevel=3)
        return False


def _load(entry: Any) -> Format:
    candidate = load_plug_in(entry, "--format")
    if not isinstance(candidate, Format):
        actual = f"{describe_plug_in(entry)}, a {type(candidate).__name__}"
        raise InputError("--format", "", actual, "a ptypinn.io.format.Format")
    return candidate
