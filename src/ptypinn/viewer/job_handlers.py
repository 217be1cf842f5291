"""Handlers of jobs: the requests that start, end and resume them, on scan files and on scans in progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ptypinn.errors import InputError
from ptypinn.viewer.forms import MAX_VALUES
from ptypinn.viewer.job_outcome import describe_job
from ptypinn.viewer.job_queue import JobQueue, JobRequest
from ptypinn.viewer.job_store import JOB_ID, Job
from ptypinn.viewer.responses import describe_error, entry, json_response

LIVE_RUN = "live"
"""Name of the run folder that a form proposes for a stream."""


class JobHandlers:
    """Handlers of jobs.

    Args:
        queue: The jobs.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def jobs(self, request: Request) -> Response:
        """Return all jobs, newest first."""
        return json_response(request, {"jobs": [describe_job(job) for job in self._queue.jobs()]})

    def log(self, request: Request) -> Response:
        """Return the end of the log of a job."""
        return json_response(request, {"log": self._queue.log(self._find(request))})

    def cancel(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Take a job off the queue, or end its process."""
        return self._change(request, self._queue.cancel)

    def finish(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Let a scan in progress be finished with the frames that have come."""
        return self._change(request, self._queue.finish)

    def resume(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Queue a job that has ended without a result again."""
        return self._change(request, self._queue.resume)

    def remove(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Delete the record of a job that has ended."""
        return self._change(request, self._queue.remove)

    def _change(self, request: Request, change: Callable[[Job], None]) -> Response:
        change(self._find(request))
        return self.jobs(request)

    def _find(self, request: Request) -> Job:
        job_id = request.path_params["job"]
        job = self._queue.job(job_id) if JOB_ID.fullmatch(job_id) else None
        if job is None:
            raise HTTPException(404, "no such job")
        return job


class SourceHandlers:
    """Handlers of the form that starts on the source of a scan in progress, instead of a scan file.

    Args:
        queue: The jobs.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def describe(self, request: Request) -> Response:
        """Return what the form begins with; no run folders where the viewer has no folder for them."""
        root = self._queue.root
        outputs = {} if root is None else self._queue.propose_outputs(LIVE_RUN, root)
        return json_response(request, {"outputs": outputs, "source": ""})

    def check(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Return the command line that the form describes, or why it is none; nothing is started."""
        return check_request(request, self._queue, self._read(content))

    def start(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Queue the job that the form describes."""
        return start_request(request, self._queue, self._read(content))

    def _read(self, content: Mapping[str, Any]) -> JobRequest:
        command = self._queue.commands.get(entry(content, "command", str))
        if command is None or not command.takes_source:
            raise InputError("command", "", repr(content["command"])[:80], "one on a scan in progress")
        return read_request(content, entry(content, "source", str), self._root())

    def _root(self) -> Path:
        if self._queue.root is None:
            raise InputError("ptypinn view", "", "no folder", "one, in which runs are written")
        return self._queue.root


def check_request(request: Request, queue: JobQueue, stated: JobRequest) -> Response:
    """Return the command line that a form describes, or why it is none."""
    try:
        job = queue.prepare(stated)
    except InputError as error:
        return json_response(request, describe_error(error))
    return json_response(request, {"line": job.line})


def start_request(request: Request, queue: JobQueue, stated: JobRequest) -> Response:
    """Queue the job that a form describes."""
    return json_response(request, {"job": describe_job(queue.add(stated))})


def read_request(content: Mapping[str, Any], scan: str, root: Path) -> JobRequest:
    """Return the request that the body of a form states.

    Args:
        content: The body.
        scan: Scan file, or address of a source.
        root: Folder of the viewer.

    Raises:
        InputError: Where an entry is missing, or of another type.
    """
    values = require_values(entry(content, "values", dict))
    command, output = entry(content, "command", str), entry(content, "output", str)
    return JobRequest(command, scan, root, output, values, entry(content, "overwrite", bool))


def require_values(values: Mapping[str, Any]) -> Mapping[str, str | bool]:
    """Return the values of a form.

    Raises:
        InputError: Where one is neither a text nor true or false, or there are more than any form has.
    """
    if len(values) > MAX_VALUES or not all(isinstance(value, str | bool) for value in values.values()):
        raise InputError("body", "values", "another object", "texts, and true or false for switches")
    return values
