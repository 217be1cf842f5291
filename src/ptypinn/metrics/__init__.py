"""Figures of merit: images against a reference, resolution, and predictions against the measured counts."""

from ptypinn.metrics.alignment import Alignment, align, move, with_ramp
from ptypinn.metrics.counting import amplitude_variance, expected_amplitude_residual
from ptypinn.metrics.data_fit import DataFit, data_fit
from ptypinn.metrics.image import (
    amplitude_metrics,
    complex_error,
    output_vs_truth_ratio,
    pearson_r,
    phase_difference,
    phase_metrics,
    structural_similarity,
)

__all__ = [
    "Alignment",
    "DataFit",
    "align",
    "amplitude_metrics",
    "amplitude_variance",
    "complex_error",
    "data_fit",
    "expected_amplitude_residual",
    "move",
    "output_vs_truth_ratio",
    "pearson_r",
    "phase_difference",
    "phase_metrics",
    "structural_similarity",
    "with_ramp",
]
