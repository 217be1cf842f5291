"""Photon bookkeeping on the canvas and on the detector: rms transmission, and which pixels share the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64

from ptypinn.physics.forward import detect
from ptypinn.physics.propagate import far_field, to_centred

BATCH = 256
CERTAINLY_LIT = 25.0
"""Expected photons in a pixel over the scan, above which not one is no chance: `exp(-25)`."""


def rms_transmission(image: np.ndarray, illumination: np.ndarray) -> float:
    """Root mean square amplitude weighted by the photons that fall on each pixel; NaN in the dark."""
    light = np.where(np.isfinite(image), illumination, 0.0).astype(np.float64)
    power = np.where(light > 0, np.abs(image), 0.0).astype(np.float64) ** 2
    total = float(light.sum())
    return float(np.sqrt((light * power).sum() / total)) if total > 0 else float("nan")


@dataclass(frozen=True)
class DetectorLight:
    """Which detector pixels have a share in the light."""

    good_share: float
    """Share of the photons behind the sample that falls on good pixels."""
    live_share: float
    """Share of the light on good pixels that falls on pixels which ever counted one photon."""


def vacuum_pattern(probe: np.ndarray) -> Float64[np.ndarray, "y x"]:
    """Photons per pixel that a probe makes without a sample, zero frequency at N//2."""
    modes = torch.from_numpy(probe.astype(np.complex128))
    return to_centred(detect(far_field(modes[None])))[0].numpy()


def dead_pixels(
    good: Bool[np.ndarray, "y x"], measured: Float64[np.ndarray, "y x"], expected: Float64[np.ndarray, "y x"]
) -> Bool[np.ndarray, "y x"]:
    """Good pixels that never counted although they must have been lit.

    Args:
        good: The mask, True = good pixel.
        measured: Counts by pixel, summed over the scan.
        expected: Counts by pixel that are to be expected, likewise, in any scale.
    """
    sure = expected * (measured[good].sum() / expected[good].sum())
    return good & (measured == 0) & (sure > CERTAINLY_LIT)


def detector_light(
    good: Bool[np.ndarray, "y x"], measured: Float64[np.ndarray, "y x"], expected: Float64[np.ndarray, "y x"]
) -> DetectorLight:
    """Share out the light that is to be expected; the arguments are those of `dead_pixels`."""
    dead, lit = dead_pixels(good, measured, expected), expected[good].sum()
    return DetectorLight(float(lit / expected.sum()), float(1 - expected[dead].sum() / lit))
