"""Many independent jobs: finished ones are skipped, one that fails stops no other, and a stopped sweep goes on."""

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
from ptypinn.runs.jobs.job import Job, Task, Work, finished_result, sweep_up
from ptypinn.runs.jobs.workers import backend
from ptypinn.utils.progress import Progress, silent
from ptypinn.utils.serialise import number


@dataclass(frozen=True)
class Finished:
    """What a sweep of jobs made."""

    results: dict[str, dict[str, Any]]
    """Results by name of the job, in the order of the jobs."""
    failures: dict[str, str]
    """Reasons of the jobs that failed, by name."""
    skipped: int
    """Jobs that were finished before."""

    def require_all(self) -> dict[str, dict[str, Any]]:
        """The results.

        Raises:
            InputError: Where a job failed; names every one, with its reason.
        """
        if self.failures:
            total = len(self.results) + len(self.failures)
            told = "; ".join(f"{name} ({reason})" for name, reason in self.failures.items())
            found = f"{len(self.failures)} of {total} that failed: {told}"
            raise InputError("jobs", "", found, "all to finish; the same command runs only these again")
        return self.results


def run_jobs(
    work: Work,
    jobs: Sequence[Job],
    folder: str | Path,
    config: JobsConfig | None = None,
    *,
    needs: Collection[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Finished:
    """Run jobs on a pool of processes here, or on a Dask cluster.

    Every job writes into `folder / job.name`. A job that is finished there is skipped; one that fails leaves
    `NAME.failed.txt` with its traceback, and the others go on. An interruption stops at once; the next call goes on.
    A script that calls this with a pool needs the usual `if __name__ == "__main__":`, since its workers import it.

    Args:
        work: A function of a module, which workers can import.
        jobs: What to do; names must differ.
        folder: Where the jobs write; on a cluster, a folder that all its machines see.
        config: Processes, threads, cluster.
        needs: Figures that a result must have, finite; a job whose result lacks one is not finished.
        overwrite: Run finished jobs again too.
        progress: Told how many jobs are done and how many of them failed, as the stage `jobs`.

    Raises:
        InputError: Where a finished job has other settings, or the cluster cannot be reached.
    """
    config, place, report = config or JobsConfig(), Path(folder).resolve(), progress or silent
    _check_names(jobs)
    kept = {} if overwrite else {job.name: finished_result(place, job) for job in jobs}
    done = {name: result for name, result in kept.items() if result is not None and not _lacking(result, needs)}
    waiting, skipped = [Task(work, job, place, config.threads) for job in jobs if job.name not in done], len(done)
    failures: dict[str, str] = {}
    report("jobs", skipped, len(jobs))
    if waiting:
        run = backend(config)
        place.mkdir(parents=True, exist_ok=True)
        sweep_up(place, [task.job.name for task in waiting])
        with closing(run(waiting)) as ended:
            for name, outcome in ended:
                lacking = _lacking(outcome.result, needs)
                if outcome.failure or lacking:
                    failures[name] = outcome.failure or f"its result has no finite {', '.join(lacking)}"
                    warnings.warn(f"job {name} failed: {failures[name]}", stacklevel=2)
                else:
                    done[name] = outcome.result
                figures = {"failed": float(len(failures))} if failures else {}
                report("jobs", len(done) + len(failures), len(jobs), **figures)
    return Finished({job.name: done[job.name] for job in jobs if job.name in done}, failures, skipped)


def _lacking(result: Mapping[str, Any], needs: Collection[str]) -> list[str]:
    """Figures that a result must have and has not."""
    return [name for name in needs if number(result.get(name)) is None]


def _check_names(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    wrong = [name for name in names if not re.fullmatch(r"[\w+-]+", name) or names.count(name) > 1]
    if wrong:
        raise InputError("jobs", "name", repr(wrong[0]), "different names of letters, digits, _, + and -")
