"""One job and its folder, which gets the job's name only when it is complete.

`job.json` marks a finished job; it has the configuration and the result.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptypinn._version import __version__
from ptypinn.errors import InputError
from ptypinn.utils.atomic_files import write_json, write_text
from ptypinn.utils.plain_values import to_plain

DONE_FILE, ERROR_FILE, SCHEMA_VERSION = "job.json", "failed.txt", 1

JobFunction = Callable[[Any, Path], Mapping[str, Any]]
"""Function of a job: takes its configuration and an empty output folder, and returns plain figures."""


@dataclass(frozen=True)
class Job:
    """One independent unit of work."""

    name: str
    """Name of its folder: letters, digits, `_`, `+` and `-`."""
    config: Any
    """Argument of the job function: a picklable dataclass of plain values."""


@dataclass(frozen=True)
class Task:
    """A job with everything that a worker needs to run it, on this machine or another."""

    function: JobFunction
    """Function of a module, which workers can import."""
    job: Job
    """The job."""
    folder: Path
    """Folder of all jobs, absolute."""
    threads: int
    """CPU threads of the job."""


@dataclass(frozen=True)
class Outcome:
    """Result of a job, or the reason for its failure."""

    result: dict[str, Any] = field(default_factory=dict)
    """Plain figures."""
    failure: str = ""
    """Reason in one line; empty where the job is finished."""


def run_job(task: Task) -> Outcome:
    """Run a job in a temporary folder, and rename it at the end; a failure is returned, its traceback is in a file."""
    from ptypinn.utils.device import cpu_threads

    log = task.folder / f"{task.job.name}.{ERROR_FILE}"
    temporary = task.folder / f".{task.job.name}.{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    start_s = time.monotonic()
    try:
        with cpu_threads(task.threads):
            result = to_plain(task.function(task.job.config, temporary))
        record = {**_identity(task.job), "result": result, "seconds": time.monotonic() - start_s}
        write_json(temporary / DONE_FILE, record)
        _move_folder(temporary, task.folder / task.job.name)
    except (Exception, SystemExit) as error:  # no error of a job may stop the others
        write_text(log, traceback.format_exc())
        return Outcome(failure=describe_error(error))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.unlink(missing_ok=True)
    return Outcome(result)


def describe_error(error: BaseException) -> str:
    """Return an error in one line: the message of an `InputError` alone, others with the name of their type.

    Examples:
        >>> describe_error(ValueError("no probe"))
        'ValueError: no probe'
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".rstrip(": ")


def load_result(folder: Path, job: Job) -> dict[str, Any] | None:
    """Return the result of a finished job, or None.

    Raises:
        InputError: Where the job was run with another configuration or version.
    """
    expected = json.loads(json.dumps(_identity(job)))
    try:
        record = json.loads((folder / job.name / DONE_FILE).read_text(encoding="utf-8"))
        result, identity = dict(record["result"]), {name: record[name] for name in expected}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if identity != expected:
        actual = "a finished job with other settings: " + ", ".join(_list_changes(identity, expected))
        raise InputError(str(folder / job.name), "", actual, "the settings of before, a new folder, or --overwrite")
    return result


def clean_up(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary folders of workers that were stopped."""
    for name in names:
        for leftover in folder.glob(f".{name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _move_folder(temporary: Path, place: Path) -> None:
    """Rename a complete folder; it replaces an older one."""
    if place.exists():
        old = temporary.with_name(f"{temporary.name}.old")
        place.replace(old)
        shutil.rmtree(old, ignore_errors=True)
    temporary.replace(place)


def _identity(job: Job) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "name": job.name, "version": __version__, "config": to_plain(job.config)}


def _list_changes(old: Any, new: Any, name: str = "") -> Iterable[str]:
    """Yield the differences as `name old (now new)`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _list_changes(old.get(key), new.get(key), key)
    elif old != new:
        yield f"{name} {old} (now {new})"
