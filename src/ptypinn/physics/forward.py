"""The forward model and its exact adjoint: interact, propagate, detect.

Solvers, networks and metrics share one `ForwardModel`: object patches and probes in, expected counts out, and from
detector residuals back to patches and probes. What lies between sample and detector is its `Propagator`. A thick sample
is a stack of thin slices with free space between them (multislice; Cowley and Moodie 1957; Maiden, Humphry and
Rodenburg 2012): the wave behind one slice, propagated, illuminates the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ptypinn.physics.interaction import (
    CanvasPatches,
    add_modes,
    detect,
    interact,
    to_probe_directions,
)
from ptypinn.physics.patches import extract_patches, shift_probe
from ptypinn.physics.probe_variation import ProbeVariation, vary_probe
from ptypinn.physics.propagation import (
    FarField,
    NearField,
    Propagator,
    SpectraListener,
    free_space,
    fresnel_kernel,
)
from ptypinn.physics.ramps import Ramps
from ptypinn.types import Corners, Fractions, Patterns, Probe, Probes, Waves

ObjectPatches = Complex[Tensor, "*slice batch y x"]
"""Patches of a thin object, or of the slices of a thick one in the order that the beam meets them."""

Stack = Complex[Tensor, "canvas height width"]
"""Objects on several windows, or the slices of a thick one."""


class Diffraction(NamedTuple):
    """A batch on its way through the model: what the adjoint needs of the forward pass."""

    patches: ObjectPatches | CanvasPatches
    """Object patches, dimensionless transmission."""
    incident: tuple[Probes, ...]
    """Waves that illuminate the slices, sqrt(photons): first the probe modes at the positions."""
    fields: Waves
    """Detector fields, sqrt(photons), FFT order."""
    ramps: Ramps | None = None
    """Fourier factors by which the probes were moved; None where they stand at whole pixels."""
    spectra: Waves | None = None
    """Spectra of the detector fields, which moves of the detector turn; None where moves change no counts."""


@dataclass(frozen=True)
class ForwardModel:
    """Expected counts of illuminated patches, and the exact adjoint of the map to the detector fields."""

    propagator: Propagator = FarField()  # noqa: RUF009 - frozen
    gaps: Complex[Tensor, "gap y x"] | None = None
    """Transfer functions of the gaps between the slices of a thick sample; None for a thin one."""

    @property
    def slices(self) -> int:
        """Number of slices of the sample."""
        return 1 if self.gaps is None else len(self.gaps) + 1

    def to(self, device: torch.device) -> ForwardModel:
        """Return the model on a device."""
        return ForwardModel(self.propagator.to(device), None if self.gaps is None else self.gaps.to(device))

    def cut(self, canvases: Stack, corners: Corners, size: int) -> ObjectPatches:
        """Cut the patches that the probe illuminates, (positions, y, x), or (slice, positions, y, x) of a thick sample.

        Args:
            canvases: Objects, (window, height, width); the slices of one window for a thick sample.
            corners: Integer patch corners (y, x), (window, positions, 2).
            size: Edge of the patches, pixels.
        """
        if self.gaps is None:
            return extract_patches(canvases, corners, size).flatten(0, 1)
        return extract_patches(canvases, corners.expand(self.slices, -1, -1), size)

    def diffract(
        self, patches: ObjectPatches | CanvasPatches, probes: Probes, ramps: Ramps | None = None
    ) -> Diffraction:
        """Illuminate object patches and propagate the exit waves to the detector.

        Args:
            patches: Object patches, (batch, y, x), or (slice, batch, y, x) of a thick sample, dimensionless
                transmission; those of a thin one may stay on their canvas.
            probes: Probe modes, (batch or 1, mode, y, x), sqrt(photons).
            ramps: Fourier factors by which the probes were moved; None for whole pixels.
        """
        incident, last = [probes], patches
        if self.gaps is not None:
            assert isinstance(patches, Tensor)
            *before, last = patches.unbind(0)
            for patch, gap in zip(before, self.gaps, strict=True):
                incident.append(apply_filter(interact(patch, incident[-1]), gap))
        fields, spectra = self.propagator.propagate(interact(last, incident[-1]), ramps)
        return Diffraction(patches, tuple(incident), fields, ramps, spectra)

    def predict_counts(self, patches: ObjectPatches, probes: Probes, ramps: Ramps | None = None) -> Patterns:
        """Return the expected counts of illuminated patches, photons per pixel, (batch, y, x), FFT order."""
        return detect(self.diffract(patches, probes, ramps).fields)

    def predict_vacuum(self, probe: Probe) -> Float[Tensor, "y x"]:
        """Return the expected counts of the probe alone, photons per pixel, (y, x), FFT order."""
        waves = probe[None] if self.gaps is None else apply_filter(probe[None], self.gaps.prod(0))
        return detect(self.propagator.propagate(waves).fields)[0]

    def predict_scan(
        self,
        canvases: Stack,
        probe: Probe,
        corners: Corners,
        fractions: Fractions | None = None,
        beam_px: Fractions | None = None,
        variation: ProbeVariation | None = None,
    ) -> Patterns:
        """Return the expected counts of a scan over one or several canvases: the complete forward model.

        Args:
            canvases: Objects, (window, height, width), dimensionless transmission; the slices of one window for a
                thick sample.
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
        patches = self.cut(canvases, corners, probe.shape[-1])
        patches = patches if beam_px is None else self.turn(patches, beam_ramp(beam_px, probe.shape[-1]))
        probes = probe[None] if variation is None else vary_probe(probe, variation)
        if fractions is None:
            return self.predict_counts(patches, probes)
        ramps = Ramps.of(fractions, probe.shape[-1])
        return self.predict_counts(patches, shift_probe(probes, fractions), ramps)

    def exit_residual(self, diffraction: Diffraction, listener: SpectraListener | None = None) -> Waves:
        """Propagate detector fields, which `weigh_fields` has multiplied by residuals, back to the sample.

        Args:
            diffraction: The forward pass; its fields are overwritten.
            listener: Takes the spectra of the fields where moves of the detector change the counts.
        """
        return self.propagator.adjoint(diffraction.fields, diffraction.ramps, listener)

    def sample_adjoint(
        self, diffraction: Diffraction, waves: Waves, *, with_probe: bool = True
    ) -> tuple[ObjectPatches, Waves]:
        """Return exit-wave residuals as descent directions of the object patches and of the probes.

        Args:
            diffraction: The forward pass, of patches by themselves.
            waves: Exit-wave residuals, (batch, mode, y, x); overwritten.
            with_probe: Return those of the probes; what is in their place otherwise is of no use.

        Returns:
            Directions in the shape of the patches, and those of the probes, (batch, mode, y, x).
        """
        patches = diffraction.patches
        assert isinstance(patches, Tensor)
        if self.gaps is None:
            directions = add_modes(waves * diffraction.incident[0].conj())
            return directions, to_probe_directions(waves, patches) if with_probe else waves
        steps = list[Tensor]()
        for number in reversed(range(self.slices)):
            steps.append(add_modes(waves * diffraction.incident[number].conj()))
            if number or with_probe:
                waves = to_probe_directions(waves, patches[number])
            if number:
                waves = apply_filter(waves, self.gaps[number - 1].conj())
        return torch.stack(steps[::-1]), waves

    @staticmethod
    def turn(patches: ObjectPatches, ramps: Complex[Tensor, "batch y x"]) -> ObjectPatches:
        """Return patches times ramps that move the patterns over the detector: for a thick sample behind it."""
        if patches.ndim == ramps.ndim:
            return patches * ramps
        return torch.cat([patches[:-1], patches[-1:] * ramps])


def apply_filter(waves: Waves, transfer: Complex[Tensor, "y x"]) -> Waves:
    """Return waves after a linear system that multiplies their spectra, such as free space, (batch, mode, y, x)."""
    return torch.fft.ifft2(torch.fft.fft2(waves).mul_(transfer))


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


def forward_model(
    size: int,
    fresnel_number: float | None = None,
    gap_fresnel_numbers: Sequence[float] | None = None,
    sample_tilt: Sequence[float] | None = None,
) -> ForwardModel:
    """Return the model of a geometry.

    Args:
        size: Edge of a pattern, pixels.
        fresnel_number: Of an object pixel, for a near-field scan; None for the far field.
        gap_fresnel_numbers: Of an object pixel over every gap between the slices of a thick sample; None for a thin
            one.
        sample_tilt: Direction (y, x) of the axis along which the slices of a thick sample follow each other against the
            beam: sine of the angle over the wavelength, cycles per object pixel; None for along the beam.
    """
    if fresnel_number is None and gap_fresnel_numbers is None:
        return FAR_FIELD
    propagator = FarField() if fresnel_number is None else NearField(fresnel_kernel(size, fresnel_number))
    if gap_fresnel_numbers is None:
        return ForwardModel(propagator)
    y, x = (0.0, 0.0) if sample_tilt is None else map(float, sample_tilt)
    gaps = [free_space(size, float(number), (-y / number, -x / number)) for number in gap_fresnel_numbers]
    return ForwardModel(propagator, torch.stack(gaps))
