"""End and progress of a job, from its exit code, its log and its run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ptypinn.runs.folder import FINISHED, LOG
from ptypinn.runs.untrusted import is_regular
from ptypinn.stages.live_status import STATUS
from ptypinn.viewer.folders import path_id
from ptypinn.viewer.inside import strip_root
from ptypinn.viewer.job_process import FAILURE, INTERRUPTED, describe_exit, find_reason
from ptypinn.viewer.job_store import Job
from ptypinn.viewer.live_run import read_live
from ptypinn.viewer.run_index import Run
from ptypinn.viewer.run_status import read_status
from ptypinn.viewer.source_address import find_file

CLOCKS_S = 2.0
"""Difference of the clocks of this computer and of a file server that is left out of account."""
RECEIVING = ("waiting", "receiving")
"""States of a scan in progress whose frames still come."""
UNWATCHED = "its process ended without a word while no viewer was running"


def judge_end(job: Job, code: int | None, lines: Sequence[str], ended: str) -> Job:
    """Return a job after its end.

    Args:
        job: The job while it ran.
        code: Exit code of its process; None where it ended while no viewer was running.
        lines: End of its log.
        ended: ISO time of its end.
    """
    failure = find_reason(lines) if any(line.startswith(FAILURE) for line in lines) else ""
    if code == 0 or (code is None and is_newer(job.output_path / FINISHED, job.started)):
        return replace(job, state="finished", ended=ended)
    if job.cancelled:
        return replace(job, state="cancelled", ended=ended)
    if failure.startswith(INTERRUPTED):
        return replace(job, state="interrupted", ended=ended)
    if code is None and not failure:
        return replace(job, state="interrupted", reason=UNWATCHED, ended=ended)
    reason = failure or (find_reason(lines) if code and code > 0 else "") or describe_exit(code or 1)
    return replace(job, state="failed", reason=strip_root(reason, Path(job.folder)), ended=ended)


def is_receiving(job: Job) -> bool:
    """Return True while the process of a job receives a scan in progress."""
    if job.state != "running" or job.cancelled or not is_newer(job.output_path / STATUS, job.started):
        return False
    content = read_live(job.output_path)
    return content is not None and content["state"] in RECEIVING


def describe_job(job: Job) -> dict[str, Any]:
    """Return a job for a page: its state, the run that it writes, and its progress while it runs."""
    path, folder = job.output_path, Path(job.folder)
    file = folder / job.scan if is_regular(folder / job.scan) else find_file(job.scan, folder)
    content: dict[str, Any] = {
        "id": job.id,
        "command": job.command,
        "scan": job.scan,
        "scan_id": "" if file is None else path_id(file),
        "output": job.output,
        "line": job.line,
        "state": job.state,
        "stopping": job.state == "running" and job.cancelled,
        "receiving": is_receiving(job),
        "finishing": job.state == "running" and job.finishing,
        "reason": job.reason,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "run": path_id(path),
        "has_run": is_regular(path / LOG),
        "progress": {},
    }
    if job.state == "running" and is_newer(path / LOG, job.started):
        with contextlib.suppress(FileNotFoundError):
            content["progress"] = read_status(Run(content["run"], job.output, path)).progress
    return content


def is_newer(path: Path, started: str) -> bool:
    """Return True for a regular file that has changed since a time."""
    with contextlib.suppress(OSError, ValueError):
        return is_regular(path) and path.stat().st_mtime > datetime.fromisoformat(started).timestamp() - CLOCKS_S
    return False
