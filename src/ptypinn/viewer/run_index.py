"""The runs of a folder, each under an id that says nothing of where it lies."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import is_reconstruction
from ptypinn.io.safe.hdf5 import DAMAGE
from ptypinn.runs.folder import CONFIG, LOG, RECONSTRUCTION
from ptypinn.viewer.picture_file import file_version

MAX_DEPTH = 6
"""Levels of folders that are searched."""
MAX_FOLDERS = 20_000
"""Folders that are looked into; a search that finds more stops there."""
SKIPPED_FOLDERS = {"windows", "checkpoints"}
"""Folders of a run that hold no runs."""
MIN_INTERVAL_S = 1.0
"""A listing younger than this is taken again, seconds."""
PAUSE_FACTOR = 10
"""A search that takes long is rested from for so many times its length."""


@dataclass(frozen=True)
class Run:
    """Something to look at: a run folder, or a reconstruction that lies alone."""

    id: str
    """Names it in addresses, 12 hexadecimal digits."""
    name: str
    """Names it for people: its path below the folder that was given."""
    place: Path
    """The run folder or the file."""


class RunIndex:
    """Runs below several paths, looked up again whenever they are asked for.

    Args:
        paths: Run folders, folders that hold them, reconstruction files.

    Raises:
        InputError: Where a path does not exist, or holds nothing to look at.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._roots = [path.resolve() for path in paths]
        self._known: dict[Path, tuple[str, bool]] = {}
        self._runs: dict[str, Run] = {}
        self._due_s, self._guard = float("-inf"), threading.Lock()
        for given, root in zip(paths, self._roots, strict=True):
            self._require(given, root)

    def runs(self) -> list[Run]:
        """All runs, by name."""
        with self._guard:
            start_s = time.monotonic()
            if start_s > self._due_s:
                found = {run.id: run for root in self._roots for run in self._below(root)}
                self._runs = dict(sorted(found.items(), key=lambda item: item[1].name))
                end_s = time.monotonic()
                self._due_s = end_s + max(MIN_INTERVAL_S, PAUSE_FACTOR * (end_s - start_s))
            return list(self._runs.values())

    def run(self, identity: str) -> Run | None:
        """The run under an id; None where there is none."""
        known = self._runs.get(identity)
        if known is not None and known.place.exists():
            return known
        return next((run for run in self.runs() if run.id == identity), None)

    def _require(self, given: Path, root: Path) -> None:
        if not root.exists():
            raise InputError(str(given), "", "nothing under this name", "a run folder, or a folder of runs")
        if not root.is_dir() and not self._is_reconstruction(root):
            raise InputError(str(given), "", "another file", "a reconstruction, a run folder, or a folder of runs")
        if next(iter(self._below(root)), None) is None:
            raise InputError(str(given), "", "no run in it", "a run folder, or a folder of runs")

    def _below(self, root: Path) -> Iterator[Run]:
        if not root.is_dir():
            yield _named(root, root.name)
            return
        folders, seen = [(root, 0)], 0
        while folders and (seen := seen + 1) <= MAX_FOLDERS:
            folder, depth = folders.pop()
            try:
                entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
            except OSError:  # a folder without access, or that has just gone
                continue
            files = {entry.name for entry in entries if entry.is_file()}
            is_run = RECONSTRUCTION in files or {CONFIG, LOG} <= files
            if is_run:
                yield _named(folder, str(folder.relative_to(root)) if folder != root else folder.name)
            else:
                yield from self._loose(folder, root, sorted(files))
            if depth < MAX_DEPTH:
                inner = (entry for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name not in SKIPPED_FOLDERS)
                folders += [(Path(entry.path), depth + 1) for entry in inner]

    def _loose(self, folder: Path, root: Path, files: Sequence[str]) -> Iterator[Run]:
        """Reconstructions that lie in a folder by themselves."""
        for name in files:
            path = folder / name
            if path.suffix in (".h5", ".hdf5") and self._is_reconstruction(path):
                yield _named(path, str(path.relative_to(root)))

    def _is_reconstruction(self, path: Path) -> bool:
        """Whether a file is a reconstruction; looked at again only when it changes."""
        try:
            version = file_version(path)
            if self._known.get(path, ("", False))[0] != version:
                self._known[path] = (version, _holds_reconstruction(path))
        except OSError:
            return False
        return self._known[path][1]


def _holds_reconstruction(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return is_reconstruction(file)
    except DAMAGE:
        return False


def _named(place: Path, name: str) -> Run:
    return Run(hashlib.sha256(os.fsencode(place)).hexdigest()[:12], name, place)
