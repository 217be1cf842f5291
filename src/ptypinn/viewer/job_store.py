"""Records of jobs in a hidden folder below that of the viewer, one folder per job, written atomically.

The records outlive the viewer. They may also be a stranger's, in a folder from elsewhere: jobs of another place than
this folder on this computer are shown, never started, continued or ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptypinn.errors import InputError
from ptypinn.runs.record import as_mapping
from ptypinn.runs.untrusted import is_regular, read_end, read_start
from ptypinn.utils.atomic_files import write_json

HIDDEN = ".ptypinn"
"""Folder of the records."""
RECORD, LOG, LOCK = "job.json", "log.txt", "lock"
SCHEMA_VERSION = 1
MAX_JOBS = 500
"""Maximum number of jobs on record; the oldest that have ended are dropped."""
MAX_RECORD_BYTES = 2**18
MAX_LOG_BYTES = 16_384
"""Bytes that are read from the end of a log."""
JOB_ID = re.compile(r"[0-9a-f]{12}")
ACTIVE, WAITING = ("queued", "running"), "queued"
STATES = (*ACTIVE, "finished", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class Job:
    """One job: a command on a scan file or a scan in progress, and its state."""

    id: str
    """Identifier, 12 hexadecimal digits."""
    command: str
    """Name of the command."""
    scan: str
    """Scan file, or address of a source, relative to `folder`."""
    output: str
    """Run folder, relative to `folder`."""
    folder: str
    """Folder of the viewer that both are in."""
    values: Mapping[str, str | bool] = field(default_factory=dict)
    """Values of options, as the form states them."""
    overwrite: bool = False
    """Replace a finished run in the run folder."""
    line: str = ""
    """Command line for people."""
    state: str = "queued"
    """One of `STATES`."""
    reason: str = ""
    """Line on why it failed or was interrupted."""
    created: str = ""
    """ISO time, UTC, as the next two."""
    started: str = ""
    """Start of the process; empty before."""
    ended: str = ""
    """End of the process; empty before."""
    pid: int = 0
    """Process, which leads a group of its own; 0 before."""
    cancelled: bool = False
    """True once it has been asked to end."""
    finishing: bool = False
    """True once it has been asked to finish with what has been received."""
    place: str = ""
    """Place of the records, as of `JobStore.place`."""

    @property
    def is_active(self) -> bool:
        """True while it waits or runs."""
        return self.state in ACTIVE

    @property
    def output_path(self) -> Path:
        """The run folder."""
        return Path(self.folder) / self.output


class JobStore:
    """The records of jobs.

    Args:
        home: Folder of the viewer.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / HIDDEN
        self.records = self.folder / "jobs"

    def create(self) -> None:
        """Create the folder of the records, for this user alone.

        Raises:
            InputError: Where it cannot be created, or is no folder of its own.
        """
        try:
            self.records.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(HIDDEN, "", error.strerror or str(error), "a folder that can be written to") from error
        if not self.exists:
            raise InputError(HIDDEN, "", "a link or a folder of another user", "a folder of this user")

    @property
    def exists(self) -> bool:
        """True if there are records: folders of this user, which no link leads to."""
        folders = (self.folder, self.records)
        with contextlib.suppress(OSError):
            return all(path.resolve() == path and path.stat().st_uid == os.geteuid() for path in folders)
        return False

    def place(self) -> str:
        """Return a text for this folder on this computer; a copy of the folder has another."""
        stat = self.records.stat()
        words = (platform.node(), str(self.records), stat.st_dev, stat.st_ino)
        return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()[:24]

    def path(self, job_id: str) -> Path:
        """Return the folder of a job's record, log and lock."""
        return self.records / job_id

    def load(self) -> list[Job]:
        """Return all jobs, oldest first; records that cannot be read are left out."""
        if not self.exists:
            return []
        names = [name for name in os.listdir(self.records) if JOB_ID.fullmatch(name)]
        jobs = [job for name in names if (job := self._read(name)) is not None]
        return sorted(jobs, key=lambda job: (job.created, job.id))

    def save(self, job: Job) -> Job:
        """Write the record of a job."""
        self.path(job.id).mkdir(mode=0o700, exist_ok=True)
        write_json(self.path(job.id) / RECORD, {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(job)})
        return job

    def delete(self, job: Job) -> None:
        """Delete record and log of a job; its run folder stays."""
        shutil.rmtree(self.path(job.id), ignore_errors=True)

    def read_log(self, job: Job) -> list[str]:
        """Return the last lines that the process of a job has written."""
        with contextlib.suppress(OSError):
            return read_end(self.path(job.id) / LOG, MAX_LOG_BYTES).decode("utf-8", "replace").splitlines()
        return []

    def log_version(self, job: Job) -> str:
        """Return a text that changes with the log of a job."""
        path = self.path(job.id) / LOG
        return f"{path.stat().st_size}" if is_regular(path) else ""

    def _read(self, name: str) -> Job | None:
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            if self.path(name).is_symlink():
                return None
            record = as_mapping(json.loads(read_start(self.path(name) / RECORD, MAX_RECORD_BYTES)))
            job = Job(**_checked(record))
            return job if job.id == name and job.state in STATES else None
        return None


def _checked(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a record that are those of a job.

    Raises:
        TypeError: Where one has a wrong type.
    """
    plain = Job("", "", "", "", "")
    known_fields = {each.name: type(getattr(plain, each.name)) for each in dataclasses.fields(Job)}
    entries = {name: value for name, value in record.items() if name in known_fields}
    for name, value in entries.items():
        if type(value) is not known_fields[name]:
            raise TypeError(name)
    if not all(isinstance(value, str | bool) for value in entries.get("values", {}).values()):
        raise TypeError("values")
    return entries
