"""The commands `evaluate` and `diagnose`: metrics of a reconstruction that exists, and where its amplitude was lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptypinn.cli.session import OutputOptions, Session, load_reconstruction
from ptypinn.config.evaluate import DiagnoseConfig, EvaluateConfig
from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from ptypinn.cli.diagnose_inputs import DiagnoseInput
    from ptypinn.stages.diagnose import Diagnosis

RESULT, PICTURE = "diagnosis.json", "waterfall.png"
"""Files of a diagnosis in its run folder."""


def run_evaluate(
    session: Session,
    recon: str,
    loading: LoadConfig,
    config: EvaluateConfig,
    *,
    scan: str | None = None,
    reference: str | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
    figures: bool = False,
) -> None:
    """Compare a reconstruction with a truth, a reference or the measured counts.

    Args:
        session: The call.
        recon: Reconstruction (HDF5), or the run folder that holds one.
        loading: Reading of the scan.
        config: Options of the comparison.
        scan: Scan file, for the fit to the counts and the truth it may hold.
        reference: Reconstruction to compare with (HDF5), or its run folder.
        output_dir: Run folder for pictures and report.
        overwrite: Replace the results of an earlier run.
        figures: Write figures for publications too.
    """
    _refuse_without(session, scan, output_dir)
    from ptypinn.cli.outputs import headline, input_record, result_record, write_outputs
    from ptypinn.io.load_save import load
    from ptypinn.stages.evaluate import evaluate

    reconstruction = load_reconstruction(recon)
    data = load(scan, loading) if scan else None
    other = load_reconstruction(reference) if reference else None
    with session.progress():
        evaluation = evaluate(reconstruction, data, other, config)
    lines = headline(evaluation)
    if output_dir is None:
        session.print_result({"stage": "evaluate", **evaluation.as_json()}, lines)
        return
    output, inputs = OutputOptions(output_dir, overwrite), dict[str, Any](recon={"file": recon})
    with session.run("evaluate", output, *([loading] if scan else []), config) as (run, _):
        inputs |= {"reference": {"file": reference}} if reference else {}
        inputs |= {"scan": input_record(data, scan)} if data is not None and scan else {}
        write_outputs(run, reconstruction, data, evaluation, inputs, figures=figures)
        run.finish(evaluation.as_json(), inputs)
    session.print_result(result_record(run, evaluation), [*lines, f"results in {run.path}"])


def _refuse_without(session: Session, scan: str | None, output_dir: str | None) -> None:
    """Raise `InputError` for options that are not read without a scan, or without a run folder."""
    if scan is None:
        session.refuse_of(LoadConfig, "`ptypinn evaluate` without --scan")
        session.refuse(("compare_counts", "batch_size", "device"), "`ptypinn evaluate` without --scan")
    if output_dir is None:
        session.refuse(("overwrite", "figures"), "`ptypinn evaluate` without --output-dir")


def run_diagnose(
    session: Session,
    run_or_files: list[str],
    loading: LoadConfig,
    config: DiagnoseConfig,
    *,
    stats: bool = False,
    plot: str | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
) -> None:
    """Follow amplitude from counts to object and name the stage that lost it.

    Args:
        session: The call.
        run_or_files: Run folders; or a reconstruction, its scan and its model, in any order.
        loading: Reading of the scan, where it differs from that of the run.
        config: Options of the diagnosis.
        stats: Show the statistics of what passed through the stages: shape, range, mean, deviation.
        plot: Picture to draw (PNG).
        output_dir: Run folder for report.html, diagnosis.json and waterfall.png.
        overwrite: Replace the results of an earlier run.
    """
    session.refuse(() if output_dir else ("overwrite",), "`ptypinn diagnose` without --output-dir")
    from ptypinn.cli.diagnose_inputs import find_diagnose_inputs
    from ptypinn.report.text.diagnosis import diagnosis_lines
    from ptypinn.stages.diagnose import diagnose

    with session.progress():
        subjects = list(find_diagnose_inputs(run_or_files, loading, session.set_options))
        _require_one(subjects, plot, output_dir)
        diagnoses = [(each, diagnose(each.recon, each.scan, each.model, config)) for each in subjects]
    blocks = [diagnosis_lines(diagnosis, each.name, each.notes, stats) for each, diagnosis in diagnoses]
    lines = [line for block in blocks for line in ["", *block]][1:]
    if plot:
        lines.append(f"picture in {_draw(diagnoses[0][1], plot)}")
    if output_dir:
        folder = _write(session, OutputOptions(output_dir, overwrite), loading, config, *diagnoses[0])
        lines.append(f"results in {folder}")
    session.print_result({"stage": "diagnose", "diagnoses": [_record(*each) for each in diagnoses]}, lines)


def _require_one(subjects: Sequence[DiagnoseInput], plot: str | None, output_dir: str | None) -> None:
    """Raise `InputError` where results of several reconstructions would go to one place."""
    for option, value in (("--plot", plot), ("--output-dir", output_dir)):
        if value and len(subjects) > 1:
            raise InputError(option, "", f"{len(subjects)} reconstructions", "one at a time")


def _record(subject: DiagnoseInput, diagnosis: Diagnosis) -> dict[str, Any]:
    return {"run": subject.name, "scan": subject.scan_file, "notes": subject.notes, **diagnosis.as_json()}


def _draw(diagnosis: Diagnosis, path: str | Path) -> Path:
    from ptypinn.cli.outputs import save_picture
    from ptypinn.report.figures.waterfall import waterfall_figure

    return save_picture(waterfall_figure(diagnosis), path)


def _write(
    session: Session,
    output: OutputOptions,
    loading: LoadConfig,
    config: DiagnoseConfig,
    subject: DiagnoseInput,
    diagnosis: Diagnosis,
) -> Path:
    from ptypinn.cli.outputs import input_record
    from ptypinn.report.html.stage_pages import render_diagnosis
    from ptypinn.runs.folder import REPORT
    from ptypinn.utils.atomic_files import write_json, write_text
    from ptypinn.utils.plain_values import to_plain

    with session.run("diagnose", output, loading, config) as (run, _):
        write_json(run.file(RESULT), to_plain(_record(subject, diagnosis)))
        _draw(diagnosis, run.file(PICTURE))
        inputs: dict[str, Any] = {"recon": {"file": subject.name}}
        if subject.scan is not None and subject.scan_file is not None:
            inputs["scan"] = input_record(subject.scan, subject.scan_file)
        write_text(run.file(REPORT), render_diagnosis(diagnosis, subject.name, subject.notes, run.record(inputs)))
        run.finish(inputs=inputs)
    return run.path
