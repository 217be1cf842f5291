"""Labels of metrics: name in plain words, unit, and the meaning of a value; panels of those recorded step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.utils.number_format import DASH, format_length, format_number

if TYPE_CHECKING:
    from ptypinn.metrics import RingCorrelation

PROBE, POLISH = "probe_", "polish_"
"""Prefixes of what the search for the probe, and polishing, have recorded."""
History = Mapping[str, Sequence[float]]
"""Recorded values by name, one per step."""
KEY_METRICS = (
    "residual_over_noise",
    "flux_closure",
    "output_vs_truth_ratio",
    "complex_error",
    "frc_half_bit_px",
    "split_half_frc_half_bit_px",
    "typical_uncertainty",
    "slice_uncertainty",
)
"""Metrics at the top of a report, where they were measured."""


@dataclass(frozen=True)
class MetricLabel:
    """A metric in plain words."""

    label: str
    """Name in plain words."""
    meaning: str
    """Meaning, and the value that is good."""
    unit: str = ""
    """Unit, empty for pure numbers."""


@dataclass(frozen=True)
class MetricRow:
    """One line of the table of metrics."""

    name: str
    """Public name, as in JSON."""
    value: str
    """Value in four digits, or a dash."""
    label: MetricLabel
    """Label, unit and meaning."""
    note: str = ""
    """Reason why the value is absent, or at its limit."""
    number: float | None = None
    """The value itself."""


METRIC_LABELS: dict[str, MetricLabel] = {
    "output_vs_truth_ratio": MetricLabel(
        "Amplitude scale", "Mean amplitude over that of the reference, without any fit; 1 is right."
    ),
    "complex_error": MetricLabel(
        "Complex error", "Relative distance to the reference after one global phase; 0 is perfect, scale errors count."
    ),
    "complex_error_after_factor": MetricLabel(
        "Complex error, scale fitted", "The same after the best complex factor, as in most publications."
    ),
    "frc_half_bit_px": MetricLabel(
        "Resolution, half-bit",
        "Finest period on which two images agree by the half-bit criterion; 2 is the limit.",
        "px",
    ),
    "frc_half_px": MetricLabel("Resolution, 0.5", "Finest period with a Fourier ring correlation above 0.5.", "px"),
    "split_half_frc_half_bit_px": MetricLabel(
        "Resolution of two halves, half-bit", "The same between reconstructions of two halves of the positions.", "px"
    ),
    "split_half_frc_half_px": MetricLabel("Resolution of two halves, 0.5", "The same with the threshold 0.5.", "px"),
    "amplitude_residual": MetricLabel(
        "Amplitude residual",
        "Misfit of measured and predicted amplitudes over all photons; compare it with the next line.",
    ),
    "expected_residual": MetricLabel(
        "Residual of counting noise",
        "Amplitude residual that a perfect model would leave if the counts are photons: the floor.",
    ),
    "residual_over_noise": MetricLabel(
        "Residual over counting noise", "The ratio of the two: about 1 where the picture explains the data."
    ),
    "flux_closure": MetricLabel("Flux closure", "Predicted over measured counts; 1 is right, no truth needed."),
    "object_contrast": MetricLabel("Contrast", "Fraction of the object that varies; near 0 the picture is flat."),
    "pearson_r_amplitude": MetricLabel(
        "Correlation, amplitude", "Pearson's r with the reference; 1 is perfect, 0 is unrelated."
    ),
    "pearson_r_phase": MetricLabel(
        "Correlation, phase", "Pearson's r with the reference; 1 is perfect, 0 is unrelated."
    ),
    "ssim_amplitude": MetricLabel("SSIM, amplitude", "Structural similarity with the reference; 1 is perfect."),
    "ssim_phase": MetricLabel("SSIM, phase", "Structural similarity with the reference; 1 is perfect."),
    "amplitude_mae": MetricLabel("Mean error, amplitude", "Mean absolute difference from the reference."),
    "amplitude_rmse": MetricLabel("RMS error, amplitude", "Root mean square difference from the reference."),
    "amplitude_psnr": MetricLabel("PSNR, amplitude", "Span of the reference over the RMS error; more is better.", "dB"),
    "phase_mae": MetricLabel("Mean error, phase", "Mean absolute wrapped difference from the reference.", "rad"),
    "phase_rmse": MetricLabel("RMS error, phase", "Root mean square wrapped difference from the reference.", "rad"),
    "phase_psnr": MetricLabel("PSNR, phase", "Span of the reference over the RMS error; more is better.", "dB"),
    "typical_uncertainty": MetricLabel(
        "Typical uncertainty", "Expected error of the transmission of a pixel, rms over well-illuminated pixels."
    ),
    "slice_uncertainty": MetricLabel(
        "Uncertainty of a slice", "Expected error of the transmission of a pixel of one slice, rms over all slices."
    ),
    "error_over_uncertainty": MetricLabel(
        "Error over uncertainty", "Errors over the uncertainty map, rms; 1 is right."
    ),
    "compared_pixels": MetricLabel("Pixels compared", "Well-illuminated pixels on which metrics are computed."),
}


def metric_rows(metrics: Mapping[str, float], notes: Mapping[str, str]) -> list[MetricRow]:
    """Return the lines of the table in their fixed order: metrics with a value or a note; unlisted names last."""
    names = [name for name in METRIC_LABELS if name in metrics or name in notes]
    names += [name for name in metrics if name not in METRIC_LABELS]
    return [metric_row(name, metrics, notes) for name in names]


def metric_row(name: str, metrics: Mapping[str, float], notes: Mapping[str, str]) -> MetricRow:
    """Return one line of the table.

    >>> metric_row("flux_closure", {"flux_closure": 0.98765}, {}).value
    '0.9877'
    """
    number = metrics.get(name)
    text = DASH if number is None else format_number(number)
    return MetricRow(name, text, metric_label(name), notes.get(name, ""), number)


def metric_label(name: str) -> MetricLabel:
    """Return label, meaning and unit of a metric; for an unlisted one, its name.

    >>> metric_label("phase_rmse").unit
    'rad'
    """
    return METRIC_LABELS.get(name, MetricLabel(name.replace("_", " "), ""))


def history_panels(history: History) -> dict[str, dict[str, Sequence[float]]]:
    """Return the curves of each panel, by its name; those without a finite value are left out.

    Every loss is in one panel with its held-out loss. The search for the probe and polishing count their own steps, and
    have panels of their own.

    >>> panels = history_panels({"loss": [2.0, 1.0], "held_out_loss": [2.0, 1.5], "polish_loss": [1.0]})
    >>> {name: list(curves) for name, curves in panels.items()}
    {'loss': ['loss', 'held_out_loss'], 'polish_loss': ['polish_loss']}
    """
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in history.items():
        if np.isfinite(np.asarray(values, float)).any():
            stage = next((stage for stage in (PROBE, POLISH) if name.startswith(stage)), "")
            panels.setdefault(f"{stage}loss" if name.endswith("loss") else name, {})[name] = values
    return panels


def resolution_text(frc: RingCorrelation, pixel_size_m: float | None) -> str:
    """Return the resolution in words, in metres too where the pixel size is given."""
    length = "" if pixel_size_m is None else f" = {format_length(frc.half_bit_px * pixel_size_m)}"
    if frc.half_bit_reaches_nyquist:
        return f"Resolution limited by the pixel: {frc.half_bit_px:.2f} px{length} full period"
    return f"Half-bit resolution: {frc.half_bit_px:.2f} px{length} full period"
