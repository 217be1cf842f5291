"""`ptypinn study report`."""

from __future__ import annotations

from pathlib import Path

from ptypinn.cli.session import Session
from ptypinn.config.study_report import StudyReportConfig
from ptypinn.report.bias_page import SUMMARY_JSON, SUMMARY_TABLE, write_summary
from ptypinn.runs import REPORT
from ptypinn.studies.aggregate import aggregate


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
