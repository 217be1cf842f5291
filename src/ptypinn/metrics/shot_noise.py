"""Shot noise: the amplitude residual and the complex error that counting statistics alone leave."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Float64
from torch import Tensor

from ptypinn.metrics.image import Mask

MAX_ROOT = 8.0
NODES_PER_ROOT = 256
"""The table runs over `sqrt(mu)` from 0 to 8 in steps of 1/256; beyond it the asymptotic series is exact to 1e-6."""


def amplitude_variance(expected: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return `E[(sqrt I - sqrt mu)^2]` of Poisson counts I of mean mu, pixel by pixel.

    It rises as 2 mu for faint pixels, peaks at 0.45 near mu = 1 and tends to 1/4: a square root makes the variance of
    Poisson counts constant.

    Args:
        expected: Mean counts mu, any shape.

    >>> [round(value, 3) for value in amplitude_variance(torch.tensor([0.001, 1.0, 100.0])).tolist()]
    [0.002, 0.454, 0.251]
    """
    mean = expected.clamp(min=0)
    root = mean.sqrt()
    return torch.where(root < MAX_ROOT, mean * _ratio_from_table(root), _series(mean.clamp(min=1.0)))


def expected_amplitude_residual(
    predicted: Float[Tensor, "batch y x"], mask: Bool[Tensor, "y x"] | None = None
) -> float:
    """Return the amplitude residual `E[sum (sqrt I - sqrt mu)^2] / E[sum I]` of Poisson counts of predicted means.

    Args:
        predicted: Mean counts, (batch, y, x).
        mask: Good pixels in the order of `predicted`; None for all.
    """
    good = torch.ones(predicted.shape[-2:], dtype=torch.bool) if mask is None else mask
    mean = predicted[:, good]
    return float(amplitude_variance(mean).sum(dtype=torch.float64) / mean.sum(dtype=torch.float64))


def _series(mean: Tensor) -> Tensor:
    # E sqrt(I) = sqrt(mu) (1 - 1/(8 mu) - 7/(128 mu^2) - 75/(1024 mu^3) - ...)
    return 0.25 + 7 / (64 * mean) + 75 / (512 * mean**2)


def _ratio_from_table(root: Tensor) -> Tensor:
    table = torch.from_numpy(_table()).to(root)
    node = (root * NODES_PER_ROOT).clamp(max=MAX_ROOT * NODES_PER_ROOT - 1)
    below = node.long()
    return torch.lerp(table[below], table[below + 1], node - below)


@cache
def _table() -> Float64[np.ndarray, " node"]:
    """Return `E[(sqrt I - sqrt mu)^2] / mu` at equal steps of `sqrt(mu)`; it starts at 2."""
    from scipy.stats import poisson

    mean = (np.arange(1, MAX_ROOT * NODES_PER_ROOT + 1) / NODES_PER_ROOT) ** 2
    counts = np.arange(200)
    probability = poisson.pmf(counts, mean[:, None])
    variance = (probability * (np.sqrt(counts) - np.sqrt(mean[:, None])) ** 2).sum(1)
    return np.concatenate([[2.0], variance / mean])


def shot_noise_limit(
    illumination: Float[np.ndarray, "height width"], truth: Complex[np.ndarray, "height width"], mask: Mask
) -> float:
    """Return the minimum complex error of an unbiased estimate, `sqrt(sum 1/illumination / sum abs(T)**2)` on the mask.

    Args:
        illumination: Sum of `abs(probe)**2` over positions and modes, photons per object pixel.
        truth: The true object T, transmission.
        mask: Pixels to compare; all of them illuminated.

    Raises:
        ValueError: If the mask holds no pixel, or one without illumination.

    >>> round(shot_noise_limit(np.full((8, 8), 400.0), np.ones((8, 8), complex), np.ones((8, 8), bool)), 6)
    0.05
    """
    photons, power = illumination[mask].astype(np.float64), np.abs(truth[mask].astype(np.complex128)) ** 2
    if not photons.size or photons.min() <= 0:
        raise ValueError("the shot-noise limit needs a mask of illuminated pixels")
    return float(np.sqrt((1 / photons).sum() / power.sum()))
