"""Prediction scaling: an explicit, recorded factor on a reconstructed object, or none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Complex

ScaleSource = Literal["none", "recorded", "flux", "least_squares"]


@dataclass(frozen=True)
class PredictionScale:
    """Factor that an object was multiplied by, and its origin."""

    source: ScaleSource = "none"
    """Source of the factor."""
    factor: float = 1.0
    """Amplitude factor; 1 if it is undefined."""
    reason: str = ""
    """Reason why the factor is undefined; empty if it is defined."""
    numerator: float | None = None
    """Of the square of the factor (flux), or of the factor (least_squares)."""
    denominator: float | None = None
    """Likewise."""
    finite_pixels: int | None = None
    """Pixels that take part, for least_squares: well illuminated, and finite in object and truth."""


def load_recorded_scale(gauge: float | None) -> PredictionScale:
    """Return the factor that the training recorded.

    Args:
        gauge: Amplitude factor from the network's object to transmission; None if there is none on record.
    """
    if gauge is None or not math.isfinite(gauge) or gauge <= 0:
        return PredictionScale("recorded", reason=f"the model has no usable gauge on record ({gauge})")
    return PredictionScale("recorded", gauge)


def estimate_flux_scale(measured_photons: float, predicted_photons: float) -> PredictionScale:
    """Estimate the amplitude factor of maximum Poisson likelihood, `sqrt(sum(I) / sum(I_pred))`; needs no truth.

    >>> estimate_flux_scale(400.0, 100.0).factor
    2.0
    """
    if not (predicted_photons > 0 and math.isfinite(predicted_photons) and measured_photons > 0):
        reason = f"{measured_photons:.6g} photons measured, {predicted_photons:.6g} predicted"
        return PredictionScale("flux", reason=reason)
    factor = math.sqrt(measured_photons / predicted_photons)
    return PredictionScale("flux", factor, "", measured_photons, predicted_photons)


def estimate_least_squares_scale(
    object_: Complex[np.ndarray, "height width"],
    truth: Complex[np.ndarray, "height width"] | None,
    mask: Bool[np.ndarray, "height width"],
) -> PredictionScale:
    """Estimate the factor that brings the object's amplitude closest to the truth's, `sum(|O| |T|) / sum(|O|^2)`.

    Args:
        object_: Reconstructed object.
        truth: True object on the same canvas, NaN where it is undefined; None if there is none.
        mask: Pixels to compare.
    """
    if truth is None:
        return PredictionScale("least_squares", reason="the scan holds no truth")
    finite = mask & np.isfinite(object_) & np.isfinite(truth)
    modulus, true_modulus = (np.abs(image[finite]).astype(np.float64) for image in (object_, truth))
    numerator, denominator, pixels = float(modulus @ true_modulus), float(modulus @ modulus), int(finite.sum())
    if not (pixels and numerator > 0 and denominator > 0):
        reason = "no pixel that is illuminated and finite" if not pixels else "an object or a truth without amplitude"
        return PredictionScale("least_squares", 1.0, reason, numerator, denominator, pixels)
    return PredictionScale("least_squares", numerator / denominator, "", numerator, denominator, pixels)
