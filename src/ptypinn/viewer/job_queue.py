"""The queue of jobs: a few at a time, each a process that outlives the viewer, all on record."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED, RunFolder
from ptypinn.runs.lock import RunLock
from ptypinn.viewer.forms import JobCommand, Setting, build_arguments, show_line
from ptypinn.viewer.inside import OUTPUT, locate_output, strip_root
from ptypinn.viewer.job_outcome import is_newer, is_receiving, judge_end
from ptypinn.viewer.job_process import is_alive, read_pid, send_signal, start_process
from ptypinn.viewer.job_store import HIDDEN, MAX_JOBS, WAITING, Job, JobStore

GRACE_S = 15.0
"""Time between the request to end and the end by force."""
TICK_S = 0.4
"""Time between two looks at the processes."""
ELSEWHERE = "recorded on another computer, or in another folder"


@dataclass(frozen=True)
class JobRequest:
    """A command on a scan file or a scan in progress, as a form states it."""

    command: str
    """Name of the command."""
    scan: str
    """Scan file, or address of a source, relative to `root`."""
    root: Path
    """Folder of the viewer."""
    output: str
    """Run folder, relative to the folder of the viewer."""
    values: Mapping[str, str | bool]
    """Values of options."""
    overwrite: bool = False
    """Replace a finished run."""


class JobQueue:
    """Jobs of a viewer. One viewer at a time manages those of a folder; others show them.

    Args:
        roots: Folders of the viewer; the records are in the first.
        commands: Commands that jobs can be of, by name.
        slots: Jobs that run at the same time.
        read_only: Show jobs, but start and end none.
    """

    def __init__(
        self, roots: Sequence[Path], commands: Mapping[str, JobCommand], slots: int = 1, read_only: bool = False
    ) -> None:
        self._roots = [path.resolve() for path in roots if path.is_dir()]
        self.commands, self._slots, self.read_only = commands, slots, read_only
        self._store = JobStore(self._roots[0]) if self._roots else None
        self._jobs: dict[str, Job] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._killed_s: dict[str, float] = {}
        self._guard = threading.Condition(threading.RLock())
        self._lock: RunLock | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        if self._store is not None and self._store.exists and not read_only:
            with contextlib.suppress(InputError):  # another viewer manages them, or nothing can be written there
                self._manage()

    @property
    def root(self) -> Path | None:
        """Folder of the records, in which runs of streams are; None without a folder."""
        return self._roots[0] if self._roots else None

    def jobs(self) -> list[Job]:
        """Return all jobs, newest first."""
        with self._guard:
            if self._lock is None and self._store is not None:
                self._jobs = {job.id: job for job in self._store.load()}
            return list(reversed(self._jobs.values()))

    def job(self, job_id: str) -> Job | None:
        """Return the job with an id; None where there is none."""
        self.jobs()
        return self._jobs.get(job_id)

    def log(self, job: Job) -> list[str]:
        """Return the last lines that the process of a job has written, with paths relative to the folder."""
        lines = [] if self._store is None else self._store.read_log(job)
        return [strip_root(line, Path(job.folder)) for line in lines]

    def version(self) -> str:
        """Return a text that changes with the jobs and their logs."""
        words = list[str]()
        for job in self.jobs():
            log = self._store.log_version(job) if self._store else ""
            words += [f"{job.id} {job.state} {job.cancelled} {job.finishing} {is_receiving(job)} {log}"]
        return " ".join(words)

    def prepare(self, request: JobRequest) -> Job:
        """Return the job that a request describes, checked and not yet queued.

        Raises:
            InputError: Where it asks for what is not on offer, is out of bounds, or outside the folder.
        """
        command = self.commands.get(request.command)
        if command is None:
            raise InputError("command", "", repr(request.command)[:80], f"one of {', '.join(self.commands)}")
        root = request.root
        try:
            command.locate_scan(request.scan, root)
            settings, output = command.parse(request.values, root), locate_output(request.output, root)
            RunFolder(output, command.name, {}, overwrite=request.overwrite)  # checks the folder, and writes nothing
        except InputError as error:
            words = (error.source, error.field, error.actual, error.expected)
            raise InputError(*(strip_root(word, root) for word in words)) from None
        place = output.relative_to(root)
        extra = [*self._extra_words(command, settings), *(["--overwrite"] if request.overwrite else [])]
        return Job(
            id=secrets.token_hex(6),
            command=command.name,
            scan=request.scan,
            output=str(place),
            folder=str(root),
            values=dict(request.values),
            overwrite=request.overwrite,
            line=show_line(command, settings, request.scan, place, extra),
            created=_now(),
        )

    def propose_outputs(self, base: str, root: Path) -> dict[str, str]:
        """Return the names of new run folders, which no file and no job has, by command.

        Args:
            base: Start of the names, relative to `root`.
            root: Folder of the viewer.
        """
        taken = {job.output for job in self.jobs() if job.is_active}
        outputs = dict[str, str]()
        for command in self.commands:
            name = (base if base == command else f"{base}-{command}").lstrip("-.")
            names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
            outputs[command] = next((each for each in names if each not in taken and not (root / each).exists()), "")
        return outputs

    def add(self, request: JobRequest) -> Job:
        """Queue a job.

        Raises:
            InputError: As `prepare`, and where this viewer starts no jobs or another job writes to the same folder.
        """
        job = self.prepare(request)
        with self._guard:
            self._manage()
            self._require_free(job)
            self._drop_oldest()
            job = self._set(replace(job, place=self._require_store().place()))
            self._guard.notify_all()
            return job

    def cancel(self, job: Job) -> None:
        """Take a job off the queue, or ask its process to end.

        Raises:
            InputError: Where this viewer ends no jobs.
        """
        with self._guard:
            self._manage()
            job = self._jobs.get(job.id, job)
            if job.state == WAITING:
                self._set(replace(job, state="cancelled", ended=_now()))
            elif job.is_active and not job.cancelled:
                self._set(replace(job, cancelled=True))
                self._end_process(job, signal.SIGTERM)
            self._guard.notify_all()

    def finish(self, job: Job) -> None:
        """Ask the process of a scan in progress to receive no more, and finish with the frames that have come.

        It is asked once: the second time would interrupt it.

        Raises:
            InputError: Where this viewer ends no jobs, or the job does not receive.
        """
        with self._guard:
            self._manage()
            job = self._jobs.get(job.id, job)
            command = self.commands.get(job.command)
            if command is None or not command.takes_source or not is_receiving(job):
                raise InputError("job", "", f"{job.command}, {job.state}", "a scan whose frames still come")
            if not job.finishing:
                self._set(replace(job, finishing=True))
                if is_alive(self._require_store().path(job.id), job.pid):
                    send_signal(job.pid, signal.SIGINT)
            self._guard.notify_all()

    def resume(self, job: Job) -> None:
        """Queue a job that has ended without a result again, with the same command.

        Raises:
            InputError: Where this viewer starts no jobs, the job is of another place, or another job writes to its
                folder or has finished a run there since.
        """
        with self._guard:
            self._manage()
            job = self._jobs.get(job.id, job)
            if job.is_active or job.state == "finished":
                return
            self._require_own(job)
            self._require_free(job)
            if job.overwrite and is_newer(job.output_path / FINISHED, job.started or job.created):
                raise InputError(OUTPUT, "", f"{job.output}, which a later run has finished", "a new job")
            values = dict(job.values)
            if any(option.name == "resume" for option in self.commands[job.command].options):
                values["resume"] = True
            blank: dict[str, Any] = {
                "pid": 0,
                "started": "",
                "ended": "",
                "reason": "",
                "cancelled": False,
                "finishing": False,
            }
            self._set(replace(job, state=WAITING, values=values, **blank))
            self._guard.notify_all()

    def remove(self, job: Job) -> None:
        """Delete the record and the log of a job that has ended; its run stays.

        Raises:
            InputError: Where this viewer changes no jobs.
        """
        with self._guard:
            self._manage()
            if not self._jobs.get(job.id, job).is_active:
                self._require_store().delete(job)
                self._jobs.pop(job.id, None)

    def close(self) -> None:
        """Stop managing the jobs; those that run go on."""
        with self._guard:
            self._closed = True
            self._guard.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5)
        for process in self._processes.values():
            process.returncode = 0  # it goes on, and nobody here waits for it
        if self._lock is not None:
            self._lock.release()

    def _require_store(self) -> JobStore:
        if self._store is None:
            raise InputError("ptypinn view", "", "no folder", "one, in which jobs are recorded")
        return self._store

    def _manage(self) -> None:
        """Take over the jobs of the folder, unless this viewer has done so already.

        Raises:
            InputError: Where it is read-only, another viewer manages them, or the records cannot be written.
        """
        if self.read_only:
            raise InputError("ptypinn view", "", "--read-only", "a viewer without, to start and end jobs")
        if self._lock is not None:
            return
        store = self._require_store()
        store.create()
        lock = RunLock(store.records)  # that of the folder above is the lock of a service
        try:
            lock.acquire()
        except OSError as error:
            raise InputError(HIDDEN, "", error.strerror or str(error), "a folder that can be written to") from error
        except InputError as error:
            owner = error.actual.rpartition(", in use by ")[2]
            raise InputError("ptypinn view", "", f"another viewer of this folder, {owner}", "one at a time") from None
        self._lock = lock
        self._jobs = {job.id: self._adopt(job) for job in store.load()}
        self._thread = threading.Thread(target=self._run, daemon=True, name="jobs")
        self._thread.start()

    def _adopt(self, job: Job) -> Job:
        """Return a job on record as it is after the viewer was away."""
        store = self._require_store()
        if not job.is_active:
            return job
        if job.place != store.place() or Path(job.folder) not in self._roots or job.command not in self.commands:
            return replace(job, state="interrupted", reason=ELSEWHERE)
        job = replace(job, pid=job.pid or (0 if job.state == WAITING else read_pid(store.path(job.id))))
        if job.state == WAITING or is_alive(store.path(job.id), job.pid):
            return job
        return self._set(judge_end(job, None, store.read_log(job), _now()))

    def _require_own(self, job: Job) -> None:
        """Raise `InputError` for a job that this viewer cannot have started."""
        own = job.place == self._require_store().place() and Path(job.folder) in self._roots
        if not own or job.command not in self.commands:
            raise InputError("job", "", ELSEWHERE, "a job of this folder on this computer; start it anew")

    def _require_free(self, job: Job) -> None:
        """Raise `InputError` where another job writes to the same folder."""
        if any(other.is_active and other.output_path == job.output_path for other in self._jobs.values()):
            raise InputError(OUTPUT, "", f"{job.output}, in use by another job", "another folder")

    def _run(self) -> None:
        """Start and watch jobs until the viewer ends."""
        while True:
            with self._guard:
                if self._closed:
                    return
                self._tick()
                active = any(job.is_active for job in self._jobs.values())
                self._guard.wait(TICK_S if active else None)

    def _tick(self) -> None:
        for job in [job for job in self._jobs.values() if job.state == "running"]:
            self._advance(self._watch, job)
        free = self._slots - sum(job.state == "running" for job in self._jobs.values())
        for job in [job for job in self._jobs.values() if job.state == WAITING][: max(0, free)]:
            self._advance(self._start, job)

    def _advance(self, step: Callable[[Job], None], job: Job) -> None:
        """Take a step with a job; whatever goes wrong with it fails this job alone."""
        try:
            step(job)
        except Exception as error:  # the thread goes on with the others
            reason = strip_root(str(error) or type(error).__name__, Path(job.folder))
            started = self._jobs[job.id].started or _now()
            self._set(replace(self._jobs[job.id], state="failed", reason=reason, started=started, ended=_now()))

    def _watch(self, job: Job) -> None:
        """Record the end of a job, and end one by force that goes on in spite of the request to end."""
        store, process = self._require_store(), self._processes.get(job.id)
        code = None if process is None else process.poll()
        if code is not None or (process is None and not is_alive(store.path(job.id), job.pid)):
            self._processes.pop(job.id, None)
            self._killed_s.pop(job.id, None)
            self._set(judge_end(job, code, store.read_log(job), _now()))
        elif job.cancelled and time.monotonic() > self._killed_s.setdefault(job.id, time.monotonic() + GRACE_S):
            self._end_process(job, signal.SIGKILL)

    def _start(self, job: Job) -> None:
        """Start the process of a job; its options and files are checked again, for they may have changed since."""
        store, root, command = self._require_store(), Path(job.folder), self.commands[job.command]
        settings, output = command.parse(job.values, root), locate_output(job.output, root)
        words = build_arguments(command, settings, command.locate_scan(job.scan, root), output)
        words += [*self._extra_words(command, settings), *(["--overwrite"] if job.overwrite else [])]
        self._set(replace(job, state="running", started=_now()))
        process = start_process(store.path(job.id), words)
        self._processes[job.id] = process
        self._set(replace(self._jobs[job.id], pid=process.pid))

    def _end_process(self, job: Job, number: signal.Signals) -> None:
        if is_alive(self._require_store().path(job.id), job.pid):
            send_signal(job.pid, number)

    def _extra_words(self, command: JobCommand, settings: Sequence[Setting]) -> list[str]:
        """Return the share of the threads of one of several jobs at a time, where the form states none."""
        names = {option.name for option in command.options} - {setting.option.name for setting in settings}
        if self._slots < 2 or "threads" not in names:
            return []
        return [f"{option_name('threads')}={max(1, (os.cpu_count() or 1) // self._slots)}"]

    def _set(self, job: Job) -> Job:
        """Put a job into the list and on record; a full disk does not end the jobs."""
        self._jobs[job.id] = job
        with contextlib.suppress(OSError):
            self._require_store().save(job)
        return job

    def _drop_oldest(self) -> None:
        """Delete the records of the oldest jobs that have ended, beyond the maximum."""
        ended = [job for job in self._jobs.values() if not job.is_active]
        for job in ended[: max(0, len(self._jobs) + 1 - MAX_JOBS)]:
            self._require_store().delete(job)
            del self._jobs[job.id]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
