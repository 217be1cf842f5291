"""`ptypinn diagnose`: where amplitude went, for runs that exist.

A diagnosis that finds a loss is a diagnosis made: the exit code is 0, as for `ptypinn evaluate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptypinn.cli.cases import Case, cases_in
from ptypinn.cli.options import given
from ptypinn.cli.session import Session
from ptypinn.config.diagnose import DiagnoseConfig
from ptypinn.config.load import LoadConfig
from ptypinn.diagnose import Diagnosis, diagnose
from ptypinn.errors import InputError
from ptypinn.runs import REPORT

RESULT, PICTURE = "diagnosis.json", "waterfall.png"


def run_diagnose(session: Session) -> None:
    """Diagnose reconstructions one after another; print the tables, draw and write where that is asked for."""
    options, config, loading = session.options, session.config(DiagnoseConfig), session.config(LoadConfig)
    with session.progress():
        cases = list(cases_in(options.run_or_files, loading, given(session.command)))
        for option in ("plot", "output_dir"):
            if options[option] and len(cases) > 1:
                raise InputError(f"--{option}", "", f"{len(cases)} reconstructions", "one at a time")
        made = [(case, diagnose(case.recon, case.scan, case.bundle, config)) for case in cases]
    from ptypinn.report.diagnosis_text import diagnosis_lines

    lines, result = list[str](), {"stage": "diagnose", "diagnoses": [_record(*each) for each in made]}
    for case, diagnosis in made:
        lines += ["", *diagnosis_lines(diagnosis, case.name, case.notes, options.stats)]
    if options.plot:
        lines.append(f"picture in {_draw(made[0][1], options.plot)}")
    if options.output_dir:
        lines.append(f"results in {_write(session, loading, config, *made[0])}")
    session.tell(result, lines[1:])


def _record(case: Case, diagnosis: Diagnosis) -> dict[str, Any]:
    return {"run": case.name, "scan": case.scan_file, "notes": case.notes, **diagnosis.as_json()}


def _draw(diagnosis: Diagnosis, path: str | Path) -> Path:
    from ptypinn.cli.products import save_picture
    from ptypinn.report.waterfall import waterfall_figure

    return save_picture(waterfall_figure(diagnosis), path)


def _write(session: Session, loading: LoadConfig, config: DiagnoseConfig, case: Case, diagnosis: Diagnosis) -> Path:
    from ptypinn.cli.products import input_record
    from ptypinn.data.atomic import write_json, write_text
    from ptypinn.plain import to_plain
    from ptypinn.report.stage_pages import render_diagnosis

    with session.run("diagnose", loading, config) as (run, _):
        write_json(run.file(RESULT), to_plain(_record(case, diagnosis)))
        _draw(diagnosis, run.file(PICTURE))
        inputs: dict[str, Any] = {"recon": {"file": case.name}}
        if case.scan is not None and case.scan_file is not None:
            inputs["scan"] = input_record(case.scan, case.scan_file)
        write_text(run.file(REPORT), render_diagnosis(diagnosis, case.name, case.notes, run.record(inputs)))
        run.finish(inputs=inputs)
    return run.path
