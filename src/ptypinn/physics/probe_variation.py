"""A probe that varies over the scan: every frame adds weighted images to its modes.

The modes of frame j are `c_j (P + sum_k w_jk V_k)` (orthogonal probe relaxation: Odstrcil et al., Opt. Express 24
(2016) 8360), the factor c_j such that every frame has the photons of P: what else varies is the flux. Weights are slow
functions of time, orthogonal over the frames, of mean 0 and mean square 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from ptypinn.types import Probe, Probes, Waves

Images = Complex[Tensor, "order mode y x"]
Weights = Float[Tensor, "batch order"]


class ProbeVariation(NamedTuple):
    """What frames add to the modes of the probe."""

    images: Images
    """Images of every mode, sqrt(photons)."""
    weights: Weights
    """Weight of the images in every frame."""

    def take(self, part: slice) -> ProbeVariation:
        """Return the variation of some of the frames."""
        return ProbeVariation(self.images, self.weights[part])


class ProbeGradient(NamedTuple):
    """Descent directions of a probe and its variation."""

    probe: Probe
    images: Images


class VaryingProbe(NamedTuple):
    """Modes of a probe in every frame, as shares of images that all frames have in common."""

    images: Float[Tensor, "part coordinate"]
    """Real and imaginary parts of the mean and of what is added to it, (1 + order, 2 mode y x)."""
    shares: Float[Tensor, "batch part"]
    """Share of every image in the frames, whose sum has a norm of 1."""
    norm: Float[Tensor, ""]
    """Norm of the mean, and so of the modes of every frame."""
    shape: tuple[int, ...]
    """Shape of the modes, (mode, y, x)."""

    @classmethod
    def of(cls, probe: Probe, variation: ProbeVariation) -> VaryingProbe:
        """Return the varying probe.

        Args:
            probe: Modes of the mean, (mode, y, x); or their spectra, with those of the images.
            variation: What the frames add.
        """
        images = torch.view_as_real(torch.cat([probe[None], variation.images])).flatten(1)
        columns = torch.cat([torch.ones_like(variation.weights[:, :1]), variation.weights], 1).to(images.dtype)
        products = images @ images.T
        squared = ((columns @ products) * columns).sum(1, keepdim=True)
        return cls(images, columns / squared.sqrt(), products[0, 0].sqrt(), tuple(probe.shape))

    def compute_modes(self, part: slice = slice(None)) -> Probes:
        """Return the modes in some of the frames, (batch, mode, y, x)."""
        return torch.view_as_complex((self.norm * self.shares[part] @ self.images).view(-1, *self.shape, 2))


def vary_probe(probe: Probe, variation: ProbeVariation) -> Probes:
    """Return the modes of every frame, (batch, mode, y, x).

    Args:
        probe: Modes of the mean, (mode, y, x); or their spectra, with those of the images.
        variation: What the frames add.
    """
    return VaryingProbe.of(probe, variation).compute_modes()


class VariationAdjoint:
    """Adjoint of the derivative of `vary_probe`, summed over batches of frames.

    Args:
        varying: The probe at which the derivative is taken.
    """

    def __init__(self, varying: VaryingProbe) -> None:
        self._varying, parts = varying, varying.shares.shape[1]
        self._sums, self._along = torch.zeros_like(varying.images), varying.images.new_zeros(())
        self._mixture = varying.images.new_zeros(parts, parts)

    def add(self, waves: Waves, part: slice = slice(None)) -> None:
        """Add descent directions of the modes of some frames, (batch, mode, y, x)."""
        flat, shares = torch.view_as_real(waves).flatten(1), self._varying.shares[part]
        along = ((flat @ self._varying.images.T) * shares).sum(1, keepdim=True)
        self._sums.addmm_(shares.T, flat)
        self._mixture.addmm_(shares.T, along * shares)
        self._along += along.sum()

    @property
    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the frames so far."""
        return self._sums, self._mixture, self._along

    def merge(self, other: VariationAdjoint) -> None:
        """Add the sums over other frames."""
        self._sums += other._sums
        self._mixture += other._mixture
        self._along += other._along

    def evaluate(self) -> ProbeGradient:
        """Return descent directions of the mean and of the images."""
        images, norm, shape = self._varying.images, self._varying.norm, self._varying.shape
        sums = norm * (self._sums - self._mixture @ images)
        sums[0] += images[0] * (self._along / norm)
        each = torch.view_as_complex(sums.view(-1, *shape, 2))
        return ProbeGradient(each[0], each[1:])


def slow_weights(frames: int, order: int) -> Float64[Tensor, "frames order"]:
    """Return polynomials in time, of mean 0 and mean square 1, orthogonal over the frames; the slowest first.

    Args:
        frames: Number of frames, evenly spaced in time.
        order: Largest degree; less where there are fewer frames.

    >>> slow_weights(3, 1)[:, 0].round(decimals=3).abs().tolist()
    [1.225, 0.0, 1.225]
    """
    time = torch.linspace(-1, 1, frames, dtype=torch.float64)
    powers = time[:, None] ** torch.arange(min(order, frames - 1) + 1)
    basis, upper = torch.linalg.qr(powers)
    return (basis * upper.diagonal().sign())[:, 1:] * frames**0.5


def split_shifts(probe: Probe, variation: ProbeVariation) -> tuple[Float64[Tensor, "batch 2"], ProbeVariation]:
    """Return the shift (y, x) of the probe in every frame, pixels, and the variation without it, to first order.

    Args:
        probe: Modes of the mean, (mode, y, x).
        variation: What the frames add.
    """
    slopes, images = (torch.view_as_real(each).flatten(1).double() for each in (probe_slopes(probe), variation.images))
    shares = torch.linalg.solve(slopes @ slopes.T, slopes @ images.T).T
    rest = torch.view_as_complex((images - shares @ slopes).view(*variation.images.shape, 2))
    shifts = -variation.weights.double() @ shares
    return shifts, ProbeVariation(rest.to(variation.images.dtype), variation.weights)


def measure_change(images: Images, shares: Float[Tensor, "batch order"]) -> float:
    """Return the fraction of the photons of all frames outside of the one probe that explains most of them.

    A phase of a whole frame is no change: no count depends on it. Nor is one probe with a factor per frame. Of several
    modes, phases of one against the other count as change, which no count shows either.

    Args:
        images: Images that the frames share, sqrt(photons).
        shares: Real share of every image in the modes of every frame.

    >>> probe = torch.ones(1, 1, 2, 2) + 0j
    >>> measure_change(torch.cat([probe, 1j * probe]), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    0.0
    """
    flat = images.flatten(1).to(torch.complex128)
    columns = shares.to(flat.dtype)
    upper = torch.linalg.qr(columns).R  # the frames enter by their shares alone
    photons = torch.linalg.svdvals(upper @ flat).square()
    return max(0.0, float(1 - photons[0] / photons.sum()))


def probe_slopes(probe: Probe) -> Complex[Tensor, "2 mode y x"]:
    """Return the derivatives of the modes by y and x, per pixel."""
    q = 2j * torch.pi * torch.fft.fftfreq(probe.shape[-1], dtype=probe.real.dtype, device=probe.device)
    spectrum = torch.fft.fft2(probe)
    return torch.fft.ifft2(torch.stack([spectrum * q[:, None], spectrum * q]))


def sort_variation(variation: ProbeVariation) -> ProbeVariation:
    """Return the same variation with images that are orthogonal (in their real inner product), strongest first.

    >>> images = torch.ones(2, 1, 2, 2) + 0j
    >>> strongest = sort_variation(ProbeVariation(images, torch.eye(2))).images
    >>> [round(float(image.abs().square().sum()), 3) for image in strongest]
    [8.0, 0.0]
    """
    flat = torch.view_as_real(variation.images).flatten(1).double()
    turn = torch.linalg.eigh(flat @ flat.T)[1].flip(1).T
    images = torch.view_as_complex((turn @ flat).view(-1, *variation.images.shape[1:], 2))
    weights = variation.weights.double() @ turn.T
    return ProbeVariation(images.to(variation.images.dtype), weights.to(variation.weights.dtype))
