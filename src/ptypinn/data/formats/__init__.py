"""Scan files: one adapter per format, `load` and `save`."""

from __future__ import annotations

from pathlib import Path

from ptypinn.config.load import LoadConfig
from ptypinn.data.formats.base import Format
from ptypinn.data.formats.cxi import CXI
from ptypinn.data.formats.finish import finish
from ptypinn.data.formats.native import NATIVE, write_native
from ptypinn.data.formats.npz import NPZ
from ptypinn.data.hdf5 import require_file
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError

FORMATS: dict[str, Format] = {"native": NATIVE, "cxi": CXI, "npz": NPZ}
"""File formats by name, tried in this order. A new one is one module and one entry here."""

DEFAULTS = LoadConfig()


def load(path: str | Path, config: LoadConfig = DEFAULTS) -> ScanData:
    """Read a scan and bring it into the conventions of the package.

    Args:
        path: The scan file.
        config: What the file does not say.

    Returns:
        The scan; a probe of arbitrary scale is calibrated by the rule that `config` names.

    Raises:
        InputError: Where the file or an option is at fault; one line that names the file and the field.
    """
    path = Path(path)
    require_file(path)
    name = detect_format(path) if config.format == "auto" else config.format
    return finish(FORMATS[name].read(path, config), config)


def save(scan: ScanData, path: str | Path) -> Path:
    """Write a scan as the package's own HDF5 file, which other CXI readers open too; atomically.

    Args:
        scan: The scan.
        path: Where; an existing file is replaced once the new one is complete.
    """
    return write_native(scan, Path(path))


def detect_format(path: Path) -> str:
    """Name of the format of an existing file, by its content."""
    for name, candidate in FORMATS.items():
        if candidate.sniff(path):
            return name
    titles = ", ".join(f"{f.title}" for f in FORMATS.values())
    raise InputError(str(path), "file", "neither HDF5 nor NPZ content", f"one of: {titles}")


__all__ = ["DEFAULTS", "FORMATS", "Format", "detect_format", "load", "save"]
