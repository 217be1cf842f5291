"""Metrics: images against a reference, resolution, and predictions against the measured counts.

Every name is imported when it is first used, so that what needs no tensors starts without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptypinn.utils.lazy_names import import_lazily

if TYPE_CHECKING:
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

if not TYPE_CHECKING:
    __getattr__ = import_lazily(
        __name__,
        {
            "DataFit": "data.reconstruction",
            "Alignment": "metrics.alignment",
            "add_ramp": "metrics.alignment",
            "align": "metrics.alignment",
            "shift_image": "metrics.alignment",
            "amplitude_variance": "metrics.data_fit",
            "compute_data_fit": "metrics.data_fit",
            "expected_amplitude_residual": "metrics.data_fit",
            "RingCorrelation": "metrics.frc",
            "fourier_ring_correlation": "metrics.frc",
            "half_bit_threshold": "metrics.frc",
            "amplitude_metrics": "metrics.image",
            "complex_error": "metrics.image",
            "object_contrast": "metrics.image",
            "output_vs_truth_ratio": "metrics.image",
            "pearson_r": "metrics.image",
            "phase_difference": "metrics.image",
            "phase_metrics": "metrics.image",
            "structural_similarity": "metrics.image",
            "metric_warnings": "metrics.summary",
        },
    )
