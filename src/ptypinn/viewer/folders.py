"""Bounded search of folders for the indexes of runs and scans; links are not followed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ptypinn.runs.folder import CONFIG, LOG, RECONSTRUCTION

MAX_DEPTH = 6
"""Depth of the search in folders."""
MAX_FOLDERS = 20_000
"""Maximum number of folders that one search reads."""
SKIPPED_FOLDERS = {"tiles", "windows", "checkpoints", "spool"}
"""Folders inside a run that contain neither runs nor scans."""


@dataclass(frozen=True)
class Folder:
    """One folder of a search."""

    path: Path
    """The folder."""
    files: frozenset[str]
    """Names of its regular files, hidden ones left out."""

    @property
    def is_run(self) -> bool:
        """True for a run folder."""
        return RECONSTRUCTION in self.files or {CONFIG, LOG} <= self.files


def walk_folders(root: Path) -> Iterator[Folder]:
    """Yield a folder and the folders below it, the nearest first."""
    folders = [(root, 0)]
    for folder, depth in islice(folders, MAX_FOLDERS):  # the list grows meanwhile
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError:  # a folder without access, or one that was just deleted
            continue
        yield Folder(folder, frozenset(entry.name for entry in entries if entry.is_file(follow_symlinks=False)))
        if depth < MAX_DEPTH:
            inner = (
                entry for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name not in SKIPPED_FOLDERS
            )
            folders += [(Path(entry.path), depth + 1) for entry in islice(inner, MAX_FOLDERS)]


def path_id(path: Path) -> str:
    """Return an identifier of a path that does not reveal it, 12 hexadecimal digits."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def stamp_file(path: Path) -> str:
    """Return a text that changes when a file is written again; empty where there is none."""
    try:
        stat = path.lstat()
    except OSError:
        return ""
    return f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"


def stamp_places(paths: Iterable[Path]) -> str:
    """Return a short text that changes with the files at some paths, links followed, and with the files of folders."""
    return digest(stamp for path in paths for stamp in _stamp_place(path))


def _stamp_place(path: Path) -> Iterator[str]:
    place = Path(os.path.realpath(path))
    if place.is_dir():
        with contextlib.suppress(OSError):
            yield from sorted(entry.name for entry in os.scandir(place) if not entry.is_dir())
    else:
        yield f"{stamp_file(path)} {stamp_file(place)}"


def digest(words: Iterable[str]) -> str:
    """Return a short text that changes with some texts, 12 hexadecimal digits."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
