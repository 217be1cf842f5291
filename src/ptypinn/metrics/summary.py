"""Metrics of a reconstruction by their public names, and the warnings that follow from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.depth import slice_uncertainties
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.metrics.comparison import Comparison, illuminated_pixels
from ptypinn.metrics.flux import flux_warnings
from ptypinn.metrics.frc import RingCorrelation, fourier_ring_correlation
from ptypinn.metrics.image import amplitude_metrics, complex_error, output_vs_truth_ratio, phase_metrics


def reference_metrics(comparison: Comparison) -> dict[str, float]:
    """Return the deviations of an object from what it is compared with."""
    image, target, mask = comparison.alignment.image, comparison.reference, comparison.alignment.mask
    return {
        "complex_error": complex_error(image, target, mask),
        "complex_error_after_factor": complex_error(image, target, mask, fit_factor=True),
        "output_vs_truth_ratio": output_vs_truth_ratio(image, target, mask),
        **amplitude_metrics(image, target, mask),
        **phase_metrics(image, target, mask),
        "compared_pixels": float(mask.sum()),
    }


def correlate_rings(comparison: Comparison, notes: dict[str, str]) -> RingCorrelation | None:
    """Return the ring correlation of a comparison; None, and a note of the reason, where there is none."""
    alignment = comparison.alignment
    try:
        return fourier_ring_correlation(alignment.image, comparison.reference, alignment.mask)
    except ValueError as error:
        notes["frc_half_bit_px"] = str(error)
        return None


def resolution_metrics(frc: RingCorrelation, name: str, notes: dict[str, str]) -> dict[str, float]:
    """Return the resolution by two criteria, pixels, with a note where the pixel limits it."""
    limited = "at the Nyquist limit of 2 px: the pixel limits the resolution, not the data"
    for key, reached in (("half_bit_px", frc.half_bit_reaches_nyquist), ("half_px", frc.half_reaches_nyquist)):
        if reached:
            notes[f"{name}_{key}"] = limited
    return {f"{name}_half_bit_px": frc.half_bit_px, f"{name}_half_px": frc.half_px}


def fit_metrics(fit: DataFit) -> dict[str, float]:
    """Return the agreement of the predicted counts with the measured ones."""
    metrics = fit.metrics()
    if fit.expected_residual > 0:
        metrics["residual_over_noise"] = fit.amplitude_residual / fit.expected_residual
    return metrics


def uncertainty_metrics(
    recon: Reconstruction, comparison: Comparison | None, config: EvaluateConfig
) -> dict[str, float]:
    """Return the typical uncertainty and, where there is a truth, the ratio of the errors to the map."""
    if recon.uncertainty is None:
        return {}
    mask = illuminated_pixels(recon, config)
    metrics = {"typical_uncertainty": float(np.sqrt(np.mean(recon.uncertainty[mask].astype(np.float64) ** 2)))}
    if slices := slice_uncertainties(recon):
        metrics["slice_uncertainty"] = float(np.sqrt(np.mean(np.square(slices))))
    if comparison is not None and comparison.kind == "truth":
        start = np.subtract(comparison.origin_px, recon.origin_px)
        ours = tuple(slice(s, s + n) for s, n in zip(start, comparison.reference.shape, strict=True))
        mask, sigma = comparison.alignment.mask, recon.uncertainty[ours].astype(np.float64)
        mask = mask & (sigma > 0)
        error = np.abs(comparison.alignment.image - comparison.reference)
        if mask.any():
            metrics["error_over_uncertainty"] = float(np.sqrt(np.mean((error[mask] / sigma[mask]) ** 2)))
    return metrics


FLAT, POOR_CORRELATION = 0.01, 0.3
SCALE_TOLERANCE, CLOSURE_TOLERANCE = 0.05, 0.02
ABOVE_NOISE, BELOW_NOISE = 1.1, 0.8
NEGLIGIBLE_RESIDUAL = 5e-4
OUTLIER, MAX_OUTLIER_FRACTION = 5.0, 0.01


def metric_warnings(metrics: Mapping[str, float], fit: DataFit | None = None) -> list[str]:
    """Return sentences about every metric that is out of bounds, the gravest first; an empty list if none is.

    Args:
        metrics: Metrics by their public names; absent ones are not checked.
        fit: Agreement with the counts, for single patterns that stand out.

    >>> metric_warnings({"flux_closure": 1.0, "object_contrast": 0.2})
    []
    >>> metric_warnings({"flux_closure": 1.0, "object_contrast": 0.001})
    ['The object is flat: it shows no sample, however well the counts agree.']
    """
    warnings = [*_about_image(metrics), *_about_counts(metrics, fit)]
    if fit is not None:
        warnings += _about_patterns(fit)
        warnings += [] if warnings else flux_warnings(fit)
    return warnings


def _about_image(metrics: Mapping[str, float]) -> list[str]:
    warnings = []
    if metrics.get("object_contrast", 1.0) < FLAT:
        warnings.append("The object is flat: it shows no sample, however well the counts agree.")
    correlation = metrics.get("pearson_r_amplitude")
    if correlation is not None and correlation < POOR_CORRELATION:
        warnings.append(f"The amplitude hardly resembles the reference (Pearson r {correlation:.2f}).")
    ratio = metrics.get("output_vs_truth_ratio")
    if ratio is not None and abs(ratio - 1) > SCALE_TOLERANCE:
        warnings.append(
            f"The amplitude scale is off: the object's mean amplitude is {ratio:.3g} times the reference's."
        )
    return warnings


def _about_counts(metrics: Mapping[str, float], fit: DataFit | None) -> list[str]:
    warnings = []
    closure = metrics.get("flux_closure")
    if closure is not None and abs(closure - 1) > CLOSURE_TOLERANCE:
        amplitude = np.sqrt(max(closure, 0.0))
        warnings.append(
            f"The model predicts {closure:.3g} times the measured counts: object times probe has about "
            f"{amplitude:.3g} times the amplitude that it should have."
        )
    residual, noise = metrics.get("amplitude_residual"), metrics.get("expected_residual")
    if residual is not None and noise is not None:
        warnings += _about_residual(residual, noise, fit)
    return warnings


def _about_residual(residual: float, noise: float, fit: DataFit | None) -> list[str]:
    if residual > ABOVE_NOISE * noise and residual > NEGLIGIBLE_RESIDUAL:
        worse = (
            f"The counts are predicted {residual / max(noise, 1e-12):.3g} times worse than counting statistics allow"
        )
        if fit is None:
            return [f"{worse}: the probe, the positions, the coherence or the convergence leave something unexplained."]
        from ptypinn.metrics.misfit_causes import name_causes

        return [f"{worse}. Where the misfit lies tells of its cause: {name_causes(fit)}."]
    if 0 < residual < BELOW_NOISE * noise:
        return [
            f"The counts are predicted {noise / residual:.3g} times better than counting statistics allow: noise is "
            "being fitted, or the counts are not of single photons or electrons."
        ]
    return []


def _about_patterns(fit: DataFit) -> list[str]:
    residual = fit.per_pattern_residual
    outliers = int((residual > OUTLIER * np.median(residual)).sum())
    if outliers > MAX_OUTLIER_FRACTION * len(residual):
        return [f"{outliers} of {len(residual)} patterns fit more than {OUTLIER:.0f} times worse than the median."]
    return []
