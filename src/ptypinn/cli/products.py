"""What a stage that reconstructs leaves in its run folder, and how its headline is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ptypinn.data.atomic import atomic_path
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.evaluate import Evaluation
from ptypinn.runs import METRICS, RECONSTRUCTION, RunFolder

HEADLINE = {
    "output_vs_truth_ratio": "amplitude scale, output over truth",
    "complex_error": "complex error",
    "pearson_r_amplitude": "amplitude correlation",
    "frc_half_bit_px": "resolution, half-bit, pixels",
    "amplitude_residual": "amplitude residual of the counts",
    "expected_residual": "the same for perfect counting statistics",
    "flux_closure": "flux closure, predicted over measured",
}
"""Figures worth a line, with words for people."""


def write_products(
    run: RunFolder, recon: Reconstruction, scan: ScanData | None, evaluation: Evaluation
) -> Reconstruction:
    """Write the reconstruction with its figures of merit, and the pictures.

    Returns:
        The reconstruction as written.
    """
    from ptypinn.report.figures import object_figure

    recon = replace(recon, metrics={**recon.metrics, **evaluation.metrics})
    with run.timed("write"):
        recon.save(run.file(RECONSTRUCTION))
        save_picture(object_figure(recon, scan.source if scan else ""), run.file("object.png"))
    return recon


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, atomically."""
    from ptypinn.report.style import png_bytes

    with atomic_path(Path(path)) as picture:
        picture.write_bytes(png_bytes(figure))
    return Path(path)


def input_record(scan: ScanData) -> dict[str, Any]:
    """Where a scan came from, for `run_metadata.json`."""
    return {key: value for key, value in scan.provenance.items() if key in ("file", "format", "sha256", "options")}


def headline(metrics: Mapping[str, float], warnings: list[str]) -> list[str]:
    """Lines with the figures that matter first, and the warnings."""
    shown = [(words, metrics[name]) for name, words in HEADLINE.items() if name in metrics]
    width = max((len(words) for words, _ in shown), default=0)
    return [f"{words:<{width}}  {value:.4g}" for words, value in shown] + [f"warning: {text}" for text in warnings]


def result_record(run: RunFolder, evaluation: Evaluation) -> dict[str, Any]:
    """The JSON object that a finished stage prints."""
    return {
        "stage": run.stage,
        "output_dir": run.path,
        "reconstruction": run.file(RECONSTRUCTION),
        "metrics_file": run.file(METRICS),
        "metrics": evaluation.metrics,
        "warnings": evaluation.warnings,
        "timings_s": run.timings_s,
    }
