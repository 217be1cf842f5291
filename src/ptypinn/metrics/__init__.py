"""Figures of merit: images against a reference, resolution, and predictions against the measured counts."""

from ptypinn.metrics.alignment import Alignment, align, move, with_ramp
from ptypinn.metrics.data_fit import DataFit, data_fit
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
from ptypinn.metrics.shot_noise import amplitude_variance, expected_amplitude_residual
from ptypinn.metrics.split import alternate_neighbours
from ptypinn.metrics.summary import warnings_about

__all__ = [
    "Alignment",
    "DataFit",
    "RingCorrelation",
    "align",
    "alternate_neighbours",
    "amplitude_metrics",
    "amplitude_variance",
    "complex_error",
    "data_fit",
    "expected_amplitude_residual",
    "fourier_ring_correlation",
    "half_bit_threshold",
    "move",
    "object_contrast",
    "output_vs_truth_ratio",
    "pearson_r",
    "phase_difference",
    "phase_metrics",
    "structural_similarity",
    "warnings_about",
    "with_ramp",
]
