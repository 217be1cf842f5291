"""`ptypinn evaluate`: figures of merit of a reconstruction that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptypinn.cli.diagnose_inputs import Case, cases_in
from ptypinn.cli.options import given
from ptypinn.cli.outputs import headline, input_record, result_record, write_outputs
from ptypinn.cli.session import Session, load_reconstruction
from ptypinn.config.evaluate import DiagnoseConfig, EvaluateConfig
from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load
from ptypinn.runs.folder import REPORT
from ptypinn.stages.diagnose import Diagnosis, diagnose
from ptypinn.stages.evaluate import evaluate


def run_evaluate(session: Session) -> None:
    """Evaluate a reconstruction; print the figures, and write them where a run folder is named."""
    options, config, loading = session.options, session.config(EvaluateConfig), session.config(LoadConfig)
    recon = load_reconstruction(options.recon)
    scan = load(options.scan, loading) if options.scan else None
    reference = load_reconstruction(options.reference) if options.reference else None
    with session.progress():
        evaluation = evaluate(recon, scan, reference, config)
    lines = headline(evaluation)
    if not options.output_dir:
        session.tell({"stage": "evaluate", **evaluation.as_json()}, lines)
        return
    with session.run("evaluate", loading, config) as (run, _):
        inputs: dict[str, Any] = {"recon": {"file": options.recon}}
        inputs |= {"reference": {"file": options.reference}} if reference else {}
        inputs |= {"scan": input_record(scan, options.scan)} if scan else {}
        write_outputs(run, recon, scan, evaluation, inputs)
        run.finish(evaluation.as_json(), inputs)
    session.tell(result_record(run, evaluation), [*lines, f"results in {run.path}"])


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
    from ptypinn.report.text.diagnosis import diagnosis_lines

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
    from ptypinn.cli.outputs import save_picture
    from ptypinn.report.figures.waterfall import waterfall_figure

    return save_picture(waterfall_figure(diagnosis), path)


def _write(session: Session, loading: LoadConfig, config: DiagnoseConfig, case: Case, diagnosis: Diagnosis) -> Path:
    from ptypinn.cli.outputs import input_record
    from ptypinn.report.html.stage_pages import render_diagnosis
    from ptypinn.utils.files import write_json, write_text
    from ptypinn.utils.serialise import to_plain

    with session.run("diagnose", loading, config) as (run, _):
        write_json(run.file(RESULT), to_plain(_record(case, diagnosis)))
        _draw(diagnosis, run.file(PICTURE))
        inputs: dict[str, Any] = {"recon": {"file": case.name}}
        if case.scan is not None and case.scan_file is not None:
            inputs["scan"] = input_record(case.scan, case.scan_file)
        write_text(run.file(REPORT), render_diagnosis(diagnosis, case.name, case.notes, run.record(inputs)))
        run.finish(inputs=inputs)
    return run.path
