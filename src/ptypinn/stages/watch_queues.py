"""Queues of a service: the scan files of a folder as they are completed, or the series of a stream one by one."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ptypinn.config.watch import WatchConfig
from ptypinn.io.completeness import describe_incomplete
from ptypinn.runs.service.arrivals import TICK_S, Notices, Selection, sign_file, sign_status
from ptypinn.runs.service.journal import ARRIVING, READY, SOLVING, Journal, Scan

SLICE_S = 0.2
"""Time that one step may look through the folder, seconds."""
RESCAN_S = 60.0
"""Time between two looks through a folder whose changes the system tells, seconds: it may have told too few."""
PAUSE_FACTOR = 10
"""The pause after a look is at least so many times its duration."""
MAX_CHECKS = 500
"""Files that one step may check."""
MAX_WAIT_S = 60.0
"""Time between two checks of a file that stays incomplete at most, and between two attempts to reach a stream."""
GAP_FACTOR = 3.0
"""A file has to stay as it is for so many times the longest pause of its writer."""
FIRST_WAIT_S = 1.0
"""Time between the first two attempts to reach a stream; it doubles from one to the next, up to `MAX_WAIT_S`."""
RECEIVED = ("spool/*.h5", "scan.h5")
"""Files in the run folder of a series of which something was received."""
MAX_DEATHS = 3
"""A series fails when its process has died so many times."""
MAX_NAMED = 100
"""Folders without access that are named."""


@runtime_checkable
class Queue(Protocol):
    """Scans in the order in which they are to be solved."""

    source: str
    """The folder or the address."""
    has_limit: bool
    """True where a scan may take a limited time only."""

    def steps(self, stopped: threading.Event) -> Iterator[set[str]]:
        """Yield changes, and empty sets while there are none, until `stopped` is set."""

    def update(self, paths: Collection[str]) -> None:
        """Take up changes, and check what waits."""

    def next(self) -> Scan | None:
        """Return the scan to solve next."""

    def path(self, scan: str) -> Path:
        """Return the file of a scan, as records name it."""

    def may_retry(self, scan: Scan, run: Path, result: Mapping[str, Any]) -> bool:
        """Return True where a scan that has failed is to be postponed, and has not failed for good."""

    def postpone(self, scan: Scan, wait_s: float, parts: Collection[str] = (), reason: str = "") -> None:
        """Put a scan back, to be solved later or when its further files are complete."""


class FolderQueue:
    """Scan files of a folder, each one when it is complete.

    Args:
        selection: Files that count.
        config: Options of the service.
        journal: Scans on record.
        say: Receives lines for people.
    """

    has_limit = True

    def __init__(self, selection: Selection, config: WatchConfig, journal: Journal, say: Callable[[str], None]) -> None:
        self.source = str(selection.root)
        self._selection, self._config, self._journal, self._say = selection, config, journal, say
        self._notices = Notices(selection.root, config.notices == "poll", say)
        self._walk: Iterator[str] | None = None
        self._walk_began_s, self._walk_due_s = 0.0, 0.0
        self._was_searched = False
        self._unreadable: set[str] = set()

    def steps(self, stopped: threading.Event) -> Iterator[set[str]]:
        """Yield the relative paths that have changed."""
        return self._notices.steps(stopped)

    def path(self, scan: str) -> Path:
        """Return the path of a scan file."""
        return self._selection.root / scan

    def update(self, paths: Collection[str]) -> None:
        """Take up changed files, look through the folder where that is due, and check files that arrive."""
        now_s = time.monotonic()
        with self._journal.together():
            for path in paths:
                if (self._selection.root / path).is_dir():  # the system may have missed what was in it at once
                    self._walk_due_s = min(self._walk_due_s, now_s + TICK_S)
                else:
                    self._notice(path, now_s)
            self._search(now_s)
            for scan in self._journal.list_due(now_s, MAX_CHECKS):
                self._check(scan, now_s)
        if paths:
            self._journal.round += 1

    def next(self) -> Scan | None:
        """Return the oldest complete file; none before the folder was looked through once."""
        return self._journal.next_ready() if self._was_searched else None

    def may_retry(self, scan: Scan, run: Path, result: Mapping[str, Any]) -> bool:
        """Return False: a file fails the same way again until it changes."""
        return False

    def postpone(self, scan: Scan, wait_s: float, parts: Collection[str] = (), reason: str = "") -> None:
        """Let a scan wait for further files in its folder, or for some time."""
        now_s = time.monotonic()
        fields = {"parts": json.dumps(sorted(parts)), "detail": reason, "changed_s": now_s, "check_s": now_s + wait_s}
        self._journal.change(scan.path, state=ARRIVING, **fields)

    def _notice(self, path: str, now_s: float) -> None:
        """Take up a file that exists and counts, where it is new or has changed."""
        if not self._selection.accepts(path) or (status := self._selection.look(path)) is None:
            return
        scan = self._journal.find(path)
        if scan is None:
            self._journal.add(path, sign_status(status), status.st_mtime_ns, now_s)
        elif scan.state != SOLVING and self._signature(scan, status) != scan.signature:
            self._revive(scan, status, now_s)

    def _revive(self, scan: Scan, status: os.stat_result, now_s: float) -> None:
        """Let a scan arrive whose files have changed; a pause of its writer is taken note of."""
        fields: dict[str, float] = {}
        if scan.state != ARRIVING:
            quiet_s = now_s - scan.changed_s
            is_pause = 0 < quiet_s < self._config.patience_s and _has_grown(scan.signature, status)
            fields = {"changed_s": now_s, "gap_s": max(scan.gap_s, quiet_s if is_pause else 0.0)}
        self._journal.change(scan.path, state=ARRIVING, check_s=now_s, **fields)

    def _search(self, now_s: float) -> None:
        """Go on with a look through the folder, or begin one that is due."""
        if self._walk is None:
            if now_s < self._walk_due_s:
                return
            self._walk, self._walk_began_s = self._selection.walk(self._name_unreadable), now_s
            self._journal.round += 1
        if not self._selection.root.is_dir():
            self._walk, self._walk_due_s = None, now_s + self._config.poll_s
            return
        if self._advance(now_s):
            end_s = time.monotonic()
            pause_s = RESCAN_S if self._notices.is_notified else self._config.poll_s
            self._walk_due_s = end_s + max(pause_s, PAUSE_FACTOR * (end_s - self._walk_began_s))
            self._walk, self._was_searched = None, True

    def _advance(self, now_s: float) -> bool:
        """Go on with the look through the folder for a moment; return True at its end."""
        end_s = time.monotonic() + SLICE_S
        for path in self._walk or ():
            self._notice(path, now_s)
            if time.monotonic() > end_s:
                return False
        return True

    def _check(self, scan: Scan, now_s: float) -> None:
        """Let a file wait that still changes or is not complete; it is ready otherwise."""
        status, config = self._selection.look(scan.path), self._config
        if status is None:
            self._journal.drop(scan.path)
            return
        signature, quiet_s = self._signature(scan, status), now_s - scan.changed_s
        settle_s = max(config.settle_s, GAP_FACTOR * scan.gap_s)
        if signature != scan.signature:
            times = {"changed_s": now_s, "check_s": now_s + config.settle_s, "gap_s": max(scan.gap_s, quiet_s)}
            self._journal.change(scan.path, signature=signature, **times)
        elif quiet_s < settle_s:
            self._journal.change(scan.path, check_s=min(now_s + MAX_WAIT_S, scan.changed_s + settle_s))
        elif (reason := self._describe_incomplete(scan)) and quiet_s < config.patience_s:
            check_s = now_s + min(max(config.settle_s, quiet_s), MAX_WAIT_S)
            self._journal.change(scan.path, detail=reason, check_s=check_s)
        else:
            self._journal.change(scan.path, state=READY, detail="")

    def _describe_incomplete(self, scan: Scan) -> str:
        """Return the reason why a scan is not complete; an empty text where it is."""
        try:
            if reason := describe_incomplete(self.path(scan.path)):
                return reason
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        for part in self._parts(scan):
            try:
                reason = describe_incomplete(part)
            except OSError as error:
                reason = "it is not there" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
            if reason:
                return f"it waits for {part.name}: {reason}"
        return ""

    def _signature(self, scan: Scan, status: os.stat_result) -> str:
        """Return size and time of a scan file and of the further files that it waits for."""
        return " ".join([sign_status(status), *map(sign_file, self._parts(scan))])

    def _parts(self, scan: Scan) -> list[Path]:
        folder = self.path(scan.path).parent
        return [folder / str(name) for name in json.loads(scan.parts)]

    def _name_unreadable(self, folder: str, error: OSError) -> None:
        if folder not in self._unreadable and len(self._unreadable) < MAX_NAMED:
            self._unreadable.add(folder)
            self._say(f"{self._selection.root / folder} is left out: {error.strerror}")


class SeriesQueue:
    """Series of a stream, one after the other; one that was interrupted is gone on with.

    Args:
        source: Address of the stream.
        journal: Series on record.
    """

    has_limit = False

    def __init__(self, source: str, journal: Journal) -> None:
        self.source, self._journal = source, journal
        self._due_s, self._wait_s, self._n_deaths = 0.0, FIRST_WAIT_S, 0

    def steps(self, stopped: threading.Event) -> Iterator[set[str]]:
        """Yield nothing new; series announce themselves to the process that receives them."""
        while not stopped.is_set():
            yield set()
            time.sleep(TICK_S)  # `stopped` is set by a signal, for which its lock is none

    def path(self, scan: str) -> Path:
        """Return the name of a series: it has no file."""
        return Path(scan)

    def update(self, paths: Collection[str]) -> None:
        """Go on with series that failed, where that was asked for; new ones begin when a process receives them."""
        for scan in self._journal.list_due(time.monotonic(), MAX_CHECKS):
            self._journal.change(scan.path, state=READY)

    def next(self) -> Scan | None:
        """Return the series that was interrupted, or a new one."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return None
        if (scan := self._journal.next_ready()) is None:
            name = f"series-{self._journal.round:05d}"
            self._journal.add(name, "", time.time_ns(), now_s, READY)
            self._journal.round += 1
            scan = self._journal.find(name)
            self._wait_s, self._n_deaths = FIRST_WAIT_S, 0
        return scan

    def may_retry(self, scan: Scan, run: Path, result: Mapping[str, Any]) -> bool:
        """Return True before anything of a series was received, and where its process has died a few times at most.

        A series that was received fails the same way again, and would keep those after it out.
        """
        if not any(any(run.glob(pattern)) for pattern in RECEIVED):
            return True
        self._n_deaths += "state" not in result
        return "state" not in result and self._n_deaths < MAX_DEATHS

    def postpone(self, scan: Scan, wait_s: float, parts: Collection[str] = (), reason: str = "") -> None:
        """Try a series again after a while, which grows with every failure."""
        self._due_s, self._wait_s = time.monotonic() + self._wait_s, min(2 * self._wait_s, MAX_WAIT_S)
        self._journal.change(scan.path, state=READY, detail=reason)


def _has_grown(signature: str, status: os.stat_result) -> bool:
    """Return True where a file is the one of a signature, and longer."""
    size, _, inode = signature.split(" ")[0].split(":")
    return status.st_ino == int(inode) and status.st_size > int(size)
