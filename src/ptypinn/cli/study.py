"""`ptypinn study sim-lines`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from ptypinn.cli.errors import going_on_by
from ptypinn.cli.outputs import headline, result_record, save_picture, write_outputs
from ptypinn.cli.session import Session
from ptypinn.config.shared import JobsConfig
from ptypinn.config.studies import ABOUT_THE_RUN, DoseConfig, SimLinesConfig, StudyReportConfig
from ptypinn.report.figures.study import dose_figure
from ptypinn.report.html.stage_pages import render_dose
from ptypinn.report.html.study_summary_page import SUMMARY_JSON, SUMMARY_TABLE, write_summary
from ptypinn.runs.folder import REPORT
from ptypinn.studies.aggregate import aggregate
from ptypinn.studies.dose import RESULT, TABLE, dose_study
from ptypinn.utils.files import write_text


def run_sim_lines(session: Session) -> None:
    """Run one scenario; what an interrupted run has finished is kept."""
    config = session.config(SimLinesConfig)
    origins = origins_of(config, session.command, [Path(str(file)) for file in session.options.config or ()])
    from ptypinn.studies.scenario import resolve_scenario

    scenario = resolve_scenario(config, origins)  # refuse bad parameters before anything is imported for long
    from ptypinn.studies.metadata import console_lines
    from ptypinn.studies.sim_lines import SCAN, check_scenario, sim_lines

    check_scenario(scenario)  # refuse bad input before anything is written

    with session.run("study sim-lines", config, resume=session.options.resume) as (run, progress):
        fresh = bool(session.options.overwrite and not session.options.resume)
        with run.timed("study"), going_on_by("the same command with --resume goes on where this one stopped"):
            made = sim_lines(config, output_dir=run.path, progress=progress, overwrite=fresh, origins=origins)
        inputs = {"scan": {"file": SCAN}, **({"probe": made.scenario.probe_file} if made.scenario.probe_file else {})}
        seed = made.scenario.value("sim_seed")
        write_outputs(run, made.recon, made.scan, made.evaluation, inputs, seed)
        lines = console_lines(made.metadata)
        for line in lines:
            run.log(line)
        run.finish(made.evaluation.as_json(), inputs, seed, made.metadata.as_json())
    result = {**result_record(run, made.evaluation), "scenario": config.scenario, "verdict": made.diagnosis.verdict}
    result["forward_pass_diagnostics"] = made.metadata.forward_pass_diagnostics
    session.tell(result, [*headline(made.evaluation), *lines, f"results in {run.path}"])


def origins_of(config: SimLinesConfig, command: Sequence[str], files: Sequence[Path] = ()) -> dict[str, str]:
    """Where every given parameter comes from: `flag` where it stands on the command line, else `config file`.

    Args:
        config: The options, as they hold.
        command: The command line.
        files: Configuration files that it names.
    """
    flags = {word[2:].split("=")[0].replace("-", "_") for word in command if word.startswith("--")}
    flags |= {"probe_file"} if "probe" in flags else set()
    written = {name for file in files for name in yaml.safe_load(file.read_text(encoding="utf-8")) or ()}
    names = [*config.overrides(), *(name for name in ABOUT_THE_RUN if name in flags | written)]
    return {name: "flag" if name in flags else "config file" for name in names}


PICTURE = "dose_study.png"


def run_dose(session: Session) -> None:
    """Study doses; an interrupted or failed study goes on with the same command."""
    config, jobs = session.config(DoseConfig), session.config(JobsConfig)
    overwrite = bool(session.options.overwrite)
    with session.run("study dose", config, jobs, resume=True) as (run, progress):
        with run.timed("jobs"), going_on_by("the same command goes on with the jobs that are not finished"):
            study = dose_study(config, jobs, output_dir=run.path, overwrite=overwrite, progress=progress)
        save_picture(dose_figure(study.points), run.file(PICTURE))
        write_text(run.file(REPORT), render_dose(study, run.record(seed=config.seed)))
        run.finish(seed=config.seed)
    record = {"stage": "study dose", "output_dir": run.path, "result": run.file(RESULT), "table": run.file(TABLE)}
    record |= {"picture": run.file(PICTURE), "jobs": len(study.rows), "skipped": study.skipped}
    checks = study.as_json()["checks"]
    lines = [f"{'passed' if check_scenario.passed else 'FAILED'}  {check_scenario.name}: {check_scenario.value:.5g}" for check_scenario in study.checks]
    session.tell({**record, "checks": checks, "slopes": study.slopes}, [*lines, f"results in {run.path}"])


def run_study_report(session: Session) -> None:
    """Sum up finished runs: table, figures and pictures on one page."""
    config, place = session.config(StudyReportConfig), Path(session.options.output_dir)
    with session.progress() as progress:
        summary = aggregate(session.options.runs, config, leave_out=place, progress=progress)
    with session.run("study report", config) as (run, _):
        with run.timed("write"):
            inputs = {row["run"]: {"folder": row["folder"]} for row in summary.rows}
            write_summary(summary, run.path, run.file(REPORT), config.title, run.record(inputs))
        run.finish(inputs=inputs)
    files = {"summary": SUMMARY_JSON, "table": SUMMARY_TABLE, "report": REPORT}
    record = {"stage": "study report", "output_dir": run.path, **{key: run.file(name) for key, name in files.items()}}
    content = summary.as_json()
    lines = [f"left out: {gone.line}" for gone in summary.skipped] + summary.limits
    lines.append(f"{len(summary.rows)} runs, page in {run.file(REPORT)}")
    session.tell({**record, **{key: content[key] for key in ("runs", "limits", "skipped")}}, lines)
