"""Outputs of a run: reconstruction, pictures and report in its folder, and the headline on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.load_save import save
from ptypinn.report.figures.object import write_figures
from ptypinn.report.figures.panels import make_panels
from ptypinn.report.figures.pictures import write_pictures
from ptypinn.report.figures.study import convergence_figure
from ptypinn.report.figures.style import png_bytes
from ptypinn.report.html.report import write_report
from ptypinn.report.html.stage_pages import render_training
from ptypinn.report.text.metric_labels import METRIC_LABELS
from ptypinn.runs.folder import METRICS, RECONSTRUCTION, REPORT, RunFolder
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.atomic_files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADLINE = (
    "output_vs_truth_ratio",
    "complex_error",
    "pearson_r_amplitude",
    "pearson_r_phase",
    "frc_half_bit_px",
    "amplitude_residual",
    "expected_residual",
    "flux_closure",
    "typical_uncertainty",
    "slice_uncertainty",
)
"""Metrics that get a line on the terminal."""
FIGURES = "figures"
"""Subfolder of the figures for publications."""


def write_outputs(
    run: RunFolder,
    recon: Reconstruction,
    scan: ScanData | None,
    evaluation: Evaluation,
    inputs: Mapping[str, Any] | None = None,
    seed: int | None = None,
    figures: bool = False,
) -> None:
    """Write the reconstruction with its metrics, the pictures, and the report.

    Args:
        run: The run folder.
        recon: The reconstruction.
        scan: The scan, where it is at hand.
        evaluation: Metrics of the reconstruction.
        inputs: Record of every input file, for the report.
        seed: Seed of the run, likewise.
        figures: Write matplotlib figures for publications too.
    """
    recon = replace(recon, metrics={**recon.metrics, **evaluation.metrics})
    with run.timed("write"):
        save(recon, run.file(RECONSTRUCTION))
        panels = make_panels(recon, evaluation.comparison)
        write_pictures(panels, recon, run.path)
        if figures:
            write_figures(recon, evaluation.comparison, run.file(FIGURES))
        write_report(recon, run.file(REPORT), evaluation, scan, run.record(inputs, seed), panels)


def write_training(
    run: RunFolder,
    title: str,
    curve: Mapping[str, list[float]],
    inputs: Mapping[str, Any] | None = None,
    seed: int | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """Write the learning curve and the report of a training.

    Args:
        run: The run folder.
        title: Title of the report.
        curve: Losses and learning rate by epoch.
        inputs: Record of every input file, for the report.
        seed: Seed of the run, likewise.
        remarks: Further sentences for the report.
    """
    save_picture(convergence_figure(curve, "epoch"), run.file("learning_curve.png"))
    write_text(run.file(REPORT), render_training(title, curve, run.record(inputs, seed), remarks))


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, atomically."""
    with atomic_path(Path(path)) as picture:
        picture.write_bytes(png_bytes(figure))
    return Path(path)


def input_record(scan: ScanData, path: str | Path) -> dict[str, Any]:
    """Return the record of a scan for `run_metadata.json`."""
    keys = ("file", "format", "sha256", "parts", "options")
    return {"path": str(Path(path).resolve()), **{key: scan.provenance[key] for key in keys if key in scan.provenance}}


def headline(evaluation: Evaluation) -> list[str]:
    """Return lines with the most important metrics, and the warnings."""
    names = [name for name in HEADLINE if name in evaluation.metrics]
    width = max((len(METRIC_LABELS[name].label) for name in names), default=0)
    lines = [
        f"{METRIC_LABELS[name].label:<{width}}  {evaluation.metrics[name]:#.4g} {METRIC_LABELS[name].unit}".rstrip()
        for name in names
    ]
    return lines + [f"warning: {sentence}" for sentence in evaluation.warnings]


def result_record(run: RunFolder, evaluation: Evaluation) -> dict[str, Any]:
    """Return the JSON object that a finished stage prints."""
    return {
        "stage": run.stage,
        "output_dir": run.path,
        "reconstruction": run.file(RECONSTRUCTION),
        "report": run.file(REPORT),
        "metrics_file": run.file(METRICS),
        "metrics": evaluation.metrics,
        "warnings": evaluation.warnings,
        "timings_s": run.timings_s,
    }
