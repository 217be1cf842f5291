"""Health of a viewer: its jobs, runs in progress, disk space, and the services that write into its folders."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ptypinn._version import __version__
from ptypinn.errors import InputError
from ptypinn.runs.service.health import (
    GIB,
    HEALTH,
    STATE_FOLDER,
    describe_health,
    is_healthy,
    memory_bytes,
    read_health,
)
from ptypinn.runs.untrusted import lies_in
from ptypinn.viewer.inside import strip_root
from ptypinn.viewer.job_outcome import describe_job
from ptypinn.viewer.job_store import ACTIVE
from ptypinn.viewer.responses import json_response
from ptypinn.viewer.room import Room
from ptypinn.viewer.run_status import read_status

MIN_FREE_BYTES = GIB
"""Free space below which a disk is a problem: a run of one scan may not fit."""
IN_PROGRESS = ("running", "silent")
"""States of runs that go on, or seem to."""
MAX_SHOWN, MAX_TEXT = 50, 500
"""Maximum number of runs by name, and of characters of one line."""


class HealthHandlers:
    """Handlers of the health of a viewer.

    Args:
        room: Its content.
    """

    def __init__(self, room: Room) -> None:
        self._room, self._start_s = room, time.monotonic()

    def health(self, request: Request) -> Response:
        """Return the health of the viewer."""
        room, now = self._room, datetime.now(UTC)
        services = [service for folder in room.folders if (service := _describe_service(folder, now)) is not None]
        disks = [_describe_disk(folder) for folder in room.folders]
        jobs, active = room.jobs.jobs(), _list_runs(room)
        silent = [run["name"] for run in active if run["status"] == "silent"]
        problems = [f"{service['folder']}: {service['lines'][0]}" for service in services if not service["healthy"]]
        problems += [f"{disk['folder']}: {disk['text']}" for disk in disks if disk["free_bytes"] < MIN_FREE_BYTES]
        problems += [f"{name}: no recent output" for name in silent[:MAX_SHOWN]]
        content = {
            "healthy": not problems,
            "problems": problems,
            "version": __version__,
            "read_only": room.jobs.read_only,
            "running_s": round(time.monotonic() - self._start_s),
            "memory_bytes": memory_bytes(),
            "jobs": dict(Counter(job.state for job in jobs)),
            "active_jobs": [describe_job(job) for job in jobs if job.state in ACTIVE],
            "runs_in_progress": active[:MAX_SHOWN],
            "disks": disks,
            "services": services,
        }
        return json_response(request, content)


def _describe_service(folder: Path, now: datetime) -> dict[str, Any] | None:
    """Return the health of the service that writes into a folder; None where none does."""
    state = folder / STATE_FOLDER
    if not (state / HEALTH).exists() or not lies_in(state, (folder,)):
        return None
    try:
        record = read_health(folder)
    except InputError as error:
        return {"folder": folder.name, "healthy": False, "lines": _clean([str(error)], folder)}
    lines = _clean(describe_health(record, now), folder)
    return {"folder": folder.name, "healthy": is_healthy(record, now), "lines": lines}


def _clean(lines: Sequence[str], folder: Path) -> list[str]:
    """Return lines of a file that may be a stranger's: short, and with paths relative to the folder."""
    return [strip_root(" ".join(line.split())[:MAX_TEXT], folder) for line in lines]


def _describe_disk(folder: Path) -> dict[str, Any]:
    """Return the space on the disk of a folder; none where it has gone."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return {"folder": folder.name, "free_bytes": 0, "total_bytes": 0, "text": "the folder cannot be read"}
    text = f"{usage.free / GIB:.3g} of {usage.total / GIB:.3g} GiB free"
    return {"folder": folder.name, "free_bytes": usage.free, "total_bytes": usage.total, "text": text}


def _list_runs(room: Room) -> list[dict[str, Any]]:
    """Return the runs in progress."""
    active = list[dict[str, Any]]()
    for run in room.runs.runs():
        with contextlib.suppress(OSError):  # it was deleted meanwhile
            status = read_status(run)
            if status.status in IN_PROGRESS:
                about = {"status": status.status, "stage": status.stage, "progress": status.progress}
                active.append({"id": run.id, "name": run.name, "changed": status.changed, **about})
    return active
