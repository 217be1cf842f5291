"""Put into words what figures of merit mean for somebody about to trust a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ptypinn.metrics.data_fit import DataFit

FLAT, POOR_CORRELATION = 0.01, 0.3
SCALE_TOLERANCE, CLOSURE_TOLERANCE = 0.05, 0.02
FAR_ABOVE_NOISE, BELOW_NOISE = 2.0, 0.8
NEGLIGIBLE_RESIDUAL = 0.002
OUTLIER, OUTLIER_SHARE = 5.0, 0.01


def warnings_about(metrics: Mapping[str, float], fit: DataFit | None = None) -> list[str]:
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
