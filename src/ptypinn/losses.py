"""Likelihoods of the measured counts, and optional terms on the object.

A `Likelihood` is one noise model. Training minimises its `pattern_loss`; the solvers descend along its `residual` and
follow its `loss`. All are zero where the counts agree. Weights and stabilisers come from the measurement alone.

A new noise model is one class here and one entry in `LIKELIHOODS`; every command then accepts its name as `--loss`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Float64
from torch import Tensor

from ptypinn.errors import InputError
from ptypinn.physics import kernels
from ptypinn.physics.interaction import detect, weigh_fields
from ptypinn.physics.kernels import as_reals
from ptypinn.types import Canvases, Mask, Patterns, Waves

PerPattern = Float[Tensor, " batch"]

ANSCOMBE = 0.375
"""Variance-stabilising offset of Poisson counts (Anscombe 1948)."""
DARK_PHOTONS = 0.1
"""Added to measured and expected counts alike: bounds the residual where the model is dark, and is unbiased."""
MIN_RESIDUAL = -1 + 2**-23
"""Minimum residual: float32 rounds it to -1, which has no logarithm, for no photon where millions are expected."""
POISSON_FLOOR, POISSON_FLOOR_COUNTS = 1e-4, 1e-2
"""Added to both sides of the Poisson pattern loss to bound its gradient: a fraction of the pattern's mean count, and at
most so many counts."""
POISSON_FLOOR_RELATIVE = 1e-6
"""Minimum floor as a fraction of the pixel's own count: above single precision, so that a bright pixel which is
predicted dark has a finite loss."""


class Likelihood(ABC):
    """A noise model of the counts: the deviation of expected from measured counts, and its derivative.

    The derivative is written by hand, which halves the work of automatic differentiation in the solvers' hot loop: the
    descent direction of a detector field is `residual * field`, because `d loss / d conj(field) = -residual * field`.
    """

    @abstractmethod
    def residual(self, expected: Patterns, counts: Patterns) -> Patterns:
        """Return minus the derivative of the loss by the expected counts, per pixel.

        Args:
            expected: Expected photons J, (batch, y, x).
            counts: Measured photons I, (batch, y, x).
        """

    @abstractmethod
    def loss(self, expected: Patterns, residual: Patterns) -> Patterns:
        """Return the loss of every pixel: near the solution, half the squared deviation in units of counting noise.

        Args:
            expected: Expected photons J, (batch, y, x).
            residual: As `residual` returns it for these counts.
        """

    def total_loss(self, expected: Patterns, residual: Patterns) -> Float64[Tensor, ""]:
        """Return the sum of the loss over all pixels, in double precision; arguments as those of `loss`."""
        return self.loss(expected, residual).sum(dtype=torch.float64)

    def weigh(self, fields: Waves, counts: Patterns, good: Mask, *, with_loss: bool) -> Float64[Tensor, ""]:
        """Multiply detector fields by the residual in place, which makes them their descent direction.

        Args:
            fields: Detector fields, (batch, mode, y, x), sqrt(photons), whose intensities are the expected counts.
            counts: Measured photons, (batch, y, x).
            good: Good pixels; the residual of others is 0.
            with_loss: Sum the loss up too.

        Returns:
            The loss over good pixels; 0 where it was not asked for.
        """
        expected = detect(fields)
        residual = self.residual(expected, counts).mul_(good)
        weigh_fields(fields, residual)
        return self.total_loss(expected, residual) if with_loss else residual.new_zeros((), dtype=torch.float64)

    def pattern_loss(self, predicted: Patterns, measured: Patterns, mask: Mask) -> PerPattern:
        """Return the loss of each pattern per measured photon, differentiable: what training minimises.

        Divided by the photons, it states the unexplained fraction of the signal at any dose.

        Args:
            predicted: Expected counts, (batch, y, x).
            measured: Measured counts, (batch, y, x); masked pixels may hold anything.
            mask: Good pixels, (y, x), in the same order as the counts.
        """
        photons, measured, predicted = _good_counts(predicted, measured, mask)
        loss = self.loss(predicted, self.residual(predicted, measured))
        return (loss * mask).sum((1, 2)) / photons


@dataclass(frozen=True)
class Poisson(Likelihood):
    """Likelihood of independent photons: the Poisson deviance `J - I + I log(I / J)`.

    >>> likelihood = Poisson()
    >>> expected, counts = torch.full((1, 1, 1), 100.0), torch.full((1, 1, 1), 110.0)
    >>> residual = likelihood.residual(expected, counts)
    >>> round(float(likelihood.loss(expected, residual)), 3)  # one standard deviation: about one half
    0.484
    """

    dark: float = DARK_PHOTONS
    """Photons added to measured and expected counts alike."""

    def residual(self, expected: Patterns, counts: Patterns) -> Patterns:
        """Return the relative residual `(I - J) / J` (Thibault and Guizar-Sicairos 2012, eq. 2)."""
        if not kernels.are_usable(expected, counts) or expected.dtype != counts.dtype:
            return (counts - expected).div_(expected + self.dark).clamp_(min=MIN_RESIDUAL)
        return _compare(kernels.compare_counts, expected, counts, self.dark, MIN_RESIDUAL)

    def loss(self, expected: Patterns, residual: Patterns) -> Patterns:
        """Return the deviance, written through `log1p`, so that float32 resolves it at 1e9 photons."""
        return ((1 + residual).mul_(torch.log1p(residual)) - residual).mul_(expected + self.dark)

    def total_loss(self, expected: Patterns, residual: Patterns) -> Float64[Tensor, ""]:
        """Return the sum of the loss over all pixels, in double precision; arguments as those of `loss`."""
        if not kernels.are_usable(expected, residual) or not expected.dtype == residual.dtype == torch.float32:
            return super().total_loss(expected, residual)
        total = torch.zeros(1, dtype=torch.float64)
        photons, ratios = (as_reals(each).reshape(-1) for each in (expected, residual))
        kernels.sum_deviances(photons, ratios, np.float32(self.dark), as_reals(total, writes=True))
        return total[0]

    def weigh(self, fields: Waves, counts: Patterns, good: Mask, *, with_loss: bool) -> Float64[Tensor, ""]:
        """Multiply detector fields by the residual in place, as the base class does."""
        if not _is_single(fields, counts):
            return super().weigh(fields, counts, good, with_loss=with_loss)
        return _weigh(fields, counts, good, self.dark, roots=False, with_loss=with_loss)

    def pattern_loss(self, predicted: Patterns, measured: Patterns, mask: Mask) -> PerPattern:
        """Return the deviance per measured photon, `sum(J - I - I log(J / I)) / sum(I)` over good pixels.

        With `r = (J - I) / I` the summand is `I (r - log(1 + r))`, which keeps its precision where J is close to I; at
        high dose it tends to `2 (sqrt(J) - sqrt(I))**2`.
        """
        photons, measured, predicted = _good_counts(predicted, measured, mask)
        floor = (POISSON_FLOOR * photons[:, None, None] / mask.sum()).clamp(max=POISSON_FLOOR_COUNTS)
        floor = torch.maximum(floor, POISSON_FLOOR_RELATIVE * measured)
        base = measured + floor
        deviance = _relative_deviance((predicted - measured) / base, (predicted + floor) / base)
        return (base * deviance * mask).sum((1, 2)) / photons


@dataclass(frozen=True)
class Amplitude(Likelihood):
    """Least squares of variance-stabilised amplitudes `sqrt(I + 3/8)` (Anscombe 1948)."""

    def residual(self, expected: Patterns, counts: Patterns) -> Patterns:
        """Return the relative residual `2 (sqrt(I + 3/8) / sqrt(J + 3/8) - 1)`."""
        if not kernels.are_usable(expected, counts) or expected.dtype != counts.dtype:
            return 2 * (torch.sqrt(counts + ANSCOMBE) / torch.sqrt(expected + ANSCOMBE) - 1)
        return _compare(kernels.compare_roots, expected, counts, ANSCOMBE)

    def loss(self, expected: Patterns, residual: Patterns) -> Patterns:
        """Return `2 (sqrt(I + 3/8) - sqrt(J + 3/8))**2` from the relative residual."""
        return (expected + ANSCOMBE) * residual.square() / 2

    def weigh(self, fields: Waves, counts: Patterns, good: Mask, *, with_loss: bool) -> Float64[Tensor, ""]:
        """Multiply detector fields by the residual in place, as the base class does."""
        if not _is_single(fields, counts):
            return super().weigh(fields, counts, good, with_loss=with_loss)
        return _weigh(fields, counts, good, ANSCOMBE, roots=True, with_loss=with_loss)

    def pattern_loss(self, predicted: Patterns, measured: Patterns, mask: Mask) -> PerPattern:
        """Return the squared difference of stabilised amplitudes per measured photon."""
        photons, measured, predicted = _good_counts(predicted, measured, mask)
        # The difference of roots through the difference of counts: no cancellation at high counts.
        difference = (predicted - measured) / (torch.sqrt(predicted + ANSCOMBE) + torch.sqrt(measured + ANSCOMBE))
        return (difference.square() * mask).sum((1, 2)) / photons


LIKELIHOODS: dict[str, Likelihood] = {"poisson": Poisson(), "amplitude": Amplitude()}
"""Noise models by the name that the option `--loss` takes."""
HELD_OUT_DEVIANCE = Poisson(dark=1.0)
"""Deviance of held-out pixels: single photons in the dark weigh little in the choice of an iterate."""


def find_likelihood(name: str) -> Likelihood:
    """Return a registered noise model.

    Raises:
        InputError: If there is none of that name; lists those that there are.

    >>> find_likelihood("poisson")
    Poisson(dark=0.1)
    """
    if name not in LIKELIHOODS:
        raise InputError("--loss", "", repr(name), f"one of {', '.join(sorted(LIKELIHOODS))}")
    return LIKELIHOODS[name]


def total_variation(canvases: Canvases, weights: Float[Tensor, "window height width"]) -> Float[Tensor, " window"]:
    """Weighted mean of `abs(O(r + 1) - O(r))` along both axes: small for objects of few edges.

    Args:
        canvases: Objects, (window, height, width).
        weights: Weight of each pixel, for example its illumination, (window, height, width).
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

    For simulated scans only: no measurement has the truth.

    Args:
        canvases: Objects, (window, height, width).
        truth: True objects on the same canvases.
        weights: Weight of each pixel, (window, height, width).
    """
    overlap = (weights * canvases.conj() * truth).sum((1, 2)).detach()
    phase = overlap / overlap.abs().clamp(min=1e-30)
    error = (weights * (canvases * phase[:, None, None] - truth).abs().square()).sum((1, 2))
    return error / (weights * truth.abs().square()).sum((1, 2))


def _good_counts(
    predicted: Patterns, measured: Patterns, mask: Bool[Tensor, "y x"]
) -> tuple[PerPattern, Patterns, Patterns]:
    measured = torch.where(mask, measured, 0.0)
    return measured.sum((1, 2)).clamp(min=1.0), measured, torch.where(mask, predicted, 0.0)


def _relative_deviance(relative: Patterns, ratio: Patterns) -> Patterns:
    """Return `r - log(1 + r)`, by its series where the difference would cancel.

    `ratio` is `1 + r`, which float32 loses where r is close to -1.
    """
    small = relative.abs() < 0.03
    near, far, ratio = torch.where(small, relative, 0.0), torch.where(small, 0.0, relative), ratio.masked_fill(small, 1)
    series = near.square() * (1 / 2 - near * (1 / 3 - near * (1 / 4 - near * (1 / 5 - near / 6))))
    return torch.where(small, series, far - torch.log(ratio))


def _compare(loop: Callable[..., None], expected: Patterns, counts: Patterns, *scalars: float) -> Patterns:
    """Return what a loop computes of expected and measured counts, pixel by pixel."""
    residual = torch.empty_like(expected, memory_format=torch.contiguous_format)
    first, second, out = as_reals(expected), as_reals(counts), as_reals(residual, writes=True)
    loop(first.reshape(-1), second.reshape(-1), *map(out.dtype.type, scalars), out.reshape(-1))
    return residual


def _is_single(fields: Waves, counts: Patterns) -> bool:
    """Return True where one loop on arrays in single precision may do all of the work."""
    return kernels.are_usable(counts, written=fields) and (fields.dtype, counts.dtype) == (
        torch.complex64,
        torch.float32,
    )


def _weigh(
    fields: Waves, counts: Patterns, good: Mask, offset: float, *, roots: bool, with_loss: bool
) -> Float64[Tensor, ""]:
    """Multiply detector fields by residuals in place, and return the loss; see `kernels.weigh_fields`."""
    waves, loss = as_reals(fields, writes=True).reshape(*fields.shape[:2], -1), torch.zeros(1, dtype=torch.float64)
    measured, mask = as_reals(counts).reshape(len(counts), -1), as_reals(good.to(counts.dtype)).reshape(-1)
    scalars = np.float32(offset), np.float32(MIN_RESIDUAL), roots, with_loss
    kernels.weigh_fields(waves, measured, mask, *scalars, as_reals(loss, writes=True))
    return loss[0]
