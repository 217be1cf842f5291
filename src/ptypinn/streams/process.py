"""The process that receives a scan: started, found again after a restart, watched and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.streams.frame_form import FrameForm
from ptypinn.streams.receiver import LOG, REQUEST
from ptypinn.streams.spool import STATE, holds_frames, read_state
from ptypinn.utils.atomic_files import write_json
from ptypinn.utils.plain_values import to_plain

MODULE = "ptypinn.streams.receiver"
OVER = ("ended", "stopped", "failed")
"""States of a receiver that has come to its end."""
MAX_STARTS, STARTS_WITHIN_S = 5, 60.0
"""Starts of a receiver within some time, after which it is not started again."""
WHOLE = {"crop_px": None, "centre_px": None}
"""Part of the request for frames that are not cut."""
STOP_S = 10.0
"""Time that a receiver has to end, seconds; then it is killed."""


@dataclass
class ReceiverProcess:
    """The receiver of one spool."""

    folder: Path
    """The spool."""
    request: Mapping[str, Any]
    """Source, its options, window and free space, as `receiver.main` reads them."""
    _starts_s: list[float] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    def attach(self) -> bool:
        """Use what is in the spool, and a receiver that still runs; start one otherwise, unless the scan has ended.

        Return True where there are frames of an earlier one.

        Raises:
            InputError: Where its frames are of another source, or cut to another square.
        """
        before, resumed = _read_request(self.folder), holds_frames(self.folder)
        if before is not None and before["source"] != self.request["source"]:
            actual = f"{self.folder}, which holds frames of {before['source']}"
            raise InputError("--output-dir", "", actual, "another folder, or --overwrite to drop them")
        if before is not None and resumed:
            if self.holds_oblong_frames:
                self.request = {**self.request, **WHOLE}
            else:
                self._require_window(before)
        if self.is_alive and before != to_plain(self.request):
            self.stop()
            self._start()
        elif self.state.get("state") != "ended" and not self.is_alive:
            self._start()
        return resumed

    @property
    def holds_oblong_frames(self) -> bool:
        """True where the spool has whole frames that are not square: the solver, which refuses them, may cut any."""
        before, form = _read_request(self.folder), FrameForm.read(self.folder, LoadConfig())
        is_whole = before is not None and all(before.get(name) is None for name in WHOLE)
        return is_whole and form is not None and form.window is None and len(set(form.kind[0])) > 1

    def _require_window(self, before: Mapping[str, Any]) -> None:
        """Refuse another square than that which the frames before were cut to."""
        for name in WHOLE:
            earlier, now = before.get(name), to_plain(self.request.get(name))
            if earlier != now:
                expected = f"{_format(earlier)}, as the frames in {self.folder} are cut, or --overwrite to drop them"
                raise InputError(f"--{name.replace('_', '-')}", "", _format(now), expected)

    def ensure(self) -> bool:
        """Start the receiver again where it has died; return False where it keeps dying."""
        if self.is_over or self.is_alive:
            return True
        now_s = time.monotonic()
        self._starts_s = [start_s for start_s in self._starts_s if now_s - start_s < STARTS_WITHIN_S]
        if len(self._starts_s) >= MAX_STARTS:
            return False
        self._start()
        return True

    @property
    def state(self) -> dict[str, Any]:
        """State that it has written last; empty before the first."""
        return read_state(self.folder)

    @property
    def is_over(self) -> bool:
        """True if it has come to its end: the scan ended, it was stopped, or its source failed."""
        return self.state.get("state") in OVER

    @property
    def is_alive(self) -> bool:
        """True while its process runs."""
        return bool(self._find_processes())

    def stop(self) -> None:
        """Let it end: what it has received is spooled first."""
        deadline_s = time.monotonic() + STOP_S
        for pid in self._find_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        while (pids := self._find_processes()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_S)

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / REQUEST, to_plain(self.request))
        state = {**self.state, "state": "starting", "error": "", "pid": None}  # its counters go on
        write_json(self.folder / STATE, state)
        self._starts_s.append(time.monotonic())
        with (self.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(self.folder.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a signal to the solver is not one to the receiver
            )
        if self.state.get("pid") is None:  # others find it before it has written anything itself
            write_json(self.folder / STATE, {**state, "pid": self._process.pid})

    def _find_processes(self) -> list[int]:
        """Return the numbers of the processes that receive: the one started here, and the one that the state names."""
        pids = [self._process.pid] if self._process is not None and self._process.poll() is None else []
        pid = self.state.get("pid")
        if isinstance(pid, int) and pid > 1 and pid not in pids and _is_receiver(pid, self.folder):
            pids.append(pid)
        return pids


def _format(value: Any) -> str:
    """Return a square's edge or centre for people.

    >>> _format(None), _format([10, 12])
    ('none', '10,12')
    """
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _read_request(folder: Path) -> dict[str, Any] | None:
    try:
        request = json.loads((folder / REQUEST).read_text())
    except (OSError, ValueError):
        return None
    return request if isinstance(request, dict) and "source" in request else None


def _is_receiver(pid: int, folder: Path) -> bool:
    """Return True if a process is the receiver of a spool: numbers of processes are used again."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return _exists(pid) if not Path("/proc/self").exists() else False
    return MODULE.encode() in words and os.fsencode(folder.resolve()) in words


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
