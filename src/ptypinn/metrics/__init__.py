"""Metrics: images against a reference, resolution, and predictions against the measured counts."""

from ptypinn.data.reconstruction import DataFit
from ptypinn.metrics.alignment import Alignment, add_ramp, align, shift_image
from ptypinn.metrics.data_fit import amplitude_variance, compute_data_fit, expected_amplitude_residual
from ptypinn.metrics.frc import RingCorrelation, fourier_ring_correlation, half_bit_threshold
from ptypinn.metrics.image import (
    amplitude_metrics,
    complex_error,
    object_contrast,
    output_vs_truth_ratio,
    pearson_r,
    phase_difference,
    phase_metrics,
    structural_similarity,
)
from ptypinn.metrics.summary import metric_warnings

__all__ = [
    "Alignment",
    "DataFit",
    "RingCorrelation",
    "add_ramp",
    "align",
    "amplitude_metrics",
    "amplitude_variance",
    "complex_error",
    "compute_data_fit",
    "expected_amplitude_residual",
    "fourier_ring_correlation",
    "half_bit_threshold",
    "metric_warnings",
    "object_contrast",
    "output_vs_truth_ratio",
    "pearson_r",
    "phase_difference",
    "phase_metrics",
    "shift_image",
    "structural_similarity",
]
