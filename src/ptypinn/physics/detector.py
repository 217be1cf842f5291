"""The detector: from expected counts to recorded ones by shot noise, saturation and dead pixels."""

import torch
from jaxtyping import Float64, Real
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
