"""The commands `study sim-lines`, `study dose` and `study report`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ptypinn.cli.session import OutputOptions, Session, resume_hint
from ptypinn.config.shared import JobsConfig
from ptypinn.config.studies import ABOUT_THE_RUN, DoseConfig, SimLinesConfig, StudyReportConfig

PICTURE = "dose_study.png"
"""Figure of the dose study in its run folder."""


def run_sim_lines(session: Session, output: OutputOptions, config: SimLinesConfig, *, resume: bool = False) -> None:
    """Simulate lines, train on one half, reconstruct the other, and account for the amplitude.

    Args:
        session: The call.
        output: Run folder.
        config: The scenario, and what departs from its profile.
        resume: Reuse the finished steps of an earlier run of the same parameters.
    """
    from ptypinn.studies.scenario import resolve_scenario

    origins = find_origins(config, session.set_options, session.flags)
    scenario = resolve_scenario(config, origins)  # refuses bad parameters before the slow imports
    from ptypinn.cli.outputs import headline, result_record, write_outputs
    from ptypinn.studies.metadata import console_lines
    from ptypinn.studies.sim_lines import SCAN, plan_study, sim_lines

    plan = plan_study(scenario)  # refuses bad input before anything is written

    with session.run("study sim-lines", output, config, resume=resume) as (run, progress):
        fresh = output.overwrite and not resume
        with run.timed("study"), resume_hint("the same command with --resume continues from here"):
            study = sim_lines(plan, output_dir=run.path, progress=progress, overwrite=fresh)
        probe_file = study.scenario.probe_file
        inputs = {"scan": {"file": SCAN}, **({"probe": probe_file} if probe_file else {})}
        seed = study.scenario.value("sim_seed")
        write_outputs(run, study.recon, study.scan, study.evaluation, inputs, seed)
        lines = console_lines(study.metadata)
        for line in lines:
            run.log(line)
        run.finish(study.evaluation.as_json(), inputs, seed, study.metadata.as_json())
    result = {**result_record(run, study.evaluation), "scenario": config.scenario, "verdict": study.diagnosis.verdict}
    result["forward_pass_diagnostics"] = study.metadata.forward_pass_diagnostics
    session.print_result(result, [*headline(study.evaluation), *lines, f"results in {run.path}"])


def find_origins(config: SimLinesConfig, set_options: Collection[str], flags: Collection[str]) -> dict[str, str]:
    """Return the origin of every parameter that is set: `flag` if it stands on the command line, else `config file`.

    Args:
        config: The options, as they hold.
        set_options: Names of the options that the command line sets, itself or in a file.
        flags: Names of those on the command line itself.

    >>> find_origins(SimLinesConfig(photons=1e6), {"photons", "device"}, {"photons"})
    {'photons': 'flag', 'device': 'config file'}
    """
    flags = {*flags, *({"probe_file"} if "probe" in flags else ())}
    names = [*config.overrides(), *(name for name in ABOUT_THE_RUN if name in set_options)]
    return {name: "flag" if name in flags else "config file" for name in names}


def run_dose(session: Session, output: OutputOptions, config: DoseConfig, jobs: JobsConfig) -> None:
    """Change the dose over decades, and verify that the object's amplitude stays; finished jobs are reused.

    Args:
        session: The call.
        output: Run folder.
        config: Doses, scenarios, solver.
        jobs: Processes or cluster.
    """
    from ptypinn.cli.outputs import save_picture
    from ptypinn.report.figures.study import dose_figure
    from ptypinn.report.html.stage_pages import render_dose
    from ptypinn.runs.folder import REPORT
    from ptypinn.studies.dose import RESULT, TABLE, dose_study
    from ptypinn.utils.atomic_files import write_text

    with session.run("study dose", output, config, jobs, resume=True) as (run, progress):
        with run.timed("jobs"), resume_hint("the same command continues with the jobs that are not finished"):
            study = dose_study(config, jobs, output_dir=run.path, overwrite=output.overwrite, progress=progress)
        save_picture(dose_figure(study.points), run.file(PICTURE))
        write_text(run.file(REPORT), render_dose(study, run.record(seed=config.seed)))
        run.finish(seed=config.seed)
    record = {"stage": "study dose", "output_dir": run.path, "result": run.file(RESULT), "table": run.file(TABLE)}
    record |= {"picture": run.file(PICTURE), "jobs": len(study.rows), "skipped": study.skipped}
    checks = study.as_json()["checks"]
    lines = [f"{'passed' if check.passed else 'FAILED'}  {check.name}: {check.value:.5g}" for check in study.checks]
    lines.append(f"results in {run.path}")
    session.print_result({**record, "checks": checks, "slopes": study.slopes}, lines)


def run_study_report(session: Session, runs: list[str], output: OutputOptions, config: StudyReportConfig) -> None:
    """Summarise runs on one page: bias, scale, health, and every run beside its truth.

    Args:
        session: The call.
        runs: Run folders, or folders that hold them.
        output: Run folder.
        config: Options of the summary.
    """
    from ptypinn.report.html.study_summary_page import SUMMARY_JSON, SUMMARY_TABLE, write_summary
    from ptypinn.runs.folder import REPORT
    from ptypinn.studies.aggregate import aggregate

    with session.progress() as progress:
        summary = aggregate(runs, config, leave_out=Path(output.output_dir), progress=progress)
    with session.run("study report", output, config) as (run, _):
        with run.timed("write"):
            inputs = {row["run"]: {"folder": row["folder"]} for row in summary.rows}
            write_summary(summary, run.path, run.file(REPORT), config.title, run.record(inputs))
        run.finish(inputs=inputs)
    files = {"summary": SUMMARY_JSON, "table": SUMMARY_TABLE, "report": REPORT}
    record = {"stage": "study report", "output_dir": run.path, **{key: run.file(name) for key, name in files.items()}}
    content = summary.as_json()
    lines = [f"left out: {skipped.line}" for skipped in summary.skipped] + summary.limits
    lines.append(f"{len(summary.rows)} runs, page in {run.file(REPORT)}")
    session.print_result({**record, **{key: content[key] for key in ("runs", "limits", "skipped")}}, lines)
