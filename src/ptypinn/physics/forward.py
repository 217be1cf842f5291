"""The forward model and its exact adjoint: interact, propagate, detect.

Solvers, networks and metrics share one `ForwardModel`: object patches and probes in, expected counts out, and from
detector residuals back to patches and probes. What lies between sample and detector is its `Propagator`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from ptypinn.physics.patches import extract_patches, phase_ramp, shift_probe
from ptypinn.physics.probe_variation import ProbeVariation, vary_probe
from ptypinn.physics.propagation import FarField, NearField, Propagator, Ramps, fresnel_kernel
from ptypinn.types import Canvases, Corners, Fractions, Patterns, Probe, Probes, Waves

ObjectPatches = Complex[Tensor, "batch y x"]


class Diffraction(NamedTuple):
    """A batch on its way through the model: what the adjoint needs of the forward pass."""

    patches: ObjectPatches
    """Object patches, dimensionless transmission."""
    probes: Probes
    """Probe modes at the positions, sqrt(photons)."""
    fields: Waves
    """Detector fields, sqrt(photons), FFT order."""
    ramps: Ramps | None = None
    """Fourier factors by which the probes were moved; None where they stand at whole pixels."""


@dataclass(frozen=True)
class ForwardModel:
    """Expected counts of illuminated patches, and the exact adjoint of the map to the detector fields."""

    propagator: Propagator = FarField()  # noqa: RUF009 - frozen

    def to(self, device: torch.device) -> ForwardModel:
        """Return the model on a device."""
        return ForwardModel(self.propagator.to(device))

    def diffract(self, patches: ObjectPatches, probes: Probes, ramps: Ramps | None = None) -> Diffraction:
        """Illuminate object patches and propagate the exit waves to the detector.

        Args:
            patches: Object patches, (batch, y, x), dimensionless transmission.
            probes: Probe modes, (batch or 1, mode, y, x), sqrt(photons).
            ramps: Fourier factors by which the probes were moved, (batch, 1, y, x); None for whole pixels.
        """
        fields = self.propagator.propagate(interact(patches, probes), ramps)
        return Diffraction(patches, probes, fields, ramps)

    def predict_counts(self, patches: ObjectPatches, probes: Probes, ramps: Ramps | None = None) -> Patterns:
        """Return the expected counts of illuminated patches, photons per pixel, (batch, y, x), FFT order."""
        return detect(self.diffract(patches, probes, ramps).fields)

    def predict_vacuum(self, probe: Probe) -> Float[Tensor, "y x"]:
        """Return the expected counts of the probe alone, photons per pixel, (y, x), FFT order."""
        return detect(self.propagator.propagate(probe[None]))[0]

    def predict_scan(
        self,
        canvases: Canvases,
        probe: Probe,
        corners: Corners,
        fractions: Fractions | None = None,
        beam_px: Fractions | None = None,
        variation: ProbeVariation | None = None,
    ) -> Patterns:
        """Return the expected counts of a scan over one or several canvases: the complete forward model.

        Args:
            canvases: Objects, (window, height, width), dimensionless transmission.
            probe: Incoherent modes, (mode, y, x), sqrt(photons).
            corners: Integer patch corners (y, x), (window, positions, 2).
            fractions: Sub-pixel rest of every position in window-major order, (window * positions, 2), pixels;
                None for integer positions.
            beam_px: Displacement (y, x) of every pattern in the same order, (window * positions, 2), detector pixels;
                None where the beam stands still.
            variation: What the frames add to the modes, in the same order; None for nothing.

        Returns:
            Expected photons per pixel, (window * positions, y, x), FFT order.
        """
        patches = extract_patches(canvases, corners, probe.shape[-1]).flatten(0, 1)
        patches = patches if beam_px is None else patches * beam_ramp(beam_px, probe.shape[-1])
        probes = probe[None] if variation is None else vary_probe(probe, variation)
        if fractions is None:
            return self.predict_counts(patches, probes)
        ramps = phase_ramp(fractions, probe.shape[-1])[:, None]
        return self.predict_counts(patches, shift_probe(probes, fractions), ramps)

    def exit_residual(self, diffraction: Diffraction, residual: Patterns) -> Waves:
        """Propagate `residual * field` back to the sample; the detector fields are overwritten.

        Args:
            diffraction: The forward pass.
            residual: Minus the derivative of the loss by the expected counts, (batch, y, x).
        """
        return self.propagator.adjoint(diffraction.fields.mul_(residual[:, None]), diffraction.ramps)

    def object_adjoint(self, diffraction: Diffraction, waves: Waves) -> ObjectPatches:
        """Return exit-wave residuals as descent directions of the object patches, (batch, y, x)."""
        return add_modes(waves * diffraction.probes.conj())

    def probe_adjoint(self, diffraction: Diffraction, waves: Waves) -> Waves:
        """Return exit-wave residuals as descent directions of the probes, (batch, mode, y, x); overwrites `waves`."""
        return waves.mul_(diffraction.patches.conj()[:, None])


def interact(patches: ObjectPatches, probes: Probes) -> Waves:
    """Return the exit waves behind the sample: probe times object (projection approximation).

    Args:
        patches: Object patches, (batch, y, x), dimensionless transmission.
        probes: Probe modes, (batch or 1, mode, y, x), sqrt(photons).

    Returns:
        Exit waves, (batch, mode, y, x), sqrt(photons).
    """
    return patches[:, None] * probes


def detect(fields: Waves) -> Patterns:
    """Return the expected counts of detector fields: intensities of incoherent modes add, fields never do.

    Args:
        fields: Detector fields, (batch, mode, y, x), sqrt(photons).

    Returns:
        Expected photons per pixel, (batch, y, x), in the order of the fields.
    """
    return add_modes(fields.real.square() + fields.imag.square())


def add_modes(waves: Shaped[Tensor, "batch mode y x"]) -> Shaped[Tensor, "batch y x"]:
    """Sum over modes, (batch, y, x); a single mode is returned as it is, without a copy."""
    return waves[:, 0] if waves.shape[1] == 1 else waves.sum(1)


def beam_ramp(beam_px: Fractions, size: int) -> Complex[Tensor, "batch y x"]:
    """Return the factor on exit waves that moves the patterns over the detector, around the array's middle.

    Args:
        beam_px: Displacement (y, x) of the patterns, detector pixels, (batch, 2).
        size: Edge of the patterns, pixels.
    """
    axis = centred_axis(beam_px, size)
    angle = 2 * torch.pi / size * beam_px[:, :, None] * axis
    ramps = torch.polar(torch.ones_like(angle), angle)
    return ramps[:, 0, :, None] * ramps[:, 1, None, :]


def beam_gradient(patches: ObjectPatches, directions: ObjectPatches) -> Float[Tensor, "batch 2"]:
    """Return the descent direction of every frame's beam, from that of its patch behind `beam_ramp`.

    A ramp turns the wave at r by an angle in proportion to r, so that its part is the imaginary one, weighted by r.

    Args:
        patches: Object patches times the ramp, (batch, y, x).
        directions: Descent directions of these, (batch, y, x).
    """
    size = patches.shape[-1]
    turn = patches.real * directions.imag - patches.imag * directions.real
    axis = 2 * torch.pi / size * centred_axis(turn, size)
    return torch.stack([turn.sum(2) @ axis, turn.sum(1) @ axis], 1)


def centred_axis(like: Tensor, size: int) -> Float[Tensor, " size"]:
    """Return pixel numbers along an axis, 0 in the middle of the array, with number type and device of a tensor."""
    return torch.arange(size, dtype=like.dtype, device=like.device) - size // 2


FAR_FIELD = ForwardModel()
"""The model of a far-field scan."""


def forward_model(size: int, fresnel_number: float | None) -> ForwardModel:
    """Return the model of a geometry.

    Args:
        size: Edge of a pattern, pixels.
        fresnel_number: Of an object pixel, for a near-field scan; None for the far field.
    """
    return FAR_FIELD if fresnel_number is None else ForwardModel(NearField(fresnel_kernel(size, fresnel_number)))
