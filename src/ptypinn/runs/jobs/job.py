"""One job and its folder, which appears under the job's name only once it is complete.

`job.json` in it is the mark of a finished job, with its configuration and result.
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
from ptypinn.utils.files import write_json, write_text
from ptypinn.utils.serialise import to_plain

MARK, FAILED, SCHEMA_VERSION = "job.json", "failed.txt", 1

Work = Callable[[Any, Path], Mapping[str, Any]]
"""Does a job: given its configuration and an empty folder to write into, it returns plain figures."""


@dataclass(frozen=True)
class Job:
    """One unit of work that needs no other."""

    name: str
    """Name of its folder: letters, digits, `_`, `+` and `-`."""
    config: Any
    """What the work is given: a picklable dataclass of plain values."""


@dataclass(frozen=True)
class Task:
    """A job with everything that a worker needs to do it, on this machine or another."""

    work: Work
    """A function of a module, which workers can import."""
    job: Job
    """What to do."""
    folder: Path
    """Folder of all jobs, absolute."""
    threads: int
    """CPU threads of the job."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, or with the reason for its failure."""

    result: dict[str, Any] = field(default_factory=dict)
    """Plain figures."""
    failure: str = ""
    """One line; empty where the job is finished."""


def run_job(task: Task) -> Outcome:
    """Do a job in a temporary folder and move it to its place; a failure is returned, with its traceback in a file."""
    from ptypinn.utils.device import cpu_threads

    log = task.folder / f"{task.job.name}.{FAILED}"
    temporary = task.folder / f".{task.job.name}.{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    started = time.monotonic()
    try:
        with cpu_threads(task.threads):
            result = to_plain(task.work(task.job.config, temporary))
        mark = {**_identity(task.job), "result": result, "seconds": time.monotonic() - started}
        write_json(temporary / MARK, mark)
        _move(temporary, task.folder / task.job.name)
    except (Exception, SystemExit) as error:  # whatever it is, it is this job's alone
        write_text(log, traceback.format_exc())
        return Outcome(failure=reason_of(error))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.unlink(missing_ok=True)
    return Outcome(result)


def reason_of(error: BaseException) -> str:
    """One line for a failure: the message of bad input as it is, anything else with the name of its kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".rstrip(": ")


def finished_result(folder: Path, job: Job) -> dict[str, Any] | None:
    """The result of a job that is finished, or None.

    Raises:
        InputError: Where it was run with another configuration or version.
    """
    wanted = json.loads(json.dumps(_identity(job)))
    try:
        mark = json.loads((folder / job.name / MARK).read_text(encoding="utf-8"))
        result, identity = dict(mark["result"]), {name: mark[name] for name in wanted}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if identity != wanted:
        found = "a finished job with other settings: " + ", ".join(_changes(identity, wanted))
        raise InputError(str(folder / job.name), "", found, "the settings of before, a new folder, or --overwrite")
    return result


def sweep_up(folder: Path, names: Iterable[str]) -> None:
    """Remove what workers that were stopped have left of jobs."""
    for name in names:
        for rest in folder.glob(f".{name}.*"):
            shutil.rmtree(rest, ignore_errors=True)


def _move(temporary: Path, place: Path) -> None:
    """Put a complete folder in its place, in the stead of an older one."""
    if place.exists():
        old = temporary.with_name(f"{temporary.name}.old")
        place.replace(old)
        shutil.rmtree(old, ignore_errors=True)
    temporary.replace(place)


def _identity(job: Job) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "name": job.name, "version": __version__, "config": to_plain(job.config)}


def _changes(old: Any, new: Any, name: str = "") -> Iterable[str]:
    """What differs, as `name old (now new)`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _changes(old.get(key), new.get(key), key)
    elif old != new:
        yield f"{name} {old} (now {new})"
