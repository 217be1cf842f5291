"""Index of the scan files below some folders, searched in a thread; no counts are read."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.io.load_save import format_of, holds_scan
from ptypinn.io.registry import NO_FORMAT, list_formats
from ptypinn.io.safe.hdf5_open import list_linked_places
from ptypinn.runs.folder import RECONSTRUCTION, SNAPSHOT
from ptypinn.runs.service.log import printable
from ptypinn.runs.untrusted import is_regular
from ptypinn.viewer.folders import Folder, path_id, stamp_places, walk_folders
from ptypinn.viewer.picture_file import file_version

MAX_FILES = 20_000
"""Maximum number of files that one search looks into."""
MIN_INTERVAL_S, PAUSE_FACTOR, MAX_PAUSE_S = 2.0, 20, 30.0
"""Minimum time between two searches; the least pause after one in units of its duration, and the longest such pause."""
FIRST_SEARCH_S = 5.0
"""Maximum time that the request for a scan waits for the first search."""
RETRY_S = 60.0
"""Time after which a file that could not be read is looked into again."""
MAX_PLACES = 100
"""Maximum number of files that a file refers to and that the search looks after."""
RUN_FILES = {RECONSTRUCTION, SNAPSHOT}


@dataclass(frozen=True)
class Scan:
    """A scan file."""

    id: str
    """Identifier in addresses, 12 hexadecimal digits."""
    name: str
    """Display name: its path relative to the folder of the index."""
    path: Path
    """The file."""
    root: Path
    """The folder of the index that it is in."""
    format: str
    """Title of its format."""
    version: str
    """Text that changes with the file."""
    size_bytes: int
    """Size of the file."""
    changed: str
    """ISO time of its last change, UTC."""

    @property
    def place(self) -> Path:
        """The file's path relative to `root`."""
        return self.path.relative_to(self.root)


@dataclass(frozen=True)
class Check:
    """Result of looking into a file."""

    title: str
    """Title of its format; empty where it is no scan."""
    version: str
    """Version of the file."""
    places: tuple[Path, ...] = ()
    """Places of the files that it refers to."""
    stamp: str = ""
    """Text on the files at these places."""
    due_s: float = float("inf")
    """Monotonic time from which to look again, where it could not be read."""

    def holds(self, version: str) -> bool:
        """Return True while neither the file nor what it refers to has changed."""
        return self.version == version and time.monotonic() < self.due_s and self.stamp == stamp_places(self.places)


class ScanIndex:
    """Scans below several folders. A search runs in a thread; meanwhile the last result, or its part so far, holds.

    Args:
        roots: The folders; files among them are left out.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [path.resolve() for path in roots if path.is_dir()]
        self._checks: dict[Path, Check] = {}
        self._scans: dict[str, Scan] = {}
        self._due_s, self._guard = float("-inf"), threading.Lock()
        self._search: threading.Thread | None = None
        self.is_complete = False
        """True once a search has ended."""

    def scans(self) -> list[Scan]:
        """Return the scans, sorted by name, and search again in the background where that is due."""
        with self._guard:
            idle = self._search is None or not self._search.is_alive()
            if idle and time.monotonic() >= self._due_s:
                self._search = threading.Thread(target=self._run_search, daemon=True, name="search for scans")
                self._search.start()
            return sorted(self._scans.values(), key=lambda scan: scan.name)

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of a search in progress, at most for a time."""
        search = self._search
        if search is not None:
            search.join(timeout_s)

    def scan(self, scan_id: str) -> Scan | None:
        """Return the scan with an id as it is now; None where there is none, also after the first search."""
        if scan_id not in self._scans and not self.is_complete:
            self.scans()
            self.wait(FIRST_SEARCH_S)
        scan = self._scans.get(scan_id)
        if scan is None or not is_regular(scan.path):
            return None
        return self._describe(scan.path, scan.root)

    def version(self) -> str:
        """Return a text that changes with the list."""
        lines = [f"{scan.id} {scan.version}" for scan in self.scans()]
        return hashlib.sha256("\n".join([str(self.is_complete), *lines]).encode()).hexdigest()[:12]

    def _run_search(self) -> None:
        start_s, result, checks = time.monotonic(), dict[str, Scan](), dict[Path, Check]()
        for scan in self._find_scans(checks):
            result[scan.id] = scan
            if not self.is_complete:
                with self._guard:
                    self._scans[scan.id] = scan
        self._scans, self._checks, self.is_complete = result, checks, True
        end_s = time.monotonic()
        self._due_s = end_s + max(MIN_INTERVAL_S, min(PAUSE_FACTOR * (end_s - start_s), MAX_PAUSE_S))

    def _find_scans(self, checks: dict[Path, Check]) -> Iterator[Scan]:
        """Yield the scans, and collect the checks of all files that were looked into."""
        count = 0
        for root in self._roots:
            for folder in walk_folders(root):
                for name in _list_candidates(folder):
                    count += 1
                    if count > MAX_FILES:
                        return
                    path = folder.path / name
                    scan = self._describe(path, root)
                    if (check := self._checks.get(path)) is not None:
                        checks[path] = check
                    if scan is not None:
                        yield scan

    def _describe(self, path: Path, root: Path) -> Scan | None:
        """Return the scan in a file, which is looked into once per version; None where it contains none."""
        try:
            version = file_version(path)
            check = self._checks.get(path)
            if check is None or not check.holds(version):
                check = self._checks[path] = _look_into(path, version)
            stat = path.stat()
        except OSError:
            return None
        if not check.title:
            return None
        changed = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds")
        name = printable(str(path.relative_to(root)))
        return Scan(path_id(path), name, path, root, check.title, version, stat.st_size, changed)


def _list_candidates(folder: Folder) -> list[str]:
    """Return the names of files that may be scans, by their suffixes."""
    names = sorted(name for name in folder.files if Path(name).suffix.lower() in _suffixes())
    if folder.is_run:  # archives of arrays there are records of the run
        names = [name for name in names if name not in RUN_FILES and not name.endswith(".npz")]
    return names


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for each in list_formats().values() if each.read is not None for suffix in each.suffixes)


def _look_into(path: Path, version: str) -> Check:
    """Look into a file; whether it is a scan may depend on what it refers to."""
    places = tuple(list_linked_places(path)[:MAX_PLACES])
    stamp = stamp_places(places)
    try:
        return Check(_recognise(path), version, places, stamp)
    except (InputError, OSError, MemoryError):
        return Check("", version, places, stamp, time.monotonic() + RETRY_S)


def _recognise(path: Path) -> str:
    """Return the title of the format of a scan file, by its content; empty for other files.

    Raises:
        InputError: Where the file cannot be read.
    """
    try:
        return format_of(path).title if holds_scan(path) else ""
    except InputError as error:
        if error.actual == NO_FORMAT:
            return ""
        raise
