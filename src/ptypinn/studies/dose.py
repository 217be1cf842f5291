"""The dose study: the object's amplitude over six decades of dose, with the right probe and with a misstated one.

Two arms. `scaled`: the probe has the photons of the dose, and the object must not change. `held`: the negative control;
the probe is stated with the reference photons whatever the dose is, and the object's amplitude must follow the square
root of the dose. A method that normalises the dose away passes the first and fails the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptypinn._version import __version__
from ptypinn.config.shared import JobsConfig
from ptypinn.config.studies import DoseConfig
from ptypinn.errors import InputError
from ptypinn.models.registry import list_models
from ptypinn.runs.jobs.job import Job
from ptypinn.runs.jobs.run import run_jobs
from ptypinn.studies.dose_job import REFINE, DoseJob, run_dose_job
from ptypinn.studies.dose_summary import Check, Slope, average_points, check_study, fit_slopes, format_markdown
from ptypinn.studies.scenario import load_profile
from ptypinn.utils.atomic_files import write_json, write_text
from ptypinn.utils.plain_values import to_plain
from ptypinn.utils.progress import Progress

JOBS, RESULT, TABLE, SCHEMA_VERSION = "jobs", "dose_study.json", "dose_study.md", 1
ARMS: tuple[Any, ...] = ("scaled", "held")
REQUIRED = ("output_vs_truth_ratio", "expected_ratio")
"""Metrics without which the result of a job is unusable."""


@dataclass(frozen=True)
class DoseStudy:
    """Results of the dose study."""

    config: DoseConfig
    """Configuration of the study."""
    rows: list[dict[str, Any]]
    """One per finished job: its parameters and its metrics."""
    failures: dict[str, str]
    """Jobs that failed, with reasons."""
    skipped: int
    """Jobs that were finished before."""

    @property
    def points(self) -> list[dict[str, Any]]:
        """Mean and spread over seeds, one per scenario, arm and dose."""
        return average_points(self.rows)

    @property
    def slopes(self) -> dict[str, Slope]:
        """Slope of log amplitude against log dose in the negative control, by scenario."""
        return fit_slopes(self.rows)

    @property
    def checks(self) -> list[Check]:
        """Conditions that the study must meet, with their outcomes."""
        return check_study(self.points, self.slopes)

    def as_json(self) -> dict[str, Any]:
        """Return everything, in plain values."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "config": self.config,
            "negative_control": "the arm held states the probe wrong on purpose, by probe_stated_wrong_by in amplitude",
            "profiles": {scenario: load_profile(scenario) for scenario in self.config.scenarios},
            "points": self.points,
            "slopes": self.slopes,
            "checks": [{**to_plain(check), "passed": check.passed} for check in self.checks],
            "failures": self.failures,
            "jobs": self.rows,
        }
        return dict(to_plain(content))


def dose_study(
    config: DoseConfig | None = None,
    jobs: JobsConfig | None = None,
    *,
    output_dir: str | Path,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DoseStudy:
    """Simulate and solve scans of every dose in both arms, and sum up.

    Jobs that are finished in the folder are not repeated, so that an interrupted study resumes.

    Args:
        config: Doses, scenarios, solver.
        jobs: Processes, or a cluster.
        output_dir: Folder for the jobs (`jobs/NAME`), `dose_study.json` and `dose_study.md`.
        overwrite: Run finished jobs again too.
        progress: Called with the number of finished jobs.

    Raises:
        InputError: Where there is no such solver, jobs cannot be run, or one failed, after the others were summed up.
    """
    config, folder = config or DoseConfig(), Path(output_dir)
    if config.solver not in (solvers := (REFINE, *list_models())):
        raise InputError("--solver", "", repr(config.solver), f"one of {', '.join(solvers)}")
    planned = {job.name: job for job in plan_jobs(config)}
    todo = [Job(name, job) for name, job in planned.items()]
    done = run_jobs(run_dose_job, todo, folder / JOBS, jobs, required=REQUIRED, overwrite=overwrite, progress=progress)
    rows = [{"job": name, **_without_profile(planned[name]), **result} for name, result in done.results.items()]
    study = DoseStudy(config, rows, done.failures, done.skipped)
    write_json(folder / RESULT, study.as_json())
    write_text(folder / TABLE, format_markdown(study.points, study.slopes, study.checks))
    done.require_all()
    return study


def plan_jobs(config: DoseConfig) -> list[DoseJob]:
    """Plan one job per scenario, dose, seed and arm; the first seed of each comes first for an early overview."""
    names = ("solver", "reference_photons", "object_size", "base_patterns", "iterations", "epochs")
    common = {name: getattr(config, name) for name in names}
    return [
        DoseJob(scenario, arm=arm, photons=photons, seed=config.seed + number, profile=load_profile(scenario), **common)
        for number in range(config.seeds)
        for scenario in config.scenarios
        for photons in config.photons
        for arm in ARMS
    ]


def _without_profile(job: DoseJob) -> dict[str, Any]:
    return {name: value for name, value in to_plain(job).items() if name != "profile"}
