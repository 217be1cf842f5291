"""Losses between expected and measured counts, and optional terms on the object.

Data losses share one signature, `(predicted_counts, measured_counts, mask) -> per-pattern loss`. They are zero where
the counts agree, never negative, and divided by the photons of the measured pattern, so that their size says which
share of the signal is unexplained at any dose. Weights and stabilisers come from the measurement alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ptypinn.types import Canvases, Mask, Patterns

PerPattern = Float[Tensor, " batch"]
DataLoss = Callable[[Patterns, Patterns, Mask], PerPattern]

POISSON_FLOOR, POISSON_FLOOR_COUNTS = 1e-4, 1e-2
"""Added to both sides of the Poisson loss to bound its gradient: a share of the pattern's mean count, and at most so
many counts."""
POISSON_FLOOR_RELATIVE = 1e-6
"""Least floor of the Poisson loss as a share of the pixel's own count: above single precision, so that a bright pixel
which is predicted dark has a finite loss."""


def poisson(predicted: Patterns, measured: Patterns, mask: Mask) -> PerPattern:
    """Poisson negative log-likelihood minus its value at `predicted == measured`, per measured photon.

    `sum(J - I - I log(J / I)) / sum(I)` over good pixels. With `r = (J - I) / I` the summand is `I (r - log(1 + r))`,
    which keeps its precision where J is close to I; at high dose it tends to `2 (sqrt(J) - sqrt(I))**2`.

    Args:
        predicted: Expected counts J, (batch, y, x).
        measured: Measured counts I, (batch, y, x); masked pixels may hold anything.
        mask: Good pixels, (y, x), in the same order as the counts.

    Returns:
        Loss of each pattern, (batch,).
    """
    photons, measured, predicted = _good_counts(predicted, measured, mask)
    floor = (POISSON_FLOOR * photons[:, None, None] / mask.sum()).clamp(max=POISSON_FLOOR_COUNTS)
    floor = torch.maximum(floor, POISSON_FLOOR_RELATIVE * measured)
    base = measured + floor
    deviance = _relative_deviance((predicted - measured) / base, (predicted + floor) / base)
    return (base * deviance * mask).sum((1, 2)) / photons


def amplitude(predicted: Patterns, measured: Patterns, mask: Mask) -> PerPattern:
    """Squared difference of variance-stabilised amplitudes `sqrt(I + 3/8)` (Anscombe 1948), per measured photon.

    Args:
        predicted: Expected counts, (batch, y, x).
        measured: Measured counts, (batch, y, x); masked pixels may hold anything.
        mask: Good pixels, (y, x), in the same order as the counts.

    Returns:
        Loss of each pattern, (batch,).
    """
    photons, measured, predicted = _good_counts(predicted, measured, mask)
    # The difference of roots through the difference of counts: no cancellation at high counts.
    difference = (predicted - measured) / (torch.sqrt(predicted + 0.375) + torch.sqrt(measured + 0.375))
    return (difference.square() * mask).sum((1, 2)) / photons


def total_variation(canvases: Canvases, weights: Float[Tensor, "window height width"]) -> Float[Tensor, " window"]:
    """Weighted mean of `abs(O(r + 1) - O(r))` along both axes: small for objects of few edges.

    Args:
        canvases: Objects, (window, height, width).
        weights: Trust in each pixel, for example its illumination, (window, height, width).
    """
    total = canvases.real.new_zeros(canvases.shape[0])
    for axis in (1, 2):
        size = canvases.shape[axis]
        step = canvases.narrow(axis, 1, size - 1) - canvases.narrow(axis, 0, size - 1)
        weight = torch.minimum(weights.narrow(axis, 1, size - 1), weights.narrow(axis, 0, size - 1))
        length = torch.sqrt(step.real.square() + step.imag.square() + 1e-12)
        total = total + (weight * length).sum((1, 2)) / weight.sum((1, 2))
    return total


def realspace(
    canvases: Canvases, truth: Complex[Tensor, "window height width"], weights: Float[Tensor, "window height width"]
) -> Float[Tensor, " window"]:
    """Weighted squared error against a true object, after the best global phase, relative to the object's power.

    For simulated scans only: no measurement knows the truth.

    Args:
        canvases: Objects, (window, height, width).
        truth: True objects on the same canvases.
        weights: Trust in each pixel, (window, height, width).
    """
    overlap = (weights * canvases.conj() * truth).sum((1, 2)).detach()
    phase = overlap / overlap.abs().clamp(min=1e-30)
    error = (weights * (canvases * phase[:, None, None] - truth).abs().square()).sum((1, 2))
    return error / (weights * truth.abs().square()).sum((1, 2))


LOSSES: dict[str, DataLoss] = {"poisson": poisson, "amplitude": amplitude}
"""Data losses by the name that the configuration uses."""


def _good_counts(
    predicted: Patterns, measured: Patterns, mask: Bool[Tensor, "y x"]
) -> tuple[PerPattern, Patterns, Patterns]:
    measured = torch.where(mask, measured, 0.0)
    return measured.sum((1, 2)).clamp(min=1.0), measured, torch.where(mask, predicted, 0.0)


def _relative_deviance(relative: Patterns, ratio: Patterns) -> Patterns:
    """`r - log(1 + r)`, by its series where the difference would cancel; 1 + r is given, for r near -1 has lost it."""
    small = relative.abs() < 0.03
    near, far, ratio = torch.where(small, relative, 0.0), torch.where(small, 0.0, relative), ratio.masked_fill(small, 1)
    series = near.square() * (1 / 2 - near * (1 / 3 - near * (1 / 4 - near * (1 / 5 - near / 6))))
    return torch.where(small, series, far - torch.log(ratio))
