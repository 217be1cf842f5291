"""Uncertainty map: the expected error of every object pixel, from its illumination and the misfit around it.

The variance of the complex transmission at pixel r is

    sigma^2(r) = noise * s / I(r) + misfit * m(r)

- `I(r)` are the detected photons that illuminated the pixel: no unbiased estimate is better than `1 / I`
  (`ptypinn.metrics.data_fit`). A background of the frames adds its noise (`background_noise`).
- `s` is the fraction of the object's Fourier components that stand above that noise. A network that smooths leaves the
  others out of the picture, and their noise with them. With a prior of the object, `s / I` is the posterior variance.
- `m(r)` is the misfit that the patterns around the pixel leave unexplained. A change dO of the object changes the
  amplitudes of a far field by `sum abs(P dO)^2 / 2`, half of it being phase. An estimate that fits the noise in a
  fraction `s` of the components leaves a residual of `N - s sum abs(P)^2 / (2 I)`, `N` being the counting noise; what
  is above that is an error of the object (or of probe, positions, coherence). It is spread over the canvas with the
  probe's power.

Both constants are measured on simulations, where the error is known (`benchmarks/uncertainty.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float32, Float64

from ptypinn.data.depth import SLICE_UNCERTAINTY
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.spectrum import compute_ring_spectrum
from ptypinn.metrics.summary import metric_warnings
from ptypinn.physics.patches import add_patches
from ptypinn.uncertainty.slice_errors import estimate_slice_errors
from ptypinn.uncertainty.training_domain import out_of_domain, scan_traits

Map = Float32[np.ndarray, "height width"]
Canvas = Complex64[np.ndarray, "height width"]

BATCH = 256
"""Patterns that are put on the canvas at once."""
MAX_VARIANCE = 1e3
"""Upper bound of the noise variance in units of the object's mean square, where a pixel is undetermined anyway."""
ROUNDING = 1e-12
"""Illumination below this fraction of its maximum is rounding error, as probes with a sharp edge leave it."""


@dataclass(frozen=True)
class Constants:
    """Measured weights of the two parts of the variance."""

    noise: float
    """Weight of counting noise: the excess of a solver over the best possible."""
    misfit: float
    """Weight of unexplained misfit: errors that change the patterns little, such as slow phases, exceed it."""
    floor: float = 0.0
    """Error that remains at any dose, over the object's root mean square."""


QUASI_NEWTON = Constants(1.5, 2.75)
"""For `refine` with its prior of the object."""
WITHOUT_PRIOR = Constants(1.35, 2.75)
"""For `refine` without it, and for networks of `train`."""
UNROLLED = Constants(0.9, 1.5)
"""For the unrolled solver."""
POLISHED = Constants(1.1, 1.0)
"""For the unrolled solver with quasi-Newton iterations after it."""
MULTISLICE = Constants(1.3, 0.75, 0.012)
"""For the slices of a thick sample, whose product the object is."""


@dataclass(frozen=True)
class Uncertainty:
    """Expected error of an object, and the parts that make it."""

    sigma: Map
    """Expected standard deviation of the complex transmission; at most the object's own amplitude."""
    resolved_fraction: float
    """Fraction of the object's Fourier components that stand above the counting noise."""
    constants: Constants
    """Weights of the parts."""


def uncertainty_constants(recon: Reconstruction) -> Constants:
    """Return the constants of the solver that made a reconstruction."""
    record = recon.provenance
    if recon.slices is not None:
        return MULTISLICE
    if has_prior(recon):
        return QUASI_NEWTON
    if record.get("solver") not in ("unrolled", "learned"):  # the latter in records of version 0.1
        return WITHOUT_PRIOR
    return POLISHED if "polish" in record else UNROLLED


def has_prior(recon: Reconstruction) -> bool:
    """Return True if a reconstruction was solved with a prior of its object.

    That of slices is one of every slice, and says little of their product.
    """
    if recon.slices is not None:
        return False
    config = recon.provenance.get("config")
    if recon.provenance.get("stage") != "refine" or not isinstance(config, Mapping):
        return False
    return bool(config.get("prior")) and config.get("engine") == "native"


def estimate_uncertainty(recon: Reconstruction, scan: ScanData, fit: DataFit) -> Uncertainty:
    """Estimate the expected error of every pixel of a reconstruction.

    Args:
        recon: The reconstruction.
        scan: The patterns that it was made from.
        fit: Its agreement with their counts.
    """
    constants, max_variance = uncertainty_constants(recon), _mean_square(recon)
    fraction, noise, misfit = variance_parts(recon, scan, fit)
    noise_weight = constants.noise * background_noise(recon, scan, fit)
    floor = constants.floor**2 * max_variance
    variance = np.minimum(noise_weight * noise + constants.misfit * misfit + floor, max_variance)
    return Uncertainty(np.sqrt(variance).astype(np.float32), fraction, constants)


def variance_parts(recon: Reconstruction, scan: ScanData, fit: DataFit) -> tuple[float, Map, Map]:
    """Return the resolved fraction, and the two parts of the variance before they are weighted: `s / I` and `m`."""
    detected = recon.illumination * np.float32(good_pixel_fraction(scan, fit))
    fraction = resolved_fraction(recon.object, detected)
    bounded = np.maximum(detected, fraction / (MAX_VARIANCE * _mean_square(recon)), dtype=np.float32)
    if has_prior(recon):
        noise = posterior_variance(recon.object, detected)
    else:
        noise = np.divide(fraction, bounded, out=np.zeros_like(detected), where=bounded > 0)
    return fraction, noise, np.maximum(unexplained_misfit(recon, scan, fit) + noise, 0, dtype=np.float32)


def posterior_variance(object_: Canvas, illumination: Map) -> Map:
    """Return the variance of every pixel that counts and a Gaussian prior of the object's spectrum leave.

    A component of prior variance V, seen by I photons per pixel, keeps `1 / (1 / V + I)`. V follows from the power P of
    the estimate, which has lost as much: `P = V**2 / (V + 1 / I)` on average.

    Args:
        object_: Object at the maximum of the posterior.
        illumination: Detected photons on every object pixel.
    """
    spectrum = compute_ring_spectrum(object_, illumination)
    if spectrum is None:
        return np.zeros_like(illumination)
    power, noise = spectrum.power, spectrum.noise
    prior = np.maximum((power + np.sqrt(power**2 + 4 * power * noise)) / 2, 1e-12)
    weights = spectrum.components / spectrum.components.sum()
    photons = np.geomspace(1e-6, 1, 200) * max(float(illumination.max()), 1e-6)
    left = (weights / (1 / prior + photons[:, None])).sum(1)
    return np.interp(illumination, photons, left).astype(np.float32)


def background_noise(recon: Reconstruction, scan: ScanData, fit: DataFit) -> float:
    """Return the variance that counting noise leaves with the background of the frames, over that without it.

    An amplitude that is estimated from J expected photons has the variance 1/4, on top of B others `(1 + B / J) / 4`,
    and at most J, where it is not resolved. The counts of the mean pattern stand for those of all.
    """
    if recon.background is None:
        return 1.0
    total = fit.predicted_map[scan.good] / max(len(fit.per_pattern_photons), 1)
    beside = np.asarray(recon.background[scan.good], np.float64)
    photons = np.maximum(total - beside, 1e-9)
    alone = np.minimum(0.25, photons).sum()
    return float(np.minimum((1 + beside / photons) / 4, photons).sum() / alone) if alone > 0 else 1.0


def good_pixel_fraction(scan: ScanData, fit: DataFit) -> float:
    """Return the fraction of the predicted photons that fall on good pixels."""
    total = float(fit.predicted_map.sum())
    return float(fit.predicted_map[scan.good].sum()) / total if total > 0 else 1.0


def unexplained_misfit(recon: Reconstruction, scan: ScanData, fit: DataFit) -> Map:
    """Return twice the misfit beyond counting noise, per photon, of the patterns around each pixel; may be negative."""
    power = np.square(np.abs(recon.probe)).sum(0)
    excess = (fit.per_pattern_residual - fit.per_pattern_expected) * fit.per_pattern_photons
    values = 2 * excess / (float(power.sum(dtype=np.float64)) * good_pixel_fraction(scan, fit) or 1.0)
    total = _add_to_canvas(power, recon.positions_px, values, recon.object.shape)
    illumination = recon.illumination
    illuminated = illumination > ROUNDING * illumination.max()
    return np.divide(total, illumination, out=np.zeros_like(total), where=illuminated)


def resolved_fraction(object_: Canvas, illumination: Map) -> float:
    """Return the fraction of the Fourier components of an object that stand above the noise of its photons.

    Ring by ring, the power of the object over that of noise of variance `1 / illumination`, counted as 1 where it is
    more; a mean over overlapping segments (Welch 1967).

    >>> image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.complex64)
    >>> bright, dim = np.full((2, 64, 64), [[[1e4]], [[1e-4]]], np.float32)
    >>> round(resolved_fraction(image, bright), 3), round(resolved_fraction(image, dim), 3)
    (1.0, 0.0)
    """
    spectrum = compute_ring_spectrum(object_, illumination)
    if spectrum is None:
        return 1.0
    components = spectrum.components
    return float((components * np.minimum(spectrum.power / spectrum.noise, 1)).sum() / components.sum())


def _add_to_canvas(
    power: Float32[np.ndarray, "y x"],
    positions_px: Float64[np.ndarray, "patterns 2"],
    values: Float64[np.ndarray, " patterns"],
    shape: tuple[int, ...],
) -> Map:
    """Sum the probe's power times a value per pattern over the patterns."""
    height, width = shape
    canvas, weight = torch.zeros((1, height, width)), torch.from_numpy(power)
    corners = torch.from_numpy(np.rint(positions_px).astype(np.int64))
    factors = torch.from_numpy(values.astype(np.float32))
    for some, part in zip(torch.split(factors, BATCH), torch.split(corners, BATCH), strict=True):
        add_patches(canvas, (some[:, None, None] * weight)[None], part[None])
    return canvas[0].numpy()


def _mean_square(recon: Reconstruction) -> float:
    """Return the mean square of the object where it was illuminated."""
    illuminated = recon.illumination > 0
    return float(np.mean(np.abs(recon.object[illuminated]) ** 2, dtype=np.float64)) if illuminated.any() else 1.0


WORSE, ABOVE_NOISE = 1.1, 1.2
"""A correction is reported if it raises the residual by a tenth, to a fifth above counting noise or more."""


def add_uncertainty(
    recon: Reconstruction,
    scan: ScanData,
    fit: DataFit,
    card: Mapping[str, Any] | None = None,
    *,
    residual_before: float | None = None,
) -> Reconstruction:
    """Return a reconstruction with its uncertainty map, and with its warnings in `provenance["trust"]`.

    Args:
        recon: The reconstruction.
        scan: The scan that it was made from, or the part of it.
        fit: Agreement of the reconstruction with the counts.
        card: Model card of the network's weights, with the ranges of their training; None where no network took part.
        residual_before: Amplitude residual before the network's last correction, where it was measured.

    Raises:
        InputError: Where the scan has other patterns.
    """
    part = recon.scan_part(scan)
    uncertainty = estimate_uncertainty(recon, part, fit)
    traits = scan_traits(part, recon.probe)
    polished = "polish" in recon.provenance
    warnings = [*out_of_domain(traits, card or {}, polished=polished), *residual_rose(fit, residual_before)]
    record = {
        "warnings": warnings,
        "fit_warnings": metric_warnings(fit.metrics(), fit),
        "resolved_share": uncertainty.resolved_fraction,
        "constants": asdict(uncertainty.constants),
        "traits": traits,
    }
    if (errors := estimate_slice_errors(recon, good_pixel_fraction(part, fit))) is not None:
        record[SLICE_UNCERTAINTY] = errors
    return replace(recon, uncertainty=uncertainty.sigma, provenance={**recon.provenance, "trust": record})


def residual_rose(fit: DataFit, residual_before: float | None) -> list[str]:
    """Return a sentence if the network's correction made the data fit worse, beyond what counting noise explains."""
    now = fit.amplitude_residual
    if residual_before is None or now < WORSE * residual_before or now < ABOVE_NOISE * fit.expected_residual:
        return []
    return [
        f"The network's last correction made the data fit worse: the residual rose from {residual_before:.3g} to "
        f"{now:.3g}. Compare with `ptypinn refine`, or polish this result (--polish 30)."
    ]


def recorded_warnings(recon: Reconstruction, *, with_fit: bool) -> list[str]:
    """Return the warnings that a reconstruction carries.

    Args:
        recon: The reconstruction, possibly from a file.
        with_fit: Include those on its agreement with the counts; for callers that have no counts.
    """
    record = recon.provenance.get("trust")
    if not isinstance(record, Mapping):
        return []
    names = ("warnings", "fit_warnings") if with_fit else ("warnings",)
    return [str(text) for name in names for text in record.get(name) or [] if isinstance(text, str)]
