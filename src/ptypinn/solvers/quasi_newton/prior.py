"""Prior of the object: its Fourier components are Gaussian, with the power spectrum that the counts themselves show.

The maximum of the likelihood has all counting noise in it, and a solver that stops before lacks what the counts
determine slowly, such as slow phases. With a prior, the maximum of both has neither: components that stand above the
noise follow the counts, others stay small. The spectrum is estimated from a first solve, and once more from the result:
the mean power of a component is that of its estimate, and the variance that the counts leave it (empirical Bayes;
expectation maximisation, Dempster, Laird and Rubin 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from ptypinn.metrics.spectrum import RingSpectrum, compute_ring_spectrum
from ptypinn.solvers.quasi_newton.loop import Differentiable
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.types import Sample, Scalar

RESOLVED = 3.0
"""Power over that of noise from which a ring shows the object's own."""
FIRST_RINGS = 6
"""Rings that stand in for the resolved ones where there are fewer than three."""
MIN_DECAY, MAX_DECAY = 2.0, 3.0
"""Power of the frequency with which spectra fall beyond the resolved rings: edges give 3, textures less."""
MIN_VARIANCE = 0.01
"""Smallest variance over that of noise: less would change nothing but the condition of the problem."""

Variance = Float64[np.ndarray, " ring"]


@dataclass(frozen=True)
class ObjectPrior:
    """Gaussian prior on one canvas."""

    precision: Float[Tensor, "ky kx"]
    """Inverse variance of every Fourier component, orthonormal transform."""
    mean: Complex[Tensor, "*slice 1 1"]
    """Mean transmission, of every slice where the sample is thick."""
    variance: Variance
    """Variance per ring."""

    def evaluate(self, canvas: Sample) -> tuple[Scalar, Sample]:
        """Return the negative logarithm of the prior, and its gradient as that of `ObjectiveValue`."""
        spectrum = torch.fft.fft2(canvas - self.mean, norm="ortho")
        weighted = spectrum * self.precision
        loss = (spectrum.conj() * weighted).real.sum(dtype=torch.float64)
        return loss, torch.fft.ifft2(weighted, norm="ortho")


@dataclass(frozen=True)
class RegularisedObjective:
    """The data term with a prior of the object."""

    data: Differentiable
    prior: ObjectPrior

    def __call__(self, at: Unknowns) -> ObjectiveValue:
        """Evaluate the sum of both and its gradient at one point."""
        value = self.data(at)
        loss, slope = self.prior.evaluate(at.object)
        gradient = replace(value.gradient, object=value.gradient.object + slope)
        return replace(value, loss=value.loss + loss, gradient=gradient)


def estimate_prior(
    canvas: Sample, illumination: Float[Tensor, "height width"], before: ObjectPrior | None
) -> ObjectPrior | None:
    """Return the prior that a reconstruction shows.

    Args:
        canvas: Object, or its slices, from a solve without a prior, or with the one before.
        illumination: Photons on every object pixel.
        before: The prior of that solve; None where it had none.

    Returns:
        The prior; None where nothing is illuminated.
    """
    photons = illumination.cpu().numpy()
    spectra = [compute_ring_spectrum(image.cpu().numpy(), photons) for image in canvas.view(-1, *canvas.shape[-2:])]
    if (spectrum := _mean_spectrum(spectra)) is None:
        return None
    if before is None:
        variance = extrapolate_power(spectrum)
    else:
        variance = spectrum.power + 1 / (1 / before.variance + 1 / spectrum.noise)
    variance = np.maximum(variance, MIN_VARIANCE * spectrum.noise)
    fy, fx = (np.fft.fftfreq(length) for length in canvas.shape[-2:])
    rings = np.hypot(fy[:, None], fx) * spectrum.edge
    precision = 1 / np.interp(rings, np.arange(len(variance)), variance)
    mean = (canvas * illumination).sum((-2, -1), keepdim=True) / illumination.sum()
    return ObjectPrior(torch.from_numpy(precision).float().to(canvas.device), mean, variance)


def _mean_spectrum(spectra: Sequence[RingSpectrum | None]) -> RingSpectrum | None:
    """Return the mean spectrum of slices; None where nothing is illuminated."""
    lit = [spectrum for spectrum in spectra if spectrum is not None]
    return replace(lit[0], power=np.mean([spectrum.power for spectrum in lit], 0)) if lit else None


def extrapolate_power(spectrum: RingSpectrum) -> Variance:
    """Return the variance of the object's components: the power of resolved rings, or a power law through them.

    >>> falling = 100.0 / np.maximum(np.arange(8), 1) ** 2.0
    >>> spectrum = RingSpectrum(np.where(falling > 9, falling, 2.0), 2.0, np.arange(1, 9), 8)
    >>> extrapolate_power(spectrum).round(1).tolist()
    [99.8, 100.0, 25.0, 11.1, 5.6, 3.5, 2.4, 1.8]
    """
    ring, noise = np.arange(len(spectrum.power)), spectrum.noise
    resolved = (spectrum.power > RESOLVED * noise) & (ring >= 1)
    if resolved.sum() < 3:  # a line through fewer is none
        resolved = (ring >= 1) & (ring < FIRST_RINGS)
    frequency = np.log(np.maximum(ring, 1))
    own = np.log(np.maximum(spectrum.power - noise / 2, 1e-3 * noise))
    weights = spectrum.components * resolved
    decay = MIN_DECAY
    if resolved.sum() > 1:
        slope = np.polyfit(frequency[resolved], own[resolved], 1, w=np.sqrt(weights[resolved]))[0]
        decay = float(np.clip(-slope, MIN_DECAY, MAX_DECAY))
    level = float((weights * (own + decay * frequency)).sum() / max(weights.sum(), 1))
    law = np.exp(level - decay * frequency)
    return np.where(resolved, np.maximum(spectrum.power, law), law)
