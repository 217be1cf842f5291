"""Slices of phase alone, with a prior on their differences: thick samples of atoms, as electrons see them.

Atoms scatter electrons and hardly absorb them, so the transmission of a slice is `exp(i phi)` with a real phase, the
projected potential times the interaction constant (Cowley and Moodie 1957). Columns of atoms scatter a thin beam many
times over, which leaves a solve of complex slices in poor local minima: amplitudes take what phases of other slices
should explain. A crystal hardly changes along the beam, so equal slices come first and differences among them after.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.fft import dct
from torch import Tensor

from ptypinn.solvers.quasi_newton.loop import Differentiable
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner
from ptypinn.solvers.quasi_newton.prior import ObjectPrior, estimate_prior
from ptypinn.solvers.quasi_newton.unknowns import Unknowns

FLOOR = 0.02
"""Illumination below this fraction of its maximum does not make steps larger."""

Phases = Float[Tensor, "slice height width"]
Stack = Complex[Tensor, "slice height width"]


@dataclass(frozen=True)
class PhaseSlices:
    """The data term as a function of the phases of the slices, with the prior along depth, and its steps."""

    objective: Differentiable
    """As a function of the transmissions."""
    preconditioner: Preconditioner
    """Of the transmissions, refreshed."""
    depth_precision: float
    """Precision of changes along depth, 1 / rad^2: that of half a wave over the stack, and its square for n half waves;
    infinite for equal slices."""

    def enter(self, point: Unknowns) -> Unknowns:
        """Return a point with the phases of its slices in place of their transmission."""
        return replace(point, object=unwrap_depth(point.object))

    def leave(self, at: Unknowns) -> Unknowns:
        """Return a point with the transmission of its slices in place of their phases."""
        return replace(at, object=to_transmission(at.object))

    def __call__(self, at: Unknowns) -> ObjectiveValue:
        """Evaluate the sum of data term and prior, and its gradient, at one point."""
        point = self.leave(at)
        value = self.objective(point)
        slope = (point.object.conj() * value.gradient.object).imag
        loss, gradient = value.loss, slope
        if 0 < self.depth_precision < math.inf:
            waves = to_depth_waves(at.object)
            weighted = waves * (self.depth_precision * _orders(waves).square())[:, None, None]
            loss = loss + (waves * weighted).sum(dtype=torch.float64)
            gradient = slope + from_depth_waves(weighted)
        return replace(value, loss=loss, gradient=replace(value.gradient, object=gradient))

    def precondition(self, gradient: Unknowns, at: Unknowns) -> Unknowns:
        """Return the approximate inverse Hessian times a gradient; differences of slices follow where they may."""
        point = self.leave(at)
        others = self.preconditioner(replace(gradient, object=1j * gradient.object * point.object), point)
        illumination, peak = self.preconditioner.illumination, self.preconditioner.stats.peak
        waves = to_depth_waves(gradient.object)
        waves = waves * self._depth_steps(waves)[:, None, None] / (len(waves) * (illumination + FLOOR * peak))
        return replace(others, object=from_depth_waves(waves))

    def _depth_steps(self, waves: Phases) -> Float[Tensor, " order"]:
        """Return the steps of waves along depth over that of the mean of all slices."""
        orders = _orders(waves)
        if math.isinf(self.depth_precision):
            return (orders == 0).float()
        return 1 / (1 + self.depth_precision * orders.square() / (len(waves) * self.preconditioner.stats.mean))


def _orders(waves: Phases) -> Float[Tensor, " order"]:
    return torch.arange(len(waves), dtype=torch.float32, device=waves.device)


def estimate_stack_prior(
    slices: Stack, illumination: Float[Tensor, "height width"], before: ObjectPrior | None
) -> ObjectPrior | None:
    """Return the prior that slices of phase alone show, which are nearly equal: `estimate_prior` of what they share.

    A change that n slices share changes the counts as n changes of one, and each of them pays for it.

    Args:
        slices: Transmission of the slices.
        illumination: Photons on every object pixel.
        before: The prior that they were solved with; None for none.
    """
    root = len(slices) ** 0.5
    prior = estimate_prior(slices * root, illumination * len(slices), before)
    return None if prior is None else replace(prior, mean=prior.mean / root)


def to_transmission(phases: Phases) -> Stack:
    """Return the transmission of slices of given phases, radians."""
    return torch.polar(torch.ones_like(phases), phases)


def unwrap_depth(slices: Stack) -> Phases:
    """Return the phases of slices, radians, such that neighbours differ by less than half a turn."""
    phases = np.unwrap(slices.angle().cpu().numpy(), axis=0).astype(np.float32)
    return torch.from_numpy(phases).to(slices.device)


def to_depth_waves(images: Phases) -> Float[Tensor, "order height width"]:
    """Return the cosine components of slices along depth (orthonormal), that of order 0 being their mean."""
    return torch.einsum("ks,syx->kyx", _cosines(len(images), images.dtype, images.device), images)


def from_depth_waves(waves: Float[Tensor, "order height width"]) -> Phases:
    """Return the slices that cosine components along depth stand for: inverse, and adjoint, of `to_depth_waves`."""
    return torch.einsum("ks,kyx->syx", _cosines(len(waves), waves.dtype, waves.device), waves)


@functools.cache
def _cosines(count: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "order slice"]:
    return torch.from_numpy(dct(np.eye(count), axis=0, norm="ortho")).to(device, dtype)
