"""Unknowns of a solve (object, probe, positions, flux, background), their vector arithmetic, operations on modes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.probe_variation import Images
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.types import Fractions, Probe, Sample, Scalar

Background = Float[Tensor, "y x"]


@dataclass(frozen=True)
class Unknowns:
    """A point (or a direction) in the space of all unknowns; blocks that are not solved for are None."""

    object: Sample | Float[Tensor, "slice height width"]
    """Transmission on the canvas, of every slice where the sample is thick; or the phases of slices, radians."""
    probe: Probe | None = None
    """Incoherent modes, sqrt(photons)."""
    shifts: Float[Tensor, "positions 2"] | None = None
    """Sub-pixel shift (y, x) of every position from its integer corner, pixels."""
    log_flux: Float[Tensor, " positions"] | None = None
    """Natural logarithm of the flux of every frame, relative to that of the scan."""
    background: Background | None = None
    """Counts per pixel that every frame has beside the diffraction, (y, x), FFT order."""
    beam_px: Float[Tensor, "positions 2"] | None = None
    """Displacement (y, x) of every pattern on the detector, detector pixels; its mean is held."""
    variation: Images | None = None
    """Images that every frame adds to the modes of the probe, sqrt(photons)."""

    @property
    def blocks(self) -> tuple[Tensor | None, ...]:
        """All blocks in the order of the fields."""
        return self.object, self.probe, self.shifts, self.log_flux, self.background, self.beam_px, self.variation

    def dot(self, other: Unknowns) -> Float64[Tensor, ""]:
        """Real inner product over all blocks."""
        ours, theirs = ([block for block in point.blocks if block is not None] for point in (self, other))
        pairs = zip(ours, theirs, strict=True)
        total = self.object.real.new_zeros((), dtype=torch.float64)
        return sum((torch.vdot(a.reshape(-1), b.reshape(-1)).real.double() for a, b in pairs), total)

    def plus(self, other: Unknowns, factor: Scalar = 1.0) -> Unknowns:
        """`self + factor * other`."""
        pairs = zip(self.blocks[1:], other.blocks[1:], strict=True)
        optional = (None if a is None or b is None else _add_scaled(a, b, factor) for a, b in pairs)
        return Unknowns(_add_scaled(self.object, other.object, factor), *optional)

    def minus(self, other: Unknowns) -> Unknowns:
        """`self - other`."""
        return self.plus(other, -1.0)

    def scaled(self, factor: Scalar) -> Unknowns:
        """`factor * self`."""
        return Unknowns(self.object * factor, *(None if a is None else a * factor for a in self.blocks[1:]))


def _add_scaled(first: Tensor, second: Tensor, factor: Scalar) -> Tensor:
    """Return `first + factor * second`, without waiting for a factor that a device is still computing."""
    if isinstance(factor, Tensor) and factor.device.type != "cpu":
        return torch.addcmul(first, second, factor)
    return torch.add(first, second, alpha=float(factor))


NEW_MODE_FRACTION = 0.02
"""Fraction of the power that each added mode starts with."""


def extend_modes(probe: Probe, count: int) -> Complex[Tensor, "count y x"]:
    """Add modes until there are `count`: the first mode times low-order polynomials, made orthogonal; same total power.

    Args:
        probe: Modes, (mode, y, x), sqrt(photons).
        count: Number of modes in the result; with fewer than there are, the strongest remain.

    >>> probe = torch.ones(1, 8, 8, dtype=torch.complex64)
    >>> extended = extend_modes(probe, 3)
    >>> len(extended), round(float(probe_photons(extended)), 3)
    (3, 64.0)
    """
    total, probe = probe_photons(probe), orthogonalise_modes(probe)[:count]
    size = probe.shape[-1]
    axis = torch.linspace(-1, 1, size, device=probe.device)
    orders = [(a, n - a) for n in range(1, count + 1) for a in range(n + 1)]
    extra = [probe[0] * axis[:, None] ** a * axis**b for a, b in orders[: count - len(probe)]]
    if extra:
        flat = torch.cat([probe, torch.stack(extra)]).flatten(1)
        basis = torch.linalg.qr(flat.T)[0].T[len(probe) :].reshape(-1, size, size)
        amplitude = torch.sqrt(NEW_MODE_FRACTION * total).float()
        probe = torch.cat([probe, basis * amplitude])
    return probe * torch.sqrt(total / probe_photons(probe)).float()


def mix_variation(
    images: Images, probe: Probe, mixed: Complex[Tensor, "mixed y x"]
) -> Complex[Tensor, "order mixed y x"]:
    """Return the images that frames add to mixtures of modes, such as orthogonal ones; nothing to modes that are new.

    Args:
        images: Images that frames add to the modes.
        probe: The modes.
        mixed: Mixtures of these, and new ones.
    """
    mixture = torch.linalg.lstsq(probe.flatten(1).T, mixed.flatten(1).T).solution.T
    return torch.einsum("nm,kmyx->knyx", mixture, images)


def orthogonalise_modes(probe: Probe) -> Probe:
    """Return orthogonal modes with the same incoherent sum, strongest first (singular value decomposition)."""
    flat = probe.flatten(1)
    _, strengths, modes = torch.linalg.svd(flat, full_matrices=False)
    mixed = (strengths[:, None] * modes).reshape(probe.shape)
    overlap = (mixed * probe[:1].conj()).sum((1, 2))
    return mixed * torch.exp(-1j * overlap.angle())[:, None, None]


def scale_to_power(point: Unknowns, photons: float) -> Unknowns:
    """Scale the probe, with its variation, to a power, photons over all modes; the object stays."""
    if point.probe is None:
        return point
    factor = torch.sqrt(photons / probe_photons(point.probe)).float()
    variation = None if point.variation is None else point.variation * factor
    return replace(point, probe=point.probe * factor, variation=variation)


def rescale_pair(point: Unknowns, photons: float) -> Unknowns:
    """Scale the probe to its known power and the object inversely: `(c P, O / c)` predicts the same counts.

    The slices of a thick sample share the factor: their product takes it once.
    """
    if point.probe is None:
        return point
    scaled = scale_to_power(point, photons)
    factor = float(torch.sqrt(photons / probe_photons(point.probe)))
    if point.object.ndim == 3:
        factor = factor ** (1 / len(point.object))
    return replace(scaled, object=point.object / factor)


def centre_flux(point: Unknowns, part: CanvasPart = WHOLE) -> Unknowns:
    """Scale the flux to a mean of 1 over the frames and the object to compensate: the counts stay the same.

    Slices of a thick sample have even shares.

    Args:
        point: The point.
        part: Rows of the canvas that it has.

    >>> point = centre_flux(Unknowns(torch.ones(1, 1) + 0j, log_flux=torch.full((2,), 4.0).log()))
    >>> point.log_flux.tolist(), point.object.real.tolist()
    ([0.0, 0.0], [[2.0]])
    """
    if point.log_flux is None:
        return point
    mean = part.mean(point.log_flux.double().exp())
    slices = len(point.object) if point.object.ndim == 3 else 1
    canvas = point.object * (mean ** (0.5 / slices)).float()
    return replace(point, object=canvas, log_flux=point.log_flux - mean.log().float())


def start_frames(
    terms: FrameTerms, zeros: Float[Tensor, " positions"]
) -> tuple[Float[Tensor, " positions"], Fractions]:
    """Return the logarithm of the flux of every frame, and its beam, detector pixels: those of a scan, 0 without.

    Args:
        terms: Terms of the scan.
        zeros: A zero for every frame.
    """
    log_flux = zeros if terms.flux is None else terms.flux.log()
    return log_flux, torch.stack([zeros, zeros], 1) if terms.beam_px is None else terms.beam_px


def frames_to_host(point: Unknowns) -> dict[str, Any]:
    """Return flux, background and beam of a point as arrays, under the names that results have for them."""
    flux = None if point.log_flux is None else point.log_flux.double().exp()
    return {
        "flux": None if flux is None else (flux / flux.mean()).cpu().numpy(),
        "background": None if point.background is None else to_centred(point.background).cpu().numpy(),
        "beam_px": None if point.beam_px is None else point.beam_px.double().cpu().numpy(),
    }
