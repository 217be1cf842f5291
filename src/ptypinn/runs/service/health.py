"""The health of a service in a file, and in words."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptypinn.errors import InputError
from ptypinn.runs.untrusted import read_whole
from ptypinn.utils.atomic_files import is_running
from ptypinn.utils.plain_values import number

STATE_FOLDER = ".ptypinn"
"""Folder of a service beside its runs."""
HEALTH = "health.json"
MAX_BYTES = 2**20
INTERVAL_S = 5.0
"""Time between two writings of the file while nothing happens, seconds."""
STALE_S = 60.0
"""Age of the file from which its service does not count as alive, seconds."""
GIB, MIB = 2**30, 2**20
HEALTHY = ("starting", "watching", "solving")
"""States that need nobody's attention."""


def read_health(output_dir: Path) -> dict[str, Any]:
    """Read the health of the service that writes into a folder.

    Args:
        output_dir: Its folder of runs.

    Raises:
        InputError: Where no service has ever written into it, or its file cannot be read.
    """
    path = output_dir / STATE_FOLDER / HEALTH
    try:
        record = json.loads(read_whole(path, MAX_BYTES))
    except FileNotFoundError:
        raise InputError(
            str(output_dir), "", f"no {STATE_FOLDER}/{HEALTH}", "the folder of runs of a service"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(str(path), "", f"a file that cannot be read ({error})", "JSON of a service") from None
    if not isinstance(record, dict):
        raise InputError(str(path), "", type(record).__name__, "JSON of a service")
    return record


def is_healthy(record: Mapping[str, Any], now: datetime) -> bool:
    """Return True where a service is alive and goes on with its work."""
    return _state(record, now) in HEALTHY


def describe_health(record: Mapping[str, Any], now: datetime) -> list[str]:
    """Return the health of a service as lines; entries that are missing or of a wrong kind are left out.

    Args:
        record: Content of its file.
        now: The time, with its zone.

    >>> record = {"state": "solving", "updated": "2026-01-01T00:00:00+00:00", "scans": {"finished": 3, "failed": 1}}
    >>> describe_health(record, datetime(2026, 1, 1, tzinfo=UTC))
    ['solving', 'scans: 3 finished, 1 failed']
    """
    lines = [_state_line(record, now)]
    if record.get("source"):
        lines.append(f"source: {record['source']}")
    counts = _mapping(record, "scans")
    if counts:
        lines.append(
            "scans: " + ", ".join(f"{number:d} {state}" for state, number in counts.items() if _is_count(number))
        )
    if name := _mapping(record, "current").get("scan"):
        since = _age(_mapping(record, "current").get("since"), now)
        lines.append(f"now: {name}" + (f", for {since}" if since else ""))
    for key, label in (("last_scan", "last scan"), ("last_error", "last failure")):
        last = _mapping(record, key)
        if last.get("scan"):
            ago = _age(last.get("time"), now)
            lines.append(f"{label}: {last['scan']}: {last.get('text', '')}" + (f", {ago} ago" if ago else ""))
    return [*lines, *_resources(record)]


def _resources(record: Mapping[str, Any]) -> list[str]:
    lines = []
    if (free := number(_mapping(record, "disk").get("free_bytes"))) is not None:
        lines.append(f"disk: {free / GIB:.3g} GiB free")
    memory = [(name, number(size)) for name, size in _mapping(record, "memory_bytes").items()]
    if sizes := [f"{name} {size / MIB:.0f} MiB" for name, size in memory if size is not None]:
        lines.append("memory: " + ", ".join(sizes))
    return lines


def _state_line(record: Mapping[str, Any], now: datetime) -> str:
    state, reason = _state(record, now), record.get("reason")
    line = f"{state}: {reason}" if isinstance(reason, str) and reason and state == record.get("state") else state
    process = [f"process {record['pid']}"] if _is_count(record.get("pid")) else []
    since = _age(record.get("since"), now)
    about = ", ".join([*process, *([f"since {since}"] if since and state in (*HEALTHY, "paused") else [])])
    return f"{line} ({about})" if about else line


def _state(record: Mapping[str, Any], now: datetime) -> str:
    """Return the state of a service: as it states it, or dead where it states nothing any more."""
    state = record.get("state")
    state = state if isinstance(state, str) else "unknown"
    if state == "stopped":
        return state
    age_s, pid = _age_s(record.get("updated"), now), record.get("pid")
    is_here = record.get("host") == platform.node()
    is_gone = is_here and _is_count(pid) and not is_running(int(str(pid)))
    return "dead" if is_gone or age_s is None or age_s > STALE_S else state


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _age_s(text: object, now: datetime) -> float | None:
    try:
        return (now - datetime.fromisoformat(str(text))).total_seconds()
    except (ValueError, TypeError):  # no time, or one without a zone
        return None


def _age(text: object, now: datetime) -> str:
    """Return the time since a moment in words: the largest unit of which there are two."""
    age_s = _age_s(text, now)
    if age_s is None or not math.isfinite(age_s):
        return ""
    units = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    for size_s, name in units:
        if age_s >= 2 * size_s:
            return f"{age_s / size_s:.0f} {name}"
    return f"{max(age_s, 0):.0f} s"


def now_text() -> str:
    """Return the time for records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def memory_bytes(pid: int | None = None) -> int | None:
    """Return the resident memory of a process, this one by default; None where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
