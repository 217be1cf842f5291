"""Figures of merit of a reconstruction, by their public names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.metrics.comparison import Comparison, lit_pixels
from ptypinn.metrics.frc import RingCorrelation, fourier_ring_correlation
from ptypinn.metrics.image import amplitude_metrics, complex_error, output_vs_truth_ratio, phase_metrics


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
    found = fit.metrics()
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


FLAT, POOR_CORRELATION = 0.01, 0.3
SCALE_TOLERANCE, CLOSURE_TOLERANCE = 0.05, 0.02
FAR_ABOVE_NOISE, BELOW_NOISE = 2.0, 0.8
NEGLIGIBLE_RESIDUAL = 0.002
OUTLIER, OUTLIER_SHARE = 5.0, 0.01


def metric_warnings(metrics: Mapping[str, float], fit: DataFit | None = None) -> list[str]:
    """Sentences about what is wrong, the gravest first; an empty list where nothing is.

    Args:
        metrics: Figures of merit by their public names; absent ones are not judged.
        fit: Agreement with the counts, for single patterns that stand out.
    """
    found = [*_about_image(metrics), *_about_counts(metrics)]
    if fit is not None:
        found += _about_patterns(fit)
    return found


def _about_image(metrics: Mapping[str, float]) -> list[str]:
    found = []
    if metrics.get("object_contrast", 1.0) < FLAT:
        found.append("The object is flat: it shows no sample, however well the counts agree.")
    correlation = metrics.get("pearson_r_amplitude")
    if correlation is not None and correlation < POOR_CORRELATION:
        found.append(f"The amplitude hardly resembles the reference (Pearson r {correlation:.2f}).")
    ratio = metrics.get("output_vs_truth_ratio")
    if ratio is not None and abs(ratio - 1) > SCALE_TOLERANCE:
        found.append(f"The amplitude scale is off: the object's mean amplitude is {ratio:.3g} times the reference's.")
    return found


def _about_counts(metrics: Mapping[str, float]) -> list[str]:
    found = []
    closure = metrics.get("flux_closure")
    if closure is not None and abs(closure - 1) > CLOSURE_TOLERANCE:
        amplitude = np.sqrt(max(closure, 0.0))
        found.append(
            f"The model predicts {closure:.3g} times the measured photons: object times probe has about "
            f"{amplitude:.3g} times the amplitude that it should have."
        )
    residual, noise = metrics.get("amplitude_residual"), metrics.get("expected_residual")
    if residual is not None and noise is not None:
        found += _about_residual(residual, noise)
    return found


def _about_residual(residual: float, noise: float) -> list[str]:
    if residual > FAR_ABOVE_NOISE * noise and residual > NEGLIGIBLE_RESIDUAL:
        return [
            f"The counts are predicted {residual / max(noise, 1e-12):.3g} times worse than counting statistics allow: "
            "the probe, the positions, the coherence or the convergence leave something unexplained."
        ]
    if 0 < residual < BELOW_NOISE * noise:
        return [
            f"The counts are predicted {noise / residual:.3g} times better than counting statistics allow: noise is "
            "being fitted, or the counts are not photons."
        ]
    return []


def _about_patterns(fit: DataFit) -> list[str]:
    residual = fit.per_pattern_residual
    outliers = int((residual > OUTLIER * np.median(residual)).sum())
    if outliers > OUTLIER_SHARE * len(residual):
        return [f"{outliers} of {len(residual)} patterns fit more than {OUTLIER:.0f} times worse than the median."]
    return []
