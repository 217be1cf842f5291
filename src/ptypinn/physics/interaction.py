"""Interaction of probe and sample in the projection approximation, and detection; each with its exact adjoint.

Waves are (batch, mode, y, x): incoherent modes of the probe at every position. Patches are cut out already, or are left
where they are on the canvas, which saves a copy of every one. On a CPU, and where no derivatives are asked for, one
compiled loop does each step; elsewhere operations on tensors do.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Complex, Float, Int, Shaped
from torch import Tensor

from ptypinn.physics import kernels
from ptypinn.physics.kernels import as_reals
from ptypinn.physics.patches import add_patches, extract_patches
from ptypinn.types import Object, Patterns, Probes, Waves

ThinPatches = Complex[Tensor, "batch y x"]


class CanvasPatches(NamedTuple):
    """Patches of a thin object that stay where they are on its canvas."""

    canvas: Object
    """Dimensionless transmission."""
    corners: Int[Tensor, "batch 2"]
    """Integer (y, x) of each patch's pixel (0, 0); patches lie inside."""

    def cut(self, size: int) -> ThinPatches:
        """Return the patches by themselves."""
        return extract_patches(self.canvas[None], self.corners[None], size)[0]


def interact(patches: ThinPatches | CanvasPatches, probes: Probes) -> Waves:
    """Return the exit waves behind the sample: probe times object (projection approximation).

    Args:
        patches: Object patches, dimensionless transmission.
        probes: Probe modes, (batch or 1, mode, y, x), sqrt(photons).

    Returns:
        Exit waves, (batch, mode, y, x), sqrt(photons).
    """
    if isinstance(patches, Tensor):
        return patches[:, None] * probes
    canvas, corners = patches
    if not kernels.are_usable(canvas, probes) or canvas.dtype != probes.dtype:
        return interact(patches.cut(probes.shape[-1]), probes)
    waves = probes.new_empty((len(corners), *probes.shape[1:]))
    kernels.illuminate(as_reals(canvas), _array(corners), as_reals(probes), as_reals(waves, writes=True))
    return waves


def add_object_directions(waves: Waves, probes: Probes, corners: Int[Tensor, "batch 2"], total: Object) -> None:
    """Add exit-wave residuals times conjugate probes onto a canvas in place: the adjoint of `interact` in the object.

    Args:
        waves: Exit-wave residuals, (batch, mode, y, x).
        probes: Probe modes that illuminated the patches, (batch or 1, mode, y, x).
        corners: Integer (y, x) of each patch's pixel (0, 0).
        total: The sums.
    """
    if not kernels.are_usable(waves, probes, written=total) or not waves.dtype == probes.dtype == total.dtype:
        add_patches(total[None], add_modes(waves * probes.conj())[None], corners[None])
        return
    kernels.add_illuminated(as_reals(waves), _array(corners), as_reals(probes), as_reals(total, writes=True))


def to_probe_directions(waves: Waves, patches: ThinPatches | CanvasPatches) -> Waves:
    """Multiply exit-wave residuals by conjugate patches in place: the adjoint of `interact` in the probes."""
    if isinstance(patches, Tensor):
        return waves.mul_(patches.conj()[:, None])
    canvas, corners = patches
    if not kernels.are_usable(canvas, written=waves) or canvas.dtype != waves.dtype:
        return to_probe_directions(waves, patches.cut(waves.shape[-1]))
    kernels.multiply_conjugates(as_reals(waves, writes=True), _array(corners), as_reals(canvas))
    return waves


def detect(fields: Waves) -> Patterns:
    """Return the expected counts of detector fields: intensities of incoherent modes add, fields never do.

    Args:
        fields: Detector fields, (batch, mode, y, x), sqrt(photons).

    Returns:
        Expected photons per pixel, (batch, y, x), in the order of the fields.
    """
    if not kernels.are_usable(fields):
        return add_modes(fields.real.square() + fields.imag.square())
    counts = fields.real.new_empty((len(fields), *fields.shape[2:]))
    kernels.sum_intensities(as_reals(fields), as_reals(counts, writes=True))
    return counts


def weigh_fields(fields: Waves, factors: Float[Tensor, "batch y x"]) -> Waves:
    """Multiply detector fields by a real factor per pixel in place.

    With minus the derivative of a loss by the expected counts as the factor this is the adjoint of `detect`.

    Args:
        fields: Detector fields, (batch, mode, y, x), sqrt(photons).
        factors: Factors, (batch, y, x), in the order of the fields.
    """
    if not kernels.are_usable(factors, written=fields) or factors.dtype != fields.real.dtype:
        return fields.mul_(factors[:, None])
    kernels.multiply_modes(as_reals(fields, writes=True), as_reals(factors))
    return fields


def add_modes(waves: Shaped[Tensor, "batch mode y x"]) -> Shaped[Tensor, "batch y x"]:
    """Sum over modes, (batch, y, x); a single mode is returned as it is, without a copy."""
    return waves[:, 0] if waves.shape[1] == 1 else waves.sum(1)


def _array(corners: Int[Tensor, "batch 2"]) -> kernels.Array:
    array: kernels.Array = corners.contiguous().numpy()
    return array
