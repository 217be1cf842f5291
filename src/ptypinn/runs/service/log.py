"""The log of a service: one line per scan for people, and one for programs in a file of limited size."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOG = "scans.jsonl"
MAX_BYTES = 2**24
"""Size of the file from which it is moved to `scans.jsonl.1`, in place of an older one."""
MAX_TEXT = 1000
"""Characters of a text from elsewhere in one line."""

Emit = Callable[[str, Mapping[str, Any] | None], None]
"""Shows a line, with its record where it is about a scan."""


class ScanLog:
    """The log.

    Args:
        folder: Folder of the service.
        emit: Shows lines.
        max_bytes: Size from which the file is replaced.
    """

    def __init__(self, folder: Path, emit: Emit, max_bytes: int = MAX_BYTES) -> None:
        self._path, self._emit, self._max_bytes = folder / LOG, emit, max_bytes

    def say(self, line: str) -> None:
        """Show a line that is about no scan."""
        self._emit(printable(line), None)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a scan, and show it.

        Args:
            record: Plain values, with `scan`, `state` and `text`, and where there are any `patterns` and `seconds`.
        """
        self._emit(describe_scan(record), record)
        with contextlib.suppress(OSError):  # a full disk: the journal has the state
            self._append(json.dumps(record, allow_nan=False) + "\n")

    def _append(self, line: str) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            os.write(handle, line.encode())  # one call: lines are whole
            size = os.fstat(handle).st_size
        finally:
            os.close(handle)
        if size > self._max_bytes:
            self._path.replace(self._path.with_name(f"{LOG}.1"))


def describe_scan(record: Mapping[str, Any]) -> str:
    """Return the line about a scan.

    >>> describe_scan({"scan": "scan_7.h5", "state": "finished", "patterns": 60, "seconds": 2.345, "text": "Mostly."})
    'scan_7.h5: 60 patterns in 2.3 s: Mostly.'
    >>> describe_scan({"scan": "scan_8.h5", "state": "failed", "seconds": 0.5, "text": "no probe"})
    'scan_8.h5: failed after 0.5 s: no probe'
    """
    if record["state"] == "finished":
        size = f"{record['patterns']} patterns" if record.get("patterns") is not None else "solved"
        about = f"{size} in {record['seconds']:.1f} s" if record.get("seconds") is not None else size
    else:
        after = f" after {record['seconds']:.1f} s" if record.get("seconds") is not None else ""
        about = {"failed": f"failed{after}", "ignored": "left out"}.get(record["state"], str(record["state"]))
    return f"{record['scan']}: {about}: {record['text']}"


def printable(text: str) -> str:
    r"""Return a text in one line, without characters that move a cursor or that no encoding holds.

    >>> print(printable("scan\x1b[2J\n\udcff.h5"))
    scan\x1b[2J\n\udcff.h5
    """
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:MAX_TEXT])
    return shown if len(text) <= MAX_TEXT else f"{shown}..."
