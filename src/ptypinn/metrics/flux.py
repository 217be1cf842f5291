"""Flux of the frames: photons of every frame over those that a reconstruction predicts for it, and their evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import amplitude_variance, predict_batches
from ptypinn.physics.propagation import to_fft_order

MIN_FLUX = 1e-6
"""Smallest flux of a frame, as of one without photons: predictions are divided by it."""
SLOW_DEGREE = 5
"""Degree in time of the polynomial that a slow variation of the flux follows."""
MIN_SLOW_FRACTION = 0.3
"""Fraction of the variance of the flux that such a polynomial explains from which it varies slowly: 0.94 and more of a
drift, at most 0.04 of a flux that is independent from frame to frame."""
MIN_FLUX_EXCESS, MIN_FLUX_SCATTER = 2.0, 0.004
"""Scatter of the photons of the frames over that of counting noise, and in itself, from which it needs a warning
however small the misfit: 1.0 to 1.3 on scans without faults, 3 to 10 with a slow flux that the object has imitated."""


@dataclass(frozen=True)
class FluxEvidence:
    """Comparison of one flux per frame with the same flux in all, each on pixels that the other did not use."""

    ratio: Float64[np.ndarray, " patterns"]
    """Measured over predicted photons of every frame."""
    significance: float
    """Mean gain of log-likelihood per frame, on the half of the pixels that did not set its flux, over its standard
    error."""
    variation: float
    """Standard deviation of the logarithm of the flux over the frames, without that of counting noise."""
    gain: float
    """Gain of log-likelihood of all frames together, with the flux that their photons show."""


def measure_flux(
    scan: ScanData, recon: Reconstruction, *, batch: int = 128, device: str | torch.device = "cpu"
) -> FluxEvidence:
    """Compare measured with predicted photons, frame by frame, on two halves of the pixels.

    The flux of each half predicts the counts of the other: a gain there is no fit of noise. The covariance of both is
    the variance of the flux alone, because their noise is independent.

    Args:
        scan: The patterns of the reconstruction.
        recon: Object, probe and positions.
        batch: Patterns in memory at once.
        device: Where to compute.
    """
    y, x = np.indices((scan.size, scan.size))
    halves = np.stack([scan.good & ((y + x) % 2 == parity) for parity in (0, 1)])
    pixels = to_fft_order(torch.from_numpy(halves)).to(device)[:, None, None]
    sums = np.empty((2, 2, scan.n_patterns))
    for part, measured, predicted in predict_batches(
        scan, recon.sample, recon.probe, recon.positions_px, batch, device
    ):
        both = torch.stack([measured, predicted])
        sums[:, :, part] = (both * pixels).sum((-2, -1), dtype=torch.float64).cpu().numpy()
    sums = np.maximum(sums, 1e-3)
    logarithms = np.log(sums[:, 0] / sums[:, 1])
    gains = sum(
        logarithms[1 - half] * sums[half, 0] - np.expm1(logarithms[1 - half]) * sums[half, 1] for half in (0, 1)
    )
    variance = float(np.cov(logarithms)[0, 1]) if scan.n_patterns > 1 else 0.0
    error = float(np.std(gains) / np.sqrt(len(gains)))
    photons, expected = sums.sum(0)
    ratio = photons / expected
    return FluxEvidence(
        ratio=ratio,
        significance=float(np.mean(gains)) / error if error > 0 else 0.0,
        variation=float(np.sqrt(max(variance, 0.0))),
        gain=float((photons * np.log(ratio) - photons + expected).sum()),
    )


def compare_flux(
    scan: ScanData,
    recon: Reconstruction,
    flux: Float64[np.ndarray, " patterns"] | None,
    *,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> tuple[float, float]:
    """Return the misfit of a reconstruction with another flux of the frames, and that with its own, by one prediction.

    Args:
        scan: The patterns of the reconstruction, with its terms.
        recon: Object, probe and positions.
        flux: The other flux; None for the same in all frames.
        batch: Patterns in memory at once.
        device: Where to compute.
    """
    good = to_fft_order(torch.from_numpy(scan.good)).to(device)
    beside = 0.0 if scan.background is None else to_fft_order(torch.from_numpy(scan.background)).to(device)
    own, other = (np.ones(scan.n_patterns) if each is None else each for each in (scan.flux, flux))
    factors = torch.from_numpy((other / own.clip(min=MIN_FLUX)).astype(np.float32)).to(device)[:, None, None]
    total, sums = 0.0, np.zeros((2, 3))
    for part, measured, predicted in predict_batches(
        scan, recon.sample, recon.probe, recon.positions_px, batch, device
    ):
        total += float((measured * good).sum(dtype=torch.float64))
        for row, expected in zip(sums, (beside + factors[part] * (predicted - beside), predicted), strict=True):
            residual = (measured.sqrt() - expected.clamp(min=0).sqrt()).square()
            terms = torch.stack([residual, amplitude_variance(expected), expected]) * good
            row += terms.sum((1, 2, 3), dtype=torch.float64).cpu().numpy()
    squared, noise, photons = sums.T
    with_other, with_own = (squared / noise * photons / total).tolist()
    return with_other, with_own


def measure_slow_variation(flux: Float64[np.ndarray, " patterns"]) -> float:
    """Return the standard deviation of the slow part of a flux; 0 where it varies independently from frame to frame.

    Args:
        flux: Flux of every frame in order of time, mean 1.

    >>> measure_slow_variation(np.exp(0.1 * np.sin(np.linspace(0, 3, 100)))) > 0.02
    True
    """
    if len(flux) <= 4 * SLOW_DEGREE:
        return 0.0
    logarithm = np.log(flux)
    slow = fit_slow_part(logarithm, SLOW_DEGREE)
    return float(slow.std()) if slow.var() > MIN_SLOW_FRACTION * logarithm.var() else 0.0


def fit_slow_part(values: Float64[np.ndarray, " patterns"], degree: int) -> Float64[np.ndarray, " patterns"]:
    """Return the polynomial of a degree in time that is nearest to values of frames in order of time."""
    time = np.linspace(-1, 1, len(values))
    return np.polynomial.Legendre.fit(time, values, degree)(time)


def flatten_slope(
    recon: Reconstruction, monitor: Float64[np.ndarray, " patterns"] | None = None
) -> Float64[np.ndarray, " patterns"]:
    """Return the flux of a reconstruction with the slope of the object's amplitude that flux explains as well.

    Only slow flux is changed, and only along axes on which the position is slow in time: see `physics.slow_freedoms`.

    Args:
        recon: Reconstruction with its flux.
        monitor: Flux that a monitor shows, whose slope stays; None for none.
    """
    from ptypinn.physics.slow_freedoms import fit_amplitude_slope, is_slow

    assert recon.flux is not None
    if not measure_slow_variation(recon.flux if monitor is None else recon.flux / monitor):
        return recon.flux
    places = torch.from_numpy(recon.positions_px - recon.positions_px.mean(0))
    mask = torch.from_numpy(recon.well_illuminated())
    slope = fit_amplitude_slope(torch.from_numpy(recon.object), mask, is_slow(places.T[:, :, None]))
    flux = recon.flux * np.exp(2 * (places @ slope).numpy())
    return flux / flux.mean()


def slow_flux_warnings(flux: Float64[np.ndarray, " patterns"]) -> list[str]:
    """Return a sentence where a flux that was solved for varies slowly, so that a part of it may be in the object.

    Args:
        flux: Flux of every frame in order of time, mean 1.
    """
    slow = measure_slow_variation(flux)
    if not slow:
        return []
    return [
        f"The flux of the frames varies slowly in time, by {100 * slow:.2g} % (standard deviation) or more: what of it "
        "changes in proportion to the position gives the same counts as a slope of the sample's transmission, and may "
        "be in the amplitude. A monitor of the beam, or frames without the sample, settle it."
    ]


def measure_flux_scatter(fit: DataFit) -> tuple[float, float]:
    """Return the standard deviation of predicted over measured photons of the frames, and that over counting noise's.

    Args:
        fit: Agreement with the counts.
    """
    scatter = float(np.log(np.maximum(fit.per_pattern_closure, 1e-6)).std())
    return scatter, scatter / float(np.sqrt(np.mean(1 / fit.per_pattern_photons)))


def flux_warnings(fit: DataFit) -> list[str]:
    """Return a sentence where the counts of the frames differ from the prediction by more than chance explains."""
    scatter, excess = measure_flux_scatter(fit)
    if excess < MIN_FLUX_EXCESS or scatter < MIN_FLUX_SCATTER:
        return []
    return [
        f"The counts of the frames scatter by {100 * scatter:.2g} % around the prediction, {excess:.2g} times as much "
        "as counting noise does: the flux of the frames may vary (`--flux solve`), and what of that is slow may be in "
        "the amplitude of the object."
    ]
