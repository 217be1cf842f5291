"""Figures of merit of a reconstruction, by their public names."""

from __future__ import annotations

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.evaluation.comparison import Comparison, lit_pixels
from ptypinn.metrics import (
    DataFit,
    RingCorrelation,
    amplitude_metrics,
    complex_error,
    fourier_ring_correlation,
    output_vs_truth_ratio,
    phase_metrics,
)


def reference_metrics(comparison: Comparison) -> dict[str, float]:
    """How far an object is from what it is compared with."""
    image, target, mask = comparison.alignment.image, comparison.reference, comparison.alignment.mask
    return {
        "complex_error": complex_error(image, target, mask),
        "complex_error_after_factor": complex_error(image, target, mask, fit_factor=True),
        "output_vs_truth_ratio": output_vs_truth_ratio(image, target, mask),
        **amplitude_metrics(image, target, mask),
        **phase_metrics(image, target, mask),
        "compared_pixels": float(mask.sum()),
    }


def correlate(comparison: Comparison, notes: dict[str, str]) -> RingCorrelation | None:
    """Ring correlation of what is compared; None, and a note of the reason, where there is none."""
    alignment = comparison.alignment
    try:
        return fourier_ring_correlation(alignment.image, comparison.reference, alignment.mask)
    except ValueError as error:
        notes["frc_half_bit_px"] = str(error)
        return None


def resolution(frc: RingCorrelation, name: str, notes: dict[str, str]) -> dict[str, float]:
    """Resolution by two criteria, pixels, and a note where the pixel limits it."""
    limited = "at the Nyquist limit of 2 px: the pixel limits the resolution, not the data"
    for key, reached in (("half_bit_px", frc.half_bit_reaches_nyquist), ("half_px", frc.half_reaches_nyquist)):
        if reached:
            notes[f"{name}_{key}"] = limited
    return {f"{name}_half_bit_px": frc.half_bit_px, f"{name}_half_px": frc.half_px}


def fit_metrics(fit: DataFit) -> dict[str, float]:
    """How well the predicted counts agree with the measured ones."""
    found = fit.figures()
    if fit.expected_residual > 0:
        found["residual_over_noise"] = fit.amplitude_residual / fit.expected_residual
    return found


def uncertainty_metrics(
    recon: Reconstruction, comparison: Comparison | None, config: EvaluateConfig
) -> dict[str, float]:
    """Typical uncertainty and, where the truth is known, how large the errors are against the map."""
    if recon.uncertainty is None:
        return {}
    mask = lit_pixels(recon, config)
    found = {"typical_uncertainty": float(np.sqrt(np.mean(recon.uncertainty[mask].astype(np.float64) ** 2)))}
    if comparison is not None and comparison.kind == "truth":
        start = np.subtract(comparison.origin_px, recon.origin_px)
        ours = tuple(slice(s, s + n) for s, n in zip(start, comparison.reference.shape, strict=True))
        mask, sigma = comparison.alignment.mask, recon.uncertainty[ours].astype(np.float64)
        mask = mask & (sigma > 0)
        error = np.abs(comparison.alignment.image - comparison.reference)
        if mask.any():
            found["error_over_uncertainty"] = float(np.sqrt(np.mean((error[mask] / sigma[mask]) ** 2)))
    return found
