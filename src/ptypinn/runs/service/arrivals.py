"""Files that appear in a folder: noticed by the operating system, and by looking where it tells nothing."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 16
"""Depth of the search in folders."""
MAX_FAILURES = 10
"""Failures of notices after which the folder is looked through instead."""
TICK_S = 0.2
"""Time between two steps of the service at most, seconds."""
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "fuse.sshfs"}
"""File systems that tell nothing of changes on other computers."""


@dataclass(frozen=True)
class Selection:
    """Files of a folder that count."""

    root: Path
    """The folder, absolute."""
    excluded: Path
    """A folder that may lie in it, and does not count."""
    patterns: Collection[str]
    """Patterns of their names, as in a shell, in lower case."""
    allow_external: bool = False
    """Let links to files outside the folder count; links to files inside never do, for these count themselves."""

    def accepts(self, path: str) -> bool:
        """Return True for the path of a file that may count, relative to the folder, by its name alone."""
        *folders, name = path.split(os.sep)
        if any(part.startswith(".") for part in (*folders, name)) or len(folders) > MAX_DEPTH:
            return False
        is_outside = not (self.root / path).is_relative_to(self.excluded)
        return is_outside and any(fnmatch.fnmatch(name.lower(), pattern) for pattern in self.patterns)

    def look(self, path: str) -> os.stat_result | None:
        """Return size and time of a file that counts; None for others."""
        place = self.root / path
        try:
            status = place.lstat()
            if stat.S_ISLNK(status.st_mode):
                if not self.allow_external or place.resolve().is_relative_to(self.root):
                    return None
                status = place.stat()
        except (OSError, RuntimeError):
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def walk(self, unreadable: Callable[[str, OSError], None]) -> Iterator[str]:
        """Yield the paths of the files that count, relative to the folder; links to folders are not followed."""
        folders = [("", 0)]
        while folders:
            folder, depth = folders.pop()
            try:
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        path = os.path.join(folder, entry.name)
                        if entry.is_dir(follow_symlinks=False):
                            if depth < MAX_DEPTH and self._enters(path, entry.name):
                                folders.append((path, depth + 1))
                        elif self.accepts(path):
                            yield path
            except OSError as error:
                unreadable(folder, error)

    def _enters(self, path: str, name: str) -> bool:
        return not name.startswith(".") and self.root / path != self.excluded


class Notices:
    """Notices of changes below a folder, one set of relative paths per step; an empty one after a while without.

    Args:
        root: The folder, absolute.
        polls: Ask for no notices.
        say: Receives a line where notices cannot be had.
    """

    def __init__(self, root: Path, polls: bool, say: Callable[[str], None]) -> None:
        self._root, self._say = root, say
        self.is_notified = not polls and file_system(root) not in NETWORK and _has_watcher()

    def steps(self, stopped: threading.Event) -> Iterator[set[str]]:
        """Yield the paths that have changed; it ends soon after `stopped` is set."""
        n_failures = 0
        while not stopped.is_set():
            if self.is_notified and self._root.is_dir():
                try:
                    yield from self._watch(stopped)
                except (OSError, RuntimeError, ValueError) as error:  # the limit of watches, a name that is no text
                    n_failures += 1
                    if n_failures >= MAX_FAILURES:
                        self.is_notified = False
                        self._say(f"{self._root} is looked through instead of watched: {' '.join(str(error).split())}")
                    yield {""}  # what has changed is not known
            else:
                yield set()
                time.sleep(TICK_S)  # `stopped` is set by a signal, for which its lock is none

    def _watch(self, stopped: threading.Event) -> Iterator[set[str]]:
        """Yield changes until the folder itself is replaced."""
        import watchfiles

        before = _identity(self._root)
        changes = watchfiles.watch(
            self._root,
            watch_filter=None,
            debounce=int(1000 * TICK_S),
            step=int(250 * TICK_S),
            rust_timeout=int(1000 * TICK_S),
            yield_on_timeout=True,
            stop_event=stopped,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        for batch in changes:
            yield {os.path.relpath(path, self._root) for _, path in batch}
            if _identity(self._root) != before:
                return


def sign_status(status: os.stat_result) -> str:
    """Return size, time and inode of a file as one word: it differs where the file is another one."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def sign_file(path: Path) -> str:
    """Return the signature of a file; `none` where there is none that can be looked at."""
    try:
        return sign_status(path.stat())
    except OSError:
        return "none"


def join_signatures(signatures: Sequence[str]) -> str:
    """Return one short word for the signatures of files; an empty text for none."""
    return hashlib.sha256(" ".join(signatures).encode()).hexdigest() if signatures else ""


def file_system(path: Path) -> str:
    """Return the kind of file system that a path is on; empty where it is not known.

    >>> file_system(Path("/proc"))
    'proc'
    """
    best, kind = -1, ""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for words in (line.split() for line in lines):
        place = words[1].replace("\\040", " ")
        if len(place) >= best and path.is_relative_to(place):
            best, kind = len(place), words[2]
    return kind


def _has_watcher() -> bool:
    from importlib.util import find_spec

    return find_spec("watchfiles") is not None


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
