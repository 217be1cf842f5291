"""Run many independent jobs: finished jobs are skipped, a failure does not stop the others, a stopped sweep resumes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptypinn.config.shared import JobsConfig
from ptypinn.errors import InputError
from ptypinn.runs.jobs.job import Job, JobFunction, Task, clean_up, load_result
from ptypinn.runs.jobs.workers import Outcomes, choose_backend
from ptypinn.utils.plain_values import number
from ptypinn.utils.progress import Progress, silent
from ptypinn.utils.solve_meter import mark_uncounted


@dataclass(frozen=True)
class JobResults:
    """Results and failures of a sweep of jobs."""

    results: dict[str, dict[str, Any]]
    """Results by name of the job, in the order of the jobs."""
    failures: dict[str, str]
    """Error messages of the failed jobs, by name."""
    skipped: int
    """Number of jobs that were finished before."""

    def require_all(self) -> dict[str, dict[str, Any]]:
        """Return the results of all jobs.

        Raises:
            InputError: Where a job failed; the message names every failed job with its reason.
        """
        if self.failures:
            total = len(self.results) + len(self.failures)
            reasons = "; ".join(f"{name} ({reason})" for name, reason in self.failures.items())
            actual = f"{len(self.failures)} of {total} that failed: {reasons}"
            raise InputError("jobs", "", actual, "all to finish; the same command repeats only these")
        return self.results


def run_jobs(
    function: JobFunction,
    jobs: Sequence[Job],
    folder: str | Path,
    config: JobsConfig | None = None,
    *,
    required: Collection[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> JobResults:
    """Run jobs on a local pool of processes, or on a Dask cluster.

    Every job writes into `folder / job.name`. A finished job is skipped; a failed one leaves `NAME.failed.txt` with its
    traceback, and the others continue. An interruption stops at once; the next call resumes.
    A script that uses a pool must call this below `if __name__ == "__main__":`, since its workers import the script.

    Args:
        function: Function of a module, which workers can import.
        jobs: The jobs, with different names.
        folder: Output folder; on a cluster, a folder that all its machines can access.
        config: Processes, threads, cluster.
        required: Names of figures that a result must have, finite; a job without one of them is not finished.
        overwrite: Repeat finished jobs too.
        progress: Receives the number of finished and of failed jobs, as the stage `jobs`.

    Raises:
        InputError: Where a finished job has other settings, or the cluster cannot be reached.
    """
    config, folder, report = config or JobsConfig(), Path(folder).resolve(), progress or silent
    _check_names(jobs)
    results = {} if overwrite else _load_results(jobs, folder, required)
    tasks = [Task(function, job, folder, config.threads) for job in jobs if job.name not in results]
    skipped, failures = len(results), dict[str, str]()
    if skipped or config.workers != 0 or config.scheduler:
        mark_uncounted()
    report("jobs", skipped, len(jobs))
    with closing(_run_tasks(tasks, folder, config)) as outcomes:
        for name, outcome in outcomes:
            missing = _list_missing(outcome.result, required)
            if outcome.failure or missing:
                failures[name] = outcome.failure or f"its result has no finite {', '.join(missing)}"
                warnings.warn(f"job {name} failed: {failures[name]}", stacklevel=2)
            else:
                results[name] = outcome.result
            figures = {"failed": float(len(failures))} if failures else {}
            report("jobs", len(results) + len(failures), len(jobs), **figures)
    return JobResults({job.name: results[job.name] for job in jobs if job.name in results}, failures, skipped)


def _run_tasks(tasks: Sequence[Task], folder: Path, config: JobsConfig) -> Outcomes:
    """Run tasks, and yield the name and outcome of each when it ends; closing it ends all of them."""
    if tasks:
        run_tasks = choose_backend(config)
        folder.mkdir(parents=True, exist_ok=True)
        clean_up(folder, [task.job.name for task in tasks])
        with closing(run_tasks(tasks)) as outcomes:
            yield from outcomes


def _load_results(jobs: Sequence[Job], folder: Path, required: Collection[str]) -> dict[str, dict[str, Any]]:
    """Load the results of the finished jobs that have all required figures."""
    results = {job.name: load_result(folder, job) for job in jobs}
    finished = {name: result for name, result in results.items() if result is not None}
    return {name: result for name, result in finished.items() if not _list_missing(result, required)}


def _list_missing(result: Mapping[str, Any], required: Collection[str]) -> list[str]:
    """Return the names of required figures that a result does not have."""
    return [name for name in required if number(result.get(name)) is None]


def _check_names(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    invalid = [name for name in names if not re.fullmatch(r"[\w+-]+", name) or names.count(name) > 1]
    if invalid:
        raise InputError("jobs", "name", repr(invalid[0]), "different names of letters, digits, _, + and -")
