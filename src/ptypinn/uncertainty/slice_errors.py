"""Expected error of every slice of a thick sample, from what the counts tell of its Fourier components.

A ripple in one slice changes the counts nearly as the same ripple in another one does: `C(k)` is their coherence over
the angles of the probe, one small matrix per component (`physics.propagation.measure_coherence`). With counting noise
of variance `n` per pixel and an expected variance `V(k)` of every slice, the curvature of Gauss and Newton leaves

    covariance(k) = inverse(C(k) / (n + u) + 1 / V(k))

whose diagonal, summed over the components, is the variance of the slices. Slow components have a coherence of one:
their sum is known and their division is not, which is most of the error of a slice. `u` is the variance that a solve of
finite length leaves beside counting noise, in proportion to the root of `n`, as measured on simulated layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Complex128, Float64, Int64

from ptypinn.data.depth import SLICES, Gaps
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.spectrum import RingSpectrum, compute_ring_spectrum
from ptypinn.physics.propagation import measure_coherence

UNSETTLED = 0.27
"""Variance that solves leave beside that of counting noise, over the root of it, over the root mean square of the
slices, and over the power 3/2 of the number of gaps: simulated scans of two to four layers, 1e4 to 1e7 photons."""
GRID = 64
"""Edge of the grid of Fourier components."""
REPEATS = 30
"""Estimates of the expected variance, each from the power of the slices and the error of the one before."""

Variances = Float64[np.ndarray, "slice ring"]


def estimate_slice_errors(recon: Reconstruction, good_fraction: float = 1.0) -> list[float] | None:
    """Return the expected error of the transmission of a pixel in every slice, rms, beside a factor of the slice.

    Args:
        recon: The reconstruction.
        good_fraction: Fraction of the photons that fall on good pixels.

    Returns:
        Standard deviations in the order of the beam; None for thin samples, for slices of phase alone, whose error the
        prior on their differences decides, and where nothing is illuminated.
    """
    if recon.slices is None or recon.gap_fresnel_numbers is None or _are_of_phase_alone(recon):
        return None
    detected = recon.illumination * np.float32(good_fraction)
    spectra = [spectrum for image in recon.slices if (spectrum := compute_ring_spectrum(image, detected)) is not None]
    if not spectra:
        return None
    level = float(np.mean(np.abs(recon.slices[:, recon.illumination > 0]) ** 2, dtype=np.float64)) ** 0.5
    gaps = recon.gap_fresnel_numbers
    noise = spectra[0].noise + UNSETTLED * len(gaps) ** 1.5 * level * spectra[0].noise ** 0.5
    coherence, rings = _coherence(recon.probe, gaps, spectra[0])
    variance = _left_variance(coherence / noise, rings, np.stack([spectrum.power for spectrum in spectra]))
    return np.sqrt((variance * np.bincount(rings[rings > 0], minlength=variance.shape[1])).sum(1) / rings.size).tolist()


def _are_of_phase_alone(recon: Reconstruction) -> bool:
    record = recon.provenance.get(SLICES)
    return isinstance(record, Mapping) and record.get("transmission") == "phase"


def _coherence(
    probe: np.ndarray, gaps: Gaps, spectrum: RingSpectrum
) -> tuple[Complex128[np.ndarray, "component slice slice"], Int64[np.ndarray, " component"]]:
    """Return the coherence of the slices for every Fourier component of a grid, and the ring of each."""
    frequency = torch.fft.fftfreq(GRID, dtype=torch.float64)
    depths = torch.from_numpy(np.concatenate([[0.0], np.cumsum(1 / gaps)]))
    matrices = measure_coherence(torch.from_numpy(probe), depths, frequency[:, None], frequency)
    radius = torch.hypot(frequency[:, None], frequency).numpy().ravel()
    rings = np.minimum(np.rint(radius * spectrum.edge).astype(np.int64), len(spectrum.power) - 1)
    return matrices.permute(2, 3, 0, 1).reshape(-1, len(depths), len(depths)).numpy(), rings


def _left_variance(
    information: Complex128[np.ndarray, "component slice slice"],
    rings: Int64[np.ndarray, " component"],
    power: Variances,
) -> Variances:
    """Return the variance that counts and the expected spectrum leave the components of every slice, ring by ring."""
    expected, count, eye = power, np.maximum(np.bincount(rings, minlength=power.shape[1]), 1), np.eye(len(power))
    for _ in range(REPEATS):
        precision = 1 / np.maximum(expected, 1e-12)[:, rings].T
        left = np.linalg.inv(information + precision[:, :, None] * eye)
        variance = np.einsum("css->sc", left).real
        mean = np.stack([np.bincount(rings, one, minlength=power.shape[1]) for one in variance]) / count
        expected = power + mean
    return mean
