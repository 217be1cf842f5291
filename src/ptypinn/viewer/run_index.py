"""Index of the runs below some folders, each with an id that does not reveal its path."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import is_reconstruction
from ptypinn.io.safe.hdf5_open import DAMAGE, open_for_reading
from ptypinn.runs.service.log import printable
from ptypinn.viewer.folders import Folder, path_id, walk_folders
from ptypinn.viewer.picture_file import file_version

MIN_INTERVAL_S = 1.0
"""Minimum time between two searches, seconds."""
PAUSE_FACTOR = 10
"""The pause after a search is at least so many times its duration."""


@dataclass(frozen=True)
class Run:
    """A run folder, or a reconstruction file without one."""

    id: str
    """Identifier in addresses, 12 hexadecimal digits."""
    name: str
    """Display name: its path relative to the folder of the index."""
    path: Path
    """The run folder or the file."""


class RunIndex:
    """Runs below several paths, searched again at every request.

    Args:
        paths: Run folders, folders of runs, or reconstruction files.

    Raises:
        InputError: Where a path does not exist, or is a file without a reconstruction.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._roots = [path.resolve() for path in paths]
        self._file_checks: dict[Path, tuple[str, bool]] = {}
        self._runs: dict[str, Run] = {}
        self._due_s, self._guard = float("-inf"), threading.Lock()
        for path, root in zip(paths, self._roots, strict=True):
            self._require(path, root)

    def runs(self) -> list[Run]:
        """Return all runs, sorted by name."""
        with self._guard:
            start_s = time.monotonic()
            if start_s > self._due_s:
                runs = {run.id: run for root in self._roots for run in self._search(root)}
                self._runs = dict(sorted(runs.items(), key=lambda item: item[1].name))
                end_s = time.monotonic()
                self._due_s = end_s + max(MIN_INTERVAL_S, PAUSE_FACTOR * (end_s - start_s))
            return list(self._runs.values())

    def run(self, run_id: str) -> Run | None:
        """Return the run with an id; None where there is none."""
        run = self._runs.get(run_id)
        if run is not None and run.path.exists():
            return run
        return next((run for run in self.runs() if run.id == run_id), None)

    def _require(self, path: Path, root: Path) -> None:
        if not root.exists():
            raise InputError(str(path), "", "no such file or folder", "a folder, or a reconstruction")
        if not root.is_dir() and not self._is_reconstruction(root):
            raise InputError(str(path), "", "another file", "a folder, or a reconstruction")

    def _search(self, root: Path) -> Iterator[Run]:
        if not root.is_dir():
            yield _create_run(root, root.name)
            return
        for folder in walk_folders(root):
            if folder.is_run:
                yield _create_run(folder.path, str(folder.path.relative_to(root)) if folder.path != root else root.name)
            else:
                yield from self._single_files(folder, root)

    def _single_files(self, folder: Folder, root: Path) -> Iterator[Run]:
        """Yield the reconstruction files of a folder that is not a run folder."""
        for name in sorted(folder.files):
            path = folder.path / name
            if path.suffix in (".h5", ".hdf5") and self._is_reconstruction(path):
                yield _create_run(path, str(path.relative_to(root)))

    def _is_reconstruction(self, path: Path) -> bool:
        """Return True if a file is a reconstruction; it is read again only when it changes."""
        try:
            version = file_version(path)
            if self._file_checks.get(path, ("", False))[0] != version:
                self._file_checks[path] = (version, _contains_reconstruction(path))
        except OSError:
            return False
        return self._file_checks[path][1]


def _contains_reconstruction(path: Path) -> bool:
    try:
        with open_for_reading(path) as file:
            return is_reconstruction(file)
    except DAMAGE:
        return False


def _create_run(path: Path, name: str) -> Run:
    return Run(path_id(path), printable(name), path)
