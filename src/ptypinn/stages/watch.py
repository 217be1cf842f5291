"""The service that solves every new scan: its loop, which starts children, records how they end, and never dies of one.

The loop imports nothing that solves: its memory stays small, and scans fail in processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ptypinn.config.watch import WatchConfig
from ptypinn.errors import InputError
from ptypinn.runs.lock import RunLock
from ptypinn.runs.service.arrivals import join_signatures
from ptypinn.runs.service.child import INTERRUPTED, ORPHAN_S, Child, Function
from ptypinn.runs.service.health import GIB, HEALTH, INTERVAL_S, STATE_FOLDER, memory_bytes, now_text
from ptypinn.runs.service.journal import ARRIVING, FAILED, FINISHED, IGNORED, READY, SOLVING, Journal, Scan
from ptypinn.runs.service.log import ScanLog, printable
from ptypinn.runs.service.retention import choose_run, delete_run, empty_trash
from ptypinn.stages.watch_queues import Queue
from ptypinn.utils.atomic_files import write_json

STOP_S = 5.0
"""Time that a scan has to end when the service is stopped, seconds."""
TIMEOUT_GRACE_S = 10.0
"""Time that a scan has to end when it has taken too long, seconds."""
FULL_WAIT_S = 30.0
"""Time until a scan is tried again that the disk had no space for, seconds."""
INTERRUPT_WAIT_S = 5.0
"""Time until a scan is tried again whose process was asked to end, as it is where the whole service is, seconds."""
PAUSE_MARGIN = 1.1
"""Space over the limit from which a service that had paused goes on."""
MAX_DELETIONS = 10
"""Run folders that one step may delete."""
LOCK_FOLDER = "watch"
"""Folder in that of the service with its lock: a viewer of the same runs has another one."""
CHILD_LOG = "solver.log"
"""File in the folder of the service with what the last child has printed."""


class WatchService:
    """The service.

    Args:
        output_dir: Folder of all runs.
        queue: Scans in the order in which they are to be solved.
        journal: Scans on record.
        solve: Function that solves a scan in a child: takes its path, its run folder and the hashes of what was solved
            of it by name of the run, followed by the signature of its further files, and returns `state`, and `text`,
            `patterns`, `error`, `parts` and their `signatures`, or the `run` by which it was solved before.
        config: Options of the service.
        log: Receives a record and a line for every scan, and other lines.
    """

    def __init__(
        self, output_dir: Path, queue: Queue, journal: Journal, solve: Function, config: WatchConfig, log: ScanLog
    ) -> None:
        self._output_dir, self._queue, self._journal, self._config, self._log = output_dir, queue, journal, config, log
        self._solve = solve
        self._folder = output_dir / STATE_FOLDER
        self._child: Child | None = None
        self._scan: Scan | None = None
        self._result: Mapping[str, Any] | None = None
        self._pause, self._retry_s, self._n_ended = "", 0.0, 0
        self._seconds: float | None = None
        if config.retry_failed:
            journal.retry_failed(time.monotonic())
        self._health: dict[str, Any] = {"pid": os.getpid(), "host": platform.node(), "since": now_text()}
        self._health_due_s = 0.0

    def run(self, stopped: threading.Event) -> None:
        """Solve scans until `stopped` is set, or as many as were asked for."""
        self._write_health("starting")
        state = "failed"
        try:
            for paths in self._queue.steps(stopped):
                with self._patience():
                    self._step(paths)
                self._report()
                if self._is_done:
                    break
            state = "stopped"
        finally:
            self._end(state)

    @property
    def _is_done(self) -> bool:
        """True after as many scans as were asked for."""
        return self._config.stop_after is not None and self._n_ended >= self._config.stop_after

    def _step(self, paths: set[str]) -> None:
        """Take up what has changed, record how a scan has ended, and start the next one."""
        self._queue.update(paths)
        if self._child is not None:
            self._result = self._child.poll() or self._stop_late(self._child)
            self._seconds = self._child.seconds
            self._child = None if self._result is not None else self._child
        if self._result is not None and self._scan is not None:
            self._record(self._scan, self._result)
            self._scan, self._result = None, None
            self._delete_expired()
        if self._child is None and not self._is_done and self._has_space():
            self._start_next()

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """Pause where the disk is full or fails, and go on when it works again."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            self._pause_for(" ".join(str(error).split()))
            self._retry_s = time.monotonic() + FULL_WAIT_S

    def _start_next(self) -> None:
        scan = self._queue.next()
        if scan is None:
            return
        path = self._queue.path(scan.path)
        name, solved = choose_run(self._output_dir, scan.path, path, self._journal.owner)
        solved = {run: f"{digest} {self._journal.find_parts(run)}".strip() for run, digest in solved.items()}
        self._journal.change(scan.path, state=SOLVING, run=name)
        self._scan = self._journal.find(scan.path)
        try:
            arguments = (str(path), str(self._output_dir / name), solved, scan.parts != "[]")
            self._child = Child(self._solve, arguments, self._folder / CHILD_LOG)
        except OSError:
            self._journal.change(scan.path, state=READY)
            raise
        self._health["current"] = {"scan": printable(scan.path), "since": now_text(), "run": name}
        self._health_due_s = 0.0

    def _stop_late(self, child: Child) -> dict[str, Any] | None:
        """Return the failure of a child that takes too long, after it was ended; None for others."""
        if not self._queue.has_limit or child.seconds < self._config.timeout_s:
            return None
        child.stop(TIMEOUT_GRACE_S)
        return {"error": f"it took longer than --timeout-s {self._config.timeout_s:g}"}

    def _record(self, scan: Scan, result: Mapping[str, Any]) -> None:
        """Record how a scan has ended, and show it."""
        state, text = str(result.get("state", FAILED)), printable(str(result.get("error") or result.get("text", "")))
        if result.get("full") or state == INTERRUPTED:
            self._journal.change(scan.path, state=READY)
            self._retry_s = time.monotonic() + (INTERRUPT_WAIT_S if state == INTERRUPTED else FULL_WAIT_S)
            self._pause_for(text)
            return
        if state == ARRIVING or (state == FAILED and self._queue.may_retry(scan, self._output_dir / scan.run, result)):
            self._queue.postpone(scan, self._config.settle_s, result.get("parts", ()), text)
            if text == scan.detail:
                return
        else:
            self._enter(scan, result, state, text)
            if "run" in result:  # it was solved before
                self._health_due_s = 0.0
                return
            self._n_ended += state != IGNORED
        record = self._scan_record(scan, result, state, text)
        self._log.add(record)
        if state in (FINISHED, FAILED):
            self._health["last_scan" if state == FINISHED else "last_error"] = record
        self._health_due_s = 0.0

    def _enter(self, scan: Scan, result: Mapping[str, Any], state: str, text: str) -> None:
        """Enter the end of a scan in the journal, with its further files as they were before it was solved."""
        run, signatures = str(result.get("run") or scan.run), [str(word) for word in result.get("signatures", ())]
        fields = {"state": state, "detail": text, "run": run}
        if "signatures" in result:
            fields["parts"] = json.dumps([*result["parts"]])
            fields["signature"] = " ".join([scan.signature.split(" ")[0], *signatures])
        with self._journal.together():
            self._journal.change(scan.path, **fields)
            if state == FINISHED:
                if "run" not in result:  # a folder of that name may have been on record, and gone
                    self._journal.drop_run(run)
                self._journal.add_run(run, scan.path, time.time(), join_signatures(signatures))

    def _scan_record(self, scan: Scan, result: Mapping[str, Any], state: str, text: str) -> dict[str, Any]:
        """Return the record of a scan for the log and the health."""
        seconds = None if self._seconds is None else round(self._seconds, 3)
        figures = {name: result[name] for name in ("patterns", "level", "metrics") if name in result}
        run = scan.run if state == FINISHED else None
        common = {"time": now_text(), "scan": printable(scan.path), "state": state, "run": run, "seconds": seconds}
        return {**common, **figures, "text": text}

    def _delete_expired(self) -> None:
        """Delete the oldest runs of this service beyond the number to keep."""
        if self._config.keep_runs is None:
            return
        for run, scan in self._journal.list_expired(self._config.keep_runs, MAX_DELETIONS):
            try:
                reason = delete_run(self._output_dir, run, self._queue.path(scan))
            except OSError as error:
                if not self._journal.count_attempt(run):
                    self._log.say(f"{run} cannot be deleted yet: {' '.join(str(error).split())}")
                continue
            self._journal.drop_run(run)
            self._log.say(f"{run} {f'is left: {reason}' if reason else 'is deleted, as --keep-runs asks'}")

    def _has_space(self) -> bool:
        """Return True where a scan may be begun: there is space on the disk, and it works."""
        free, limit = shutil.disk_usage(self._output_dir).free, self._config.min_free_gib * GIB
        if free < limit * (PAUSE_MARGIN if self._pause else 1):
            self._pause_for(f"{free / GIB:.3g} GiB are free, and --min-free-gib is {self._config.min_free_gib:g}")
            return False
        if time.monotonic() < self._retry_s:
            return False
        if self._pause:
            self._pause, self._health_due_s = "", 0.0
            self._log.say("the service goes on")
        return True

    def _pause_for(self, reason: str) -> None:
        if not self._pause:
            self._log.say(f"the service pauses: {reason}")
            self._health_due_s = 0.0
        self._pause = reason

    def _end(self, state: str) -> None:
        """End the scan in progress; the next start begins it again."""
        if self._child is not None and self._scan is not None:
            result = self._child.stop(STOP_S)
            with contextlib.suppress(OSError, sqlite3.Error):
                if result is not None and result.get("state") == FINISHED:
                    self._record(self._scan, result)
                else:
                    self._journal.change(self._scan.path, state=READY)
            self._child = None
        self._health.pop("current", None)
        self._write_health(state)

    def _report(self) -> None:
        """Write the health where something has happened, and now and then otherwise."""
        if self._child is None:
            self._health.pop("current", None)
        if time.monotonic() >= self._health_due_s:
            state = "paused" if self._pause else "solving" if self._child is not None else "watching"
            self._write_health(state)

    def _write_health(self, state: str) -> None:
        self._health_due_s = time.monotonic() + INTERVAL_S
        sizes = {"service": memory_bytes(), "scan": memory_bytes(self._child.pid) if self._child is not None else None}
        with contextlib.suppress(OSError, sqlite3.Error):
            record = {
                **self._health,
                "state": state,
                "reason": self._pause,
                "source": printable(self._queue.source),
                "updated": now_text(),
                "scans": self._journal.count(),
                "disk": {"free_bytes": shutil.disk_usage(self._output_dir).free},
                "memory_bytes": {name: size for name, size in sizes.items() if size is not None},
            }
            write_json(self._folder / HEALTH, record)


@contextlib.contextmanager
def open_service_folder(output_dir: Path, say: Callable[[str], None]) -> Iterator[Journal]:
    """Open the folder of a service, and the journal in it, for this process alone.

    Args:
        output_dir: Folder of all runs.
        say: Receives lines for people.

    Raises:
        InputError: Where another service uses it.
    """
    folder = output_dir / STATE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOCK_FOLDER).mkdir(exist_ok=True)
    lock = RunLock(folder / LOCK_FOLDER)
    lock.acquire()
    try:
        journal = Journal(folder, time.monotonic())
        try:
            if journal.was_damaged:
                say(f"{journal.path} was damaged and is begun anew; finished runs are recognised by their records")
            empty_trash(output_dir)
            for run in journal.interrupted:
                _await_orphan(output_dir / run)
            yield journal
        finally:
            journal.close()
    finally:
        lock.release()


def _await_orphan(run: Path) -> None:
    """Wait until the child of a service that was killed has left its run folder."""
    end_s = time.monotonic() + 2 * ORPHAN_S
    while run.is_dir() and time.monotonic() < end_s:
        lock = RunLock(run)
        try:
            lock.acquire()
        except InputError:
            time.sleep(0.1)
        else:
            lock.release()
            return
