"""Steps of the images that frames add to the probe, and which of their changes are held or hardly made.

An object of slowly varying phase, with probes that have the opposite one in every frame, gives nearly the same counts.
Such probes have spectra of other amplitudes in every frame, as if the aperture of the optics changed. Optics that drift
change the phases of the spectrum (defocus, tilts and other aberrations): its amplitudes take small steps, and where all
unknowns are solved for to convergence, changes of them are penalised.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Complex
from torch import Tensor

from ptypinn.physics.probe_variation import Images, probe_slopes
from ptypinn.solvers.quasi_newton.loop import Differentiable
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.types import Probe, Scalar

AMPLITUDE_FRACTION = 0.1
"""Step of the amplitudes of the spectrum over that of its phases."""
PENALTY = 0.03
"""Curvature of the penalty over that of the data term where these determine the probe: what they determine is biased by
as much."""


class VariationSteps:
    """Steps of the variation around one probe.

    Args:
        probe: Modes, (mode, y, x), sqrt(photons).
        hold_shifts: Hold the shifts of the probe, because the positions are solved for.
    """

    def __init__(self, probe: Probe, *, hold_shifts: bool) -> None:
        self._turn = _spectral_phase(probe)
        self._held = find_held_changes(probe, shifts=hold_shifts)

    def __call__(self, gradient: Images) -> Images:
        """Return the step for a gradient, up to the inverse curvature of the probe."""
        free = subtract_changes(gradient, self._held)
        damped = free - (1 - AMPLITUDE_FRACTION) * _amplitude_part(free, self._turn)
        return subtract_changes(damped, self._held)


class VariationObjective:
    """A data term with the penalty on changes of the spectrum's amplitudes.

    Args:
        objective: The data term.
        probe: Modes, (mode, y, x), whose spectrum is meant.
        curvature: Of the data term along the probe.
    """

    def __init__(self, objective: Differentiable, probe: Probe, curvature: Scalar) -> None:
        self._objective, self._turn, self._weight = objective, _spectral_phase(probe), PENALTY * curvature

    def __call__(self, at: Unknowns) -> ObjectiveValue:
        """Evaluate loss and gradient at one point."""
        value = self._objective(at)
        assert at.variation is not None
        assert value.gradient.variation is not None
        part = _amplitude_part(at.variation, self._turn)
        loss = value.loss + self._weight * part.abs().square().sum(dtype=torch.float64)
        gradient = replace(value.gradient, variation=value.gradient.variation + self._weight * part)
        return replace(value, loss=loss, gradient=gradient)


def _spectral_phase(probe: Probe) -> Probe:
    spectrum = torch.fft.fft2(probe)
    return spectrum / spectrum.abs().clamp(min=1e-12)


def _amplitude_part(images: Images, turn: Probe) -> Images:
    """Return the part of images that changes the amplitudes of a spectrum, whose phase is `turn`, to first order."""
    turned = torch.fft.fft2(images) * turn.conj()
    return torch.fft.ifft2(turned.real * turn)


def find_held_changes(probe: Probe, *, shifts: bool) -> Complex[Tensor, "change mode y x"]:
    """Return changes of a probe that are no part of a variation, orthonormal in their real inner product.

    Args:
        probe: Modes, (mode, y, x).
        shifts: Add shifts (y, x) to the changes of size and of the overall phase.
    """
    changes = torch.stack([probe, 1j * probe, *(probe_slopes(probe) if shifts else ())])
    rows = torch.view_as_real(changes).flatten(1).double()
    basis = torch.linalg.qr(rows.T)[0].T.to(probe.real.dtype)
    return torch.view_as_complex(basis.reshape(-1, *probe.shape, 2).contiguous())


def subtract_changes(images: Images, changes: Complex[Tensor, "change mode y x"]) -> Images:
    """Return images without their parts along some changes.

    Args:
        images: Images of every mode.
        changes: Orthonormal changes, from `find_held_changes`.
    """
    flat, basis = (torch.view_as_real(each).flatten(1) for each in (images, changes))
    return torch.view_as_complex((flat - (flat @ basis.T) @ basis).view(*images.shape, 2))
