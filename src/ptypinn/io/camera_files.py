"""Files that one scan of an electron camera consists of."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ptypinn.io.camera_headers import read_empad_raw_name
from ptypinn.io.camera_sources import call_reader

SEQ_SIDE_FILES = (".seq.dark.mrc", ".seq.gain.mrc", ".seq.metadata", ".seq.Config.Metadata.xml")
"""Ends of the names of files that LiberTEM opens beside one of Norpix."""


def list_files(path: Path, kind: str) -> tuple[Path, ...]:
    """Return the files that are read with one of a camera, itself among them; nothing but headers is read.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format.

    Raises:
        InputError: Where the package is missing, or the file does not name others as it should.
    """
    if kind == "empad" and path.suffix.lower() == ".xml":
        others = [path.parent / read_empad_raw_name(path)]
    elif kind in ("mib", "tvips"):
        others = call_reader(path, lambda: _list_series(path, kind))
    else:
        others = [path.with_name(path.stem + end) for end in SEQ_SIDE_FILES if kind == "seq"]
    return (path, *sorted(other for other in others if other != path and other.exists()))


def _list_series(path: Path, kind: str) -> list[Path]:
    return [Path(name) for name in import_module(f"libertem.io.dataset.{kind}").get_filenames(str(path))]
