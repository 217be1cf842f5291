"""What a stage that reconstructs leaves in its run folder, and how its headline is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.report.figures.curves import convergence_figure
from ptypinn.report.figures.object import comparison_figure, object_figure, probe_figure, uncertainty_figure
from ptypinn.report.figures.style import png_bytes
from ptypinn.report.html.report import write_report
from ptypinn.report.html.stage_pages import render_training
from ptypinn.report.text.metric_labels import METRIC_LABELS
from ptypinn.runs.folder import METRICS, RECONSTRUCTION, REPORT, RunFolder
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.files import atomic_path, write_text

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
)
"""Figures worth a line on the terminal."""


def write_products(
    run: RunFolder,
    recon: Reconstruction,
    scan: ScanData | None,
    evaluation: Evaluation,
    inputs: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> None:
    """Write the reconstruction with its figures of merit, the pictures, and the report.

    Args:
        run: The run folder.
        recon: What the run has made, or judged.
        scan: The scan, where it is at hand.
        evaluation: Figures of merit.
        inputs: Where each input came from, for the report.
        seed: Seed of the run, likewise.
    """
    recon = replace(recon, metrics={**recon.metrics, **evaluation.metrics})
    with run.timed("write"):
        recon.save(run.file(RECONSTRUCTION))
        save_picture(object_figure(recon), run.file("object.png"))
        save_picture(probe_figure(recon), run.file("probe.png"))
        save_picture(uncertainty_figure(recon), run.file("uncertainty.png"))
        if evaluation.comparison is not None:
            picture = comparison_figure(evaluation.comparison, recon.pixel_size_m, recon.scale_note)
            save_picture(picture, run.file("comparison.png"))
        write_report(recon, run.file(REPORT), evaluation, scan, run.record(inputs, seed))


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
        title: What was trained.
        curve: Losses and learning rate by epoch.
        inputs: Where each input came from, for the report.
        seed: Seed of the run, likewise.
        remarks: What else there is to say, in sentences.
    """
    save_picture(convergence_figure(curve, "epoch"), run.file("learning_curve.png"))
    write_text(run.file(REPORT), render_training(title, curve, run.record(inputs, seed), remarks))


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, atomically."""
    with atomic_path(Path(path)) as picture:
        picture.write_bytes(png_bytes(figure))
    return Path(path)


def input_record(scan: ScanData, path: str | Path) -> dict[str, Any]:
    """Where a scan came from, for `run_metadata.json`."""
    known = {key: value for key, value in scan.provenance.items() if key in ("file", "format", "sha256", "options")}
    return {"path": str(Path(path).resolve()), **known}


def headline(evaluation: Evaluation) -> list[str]:
    """Lines with the figures that matter first, and the warnings."""
    names = [name for name in HEADLINE if name in evaluation.metrics]
    width = max((len(METRIC_LABELS[name].label) for name in names), default=0)
    figures = [f"{WORDS[name].label:<{width}}  {evaluation.metrics[name]:#.4g} {METRIC_LABELS[name].unit}" for name in names]
    return [line.rstrip() for line in figures] + [f"warning: {sentence}" for sentence in evaluation.warnings]


def result_record(run: RunFolder, evaluation: Evaluation) -> dict[str, Any]:
    """The JSON object that a finished stage prints."""
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
