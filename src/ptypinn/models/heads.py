"""Output heads: from unbounded network outputs to a complex transmission that starts at the transmitted amplitude."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

LN2 = math.log(2.0)


def texture(modulus: Float[Tensor, "*batch y x"], phase: Float[Tensor, "*batch y x"]) -> Complex[Tensor, "*batch y x"]:
    """Complex texture around 1: `softplus(m) / log(2)` without a ceiling, and a phase without bounds, radians.

    Zero outputs give exactly 1, and no finite output saturates.

    Args:
        modulus: Network outputs m, (..., y, x).
        phase: Network outputs, radians, (..., y, x).
    """
    return torch.polar(torch.nn.functional.softplus(modulus) / LN2, phase)


def transmitted_amplitude(
    photons: Float[Tensor, "*batch"], vacuum_photons: Float[Tensor, ""] | float
) -> Float[Tensor, "*batch"]:
    """Mean transmission that counts alone give, `a_j = sqrt(sum I_j / sum |P|^2)`.

    Args:
        photons: Photons on the good pixels of each pattern.
        vacuum_photons: Photons that the probe alone puts on the same pixels.
    """
    return torch.sqrt(photons / vacuum_photons)
