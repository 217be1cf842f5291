"""The detector: from expected counts to recorded ones by shot noise, saturation and dead pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor

from ptypinn.types import Mask


def sample_counts(expected: Real[Tensor, "*batch y x"], generator: torch.Generator) -> Float64[Tensor, "*batch y x"]:
    """Draw photon counts: independent Poisson variates with the given means (shot noise).

    The draw is in float64, whose integers are exact up to 2**53; float32 would round counts above 2**24.

    Args:
        expected: Mean photons per pixel, (..., y, x), not negative.
        generator: Source of randomness, on the device of `expected`.

    Returns:
        Whole numbers of photons, (..., y, x).
    """
    return torch.poisson(expected.double(), generator=generator)


def saturate(counts: Real[Tensor, "*batch y x"], full_well: float) -> Real[Tensor, "*batch y x"]:
    """Clip counts at the maximum that a pixel can record.

    >>> saturate(torch.tensor([[3.0, 70000.0]]), 65535.0).tolist()
    [[3.0, 65535.0]]
    """
    return counts.clamp(max=full_well)


def draw_dead_pixels(size: int, number: int, generator: torch.Generator) -> Mask:
    """Choose `number` distinct dead pixels at random.

    Returns:
        Mask (size, size), True = good pixel.
    """
    mask = torch.ones(size * size, dtype=torch.bool)
    mask[torch.randperm(size * size, generator=generator)[:number]] = False
    return mask.view(size, size)


def zero_dead_pixels(counts: Real[Tensor, "*batch y x"], mask: Mask) -> Real[Tensor, "*batch y x"]:
    """Set dead pixels to zero."""
    return counts * mask


def mirrored_blur(edge: int, spread_px: float) -> Float[Tensor, "edge edge"]:
    """Return the Gaussian blur along one axis of a detector as a matrix, FFT order; symmetric, its rows sum to 1.

    What leaves the detector is mirrored back, as cosines have it; `matrix @ image @ matrix` blurs an image.

    Args:
        edge: Edge of the detector, pixels.
        spread_px: Standard deviation, pixels; at least about 1.

    >>> matrix = mirrored_blur(32, 2.0)
    >>> bool(torch.allclose(matrix.sum(1), torch.ones(32))), bool((matrix >= 0).all())
    (True, True)
    """
    k = math.pi / edge * torch.arange(edge, dtype=torch.float64)
    cosines = torch.cos(k[:, None] * (torch.arange(edge) + 0.5)) * math.sqrt(2 / edge)
    cosines[0] /= math.sqrt(2)
    matrix = cosines.T @ (torch.exp(-((k * spread_px) ** 2) / 2)[:, None] * cosines)
    return torch.fft.ifftshift(matrix.clamp(min=0)).float()


@dataclass(frozen=True)
class AxisBlur:
    """Blur of rows and columns one after the other, such as a Gaussian."""

    matrix: Float[Tensor, "edge edge"]
    """Symmetric matrix along one axis, see `point_spread`."""

    def spread(self, frames: Real[Tensor, "*batch y x"]) -> Real[Tensor, "*batch y x"]:
        """Return blurred frames, (..., y, x)."""
        return self.matrix @ frames @ self.matrix

    adjoint = spread


@dataclass(frozen=True)
class MeasuredBlur:
    """Blur by a modulation transfer function; light that leaves the detector is lost."""

    transfer: Float64[Tensor, "rows columns"]
    """Factors on the spectrum of frames in arrays of twice their edge N, (2 N, N + 1). In double precision: rounding
    of bright pixels would exceed the counts of dark ones."""

    def spread(self, frames: Real[Tensor, "*batch y x"]) -> Real[Tensor, "*batch y x"]:
        """Return blurred frames, (..., y, x); ripples below 0 beside bright pixels are cut.

        >>> blur = MeasuredBlur(torch.full((16, 9), 0.5).double())
        >>> blur.spread(torch.ones(1, 8, 8)).unique().tolist()
        [0.5]
        """
        return self.adjoint(frames).clamp_(min=0)

    def adjoint(self, frames: Real[Tensor, "*batch y x"]) -> Real[Tensor, "*batch y x"]:
        """Return the blur of frames of either sign, which is its own adjoint, (..., y, x)."""
        edge = frames.shape[-1]
        centred = torch.fft.fftshift(frames, (-2, -1)).double()
        spectrum = torch.fft.rfft2(centred, (2 * edge, 2 * edge)) * self.transfer
        blurred = torch.fft.irfft2(spectrum, (2 * edge, 2 * edge))[..., :edge, :edge]
        return torch.fft.ifftshift(blurred, (-2, -1)).to(frames.dtype)


Blur = AxisBlur | MeasuredBlur
"""Point spread of a detector: `spread` blurs frames in FFT order, `adjoint` is its adjoint."""


def point_spread(edge: int, spread_px: float) -> Float[Tensor, "edge edge"]:
    """Return a Gaussian point spread along one axis of a detector as a symmetric matrix, FFT order.

    Pixels integrate over their area. Light that leaves the detector is lost; `matrix @ image @ matrix` blurs an image,
    and is its own adjoint.

    Args:
        edge: Edge of the detector, pixels.
        spread_px: Standard deviation, pixels, positive.

    >>> matrix = point_spread(8, 0.5)
    >>> [round(value, 3) for value in matrix[0, :3].tolist()], bool((matrix == matrix.T).all())
    ([0.683, 0.157, 0.001], True)
    """
    reach = max(1, math.ceil(5 * spread_px))
    edges = (torch.arange(2 * reach + 2, dtype=torch.float64) - reach - 0.5) / (spread_px * math.sqrt(2))
    kernel = torch.erf(edges).diff()
    distance = (torch.arange(edge)[:, None] - torch.arange(edge)).abs()
    matrix = (kernel / kernel.sum())[(reach + distance).clamp(max=2 * reach)].where(distance <= reach, 0.0)
    return torch.fft.ifftshift(matrix)
