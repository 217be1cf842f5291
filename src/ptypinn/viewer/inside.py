"""Files and folders that requests name: below the folder of the viewer, links followed, or refused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.io.mtf import parse_half_nyquist
from ptypinn.runs.untrusted import lies_in

FILES = {"probe", "patterns_file", "positions_file", "mask", "dark", "mtf", "monitor", "initial", "model"}
"""Options that name files."""
FOLDERS = {"initial", "model"}
"""Options that may name a run folder instead."""
OUTPUT = "--output-dir"
MAX_NAME = 200
"""Maximum length of the name of a run folder."""


def locate_file(name: str, text: str, root: Path) -> str:
    """Return the value of an option that names a file, with its full path.

    Args:
        name: Name of the option.
        text: Path relative to the folder of the viewer, or FILE:DATASET; some options take other values too.
        root: The folder.

    Raises:
        InputError: Where there is no such file, or it is outside the folder.
    """
    head, colon, inner = text.partition(":")
    for place, rest in ((text, ""), (head, f"{colon}{inner}")):
        path = locate_place(place, root)
        if path is not None and (path.is_file() or (name in FOLDERS and path.is_dir())):
            return f"{path}{rest}"
    if _is_no_file(name, text, root):
        return text
    raise InputError(option_name(name), "", repr(text[:200]), "a file in the folder of this viewer")


def locate_place(place: str, root: Path) -> Path | None:
    """Return the full path of a place relative to a folder, links followed; None outside the folder."""
    path = root / place
    if not place or os.path.isabs(place) or not lies_in(path, (root,)):
        return None
    return path.resolve()


def locate_output(text: str, root: Path) -> Path:
    """Return the run folder that a text names.

    Args:
        text: Path relative to the folder of the viewer.
        root: The folder.

    Raises:
        InputError: Where it is outside the folder, hidden, the folder itself, or a file.
    """
    place, expected = PurePosixPath(text), "a new folder below the folder of this viewer, such as runs/scan_1"
    parts = place.parts
    sane = parts and not place.is_absolute() and len(text) <= MAX_NAME and text.isprintable()
    if not sane or any(part.startswith((".", "-")) or part != part.strip() for part in parts):
        raise InputError(OUTPUT, "", repr(text[:MAX_NAME]), expected)
    path = root / place
    if not lies_in(path, (root,)) or path.resolve() != path or path.is_file():
        raise InputError(OUTPUT, "", f"{text!r}, a link or a file", expected)
    return path


def strip_root(text: str, root: Path) -> str:
    """Return a message with paths relative to a folder, which it need not reveal."""
    return text.replace(f"{root}/", "").replace(str(root), root.name)


def _is_no_file(name: str, text: str, root: Path) -> bool:
    """Return True for a value that names no file: the MTF as a number, a monitor as a dataset of the scan file."""
    if name == "mtf":
        return parse_half_nyquist(text) is not None
    place = PurePosixPath(text.partition(":")[0])
    if name != "monitor" or place.is_absolute() or ".." in place.parts:  # nothing is told of what is elsewhere
        return False
    folders = (root, Path())  # the process of a job looks in its own folder
    return not any(os.path.lexists(folder / each) for folder in folders for each in (text, place))
