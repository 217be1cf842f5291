"""`ptypinn study dose`."""

from __future__ import annotations

from ptypinn.cli.failures import going_on_by
from ptypinn.cli.products import save_picture
from ptypinn.cli.session import Session
from ptypinn.config.dose import DoseConfig
from ptypinn.config.jobs import JobsConfig
from ptypinn.data.atomic import write_text
from ptypinn.report.dose_figures import dose_figure
from ptypinn.report.stage_pages import render_dose
from ptypinn.runs import REPORT
from ptypinn.studies.dose import RESULT, TABLE, dose_study

PICTURE = "dose_study.png"


def run_dose(session: Session) -> None:
    """Study doses; an interrupted or failed study goes on with the same command."""
    config, jobs = session.config(DoseConfig), session.config(JobsConfig)
    overwrite = bool(session.options.overwrite)
    with session.run("study dose", config, jobs, again=True) as (run, progress):
        with run.timed("jobs"), going_on_by("the same command goes on with the jobs that are not finished"):
            study = dose_study(config, jobs, output_dir=run.path, overwrite=overwrite, progress=progress)
        save_picture(dose_figure(study.points), run.file(PICTURE))
        write_text(run.file(REPORT), render_dose(study, run.record(seed=config.seed)))
        run.finish(seed=config.seed)
    record = {"stage": "study dose", "output_dir": run.path, "result": run.file(RESULT), "table": run.file(TABLE)}
    record |= {"picture": run.file(PICTURE), "jobs": len(study.rows), "skipped": study.skipped}
    checks = study.as_json()["checks"]
    lines = [f"{'passed' if check.passed else 'FAILED'}  {check.name}: {check.value:.5g}" for check in study.checks]
    session.tell({**record, "checks": checks, "slopes": study.slopes}, [*lines, f"results in {run.path}"])
