"""Propagation from the sample to the detector: the seam where a new geometry goes in.

A propagator is a linear map of exit waves to detector fields together with its exact adjoint. `ForwardModel` takes any;
solvers, networks and metrics see none of it. A new one is a class here, with the adjoint dot-product test of
`tests/physics/test_propagation.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Complex64, Float, Shaped
from torch import Tensor

from ptypinn.physics.ramps import Ramps
from ptypinn.types import Probe

Fields = Complex[Tensor, "*batch y x"]


class Propagated(NamedTuple):
    """Waves at the detector."""

    fields: Fields
    """Detector fields, sqrt(photons), FFT order."""
    spectra: Fields | None = None
    """Their spectra, which moves of the detector turn; None where moves change no counts."""


SpectraListener = Callable[[Fields], None]
"""Called with the spectra of detector fields on their way back, before these are overwritten."""


@runtime_checkable
class Propagator(Protocol):
    """A linear map from exit waves to detector fields, both (batch, mode, y, x), sqrt(photons), and its adjoint.

    Sub-pixel positions move the probe within its array. The beam stands still, so the detector is moved along with it:
    `ramps` are the Fourier factors of these moves, None for none.
    """

    def to(self, device: torch.device) -> Propagator:
        """Return the propagator on a device."""

    def propagate(self, waves: Fields, ramps: Ramps | None = None) -> Propagated:
        """Return the detector fields of exit waves, and their spectra where moves of the detector change the counts."""

    def adjoint(self, fields: Fields, ramps: Ramps | None = None, listener: SpectraListener | None = None) -> Fields:
        """Return the exit waves to which the adjoint maps detector fields.

        Args:
            fields: Detector fields, FFT order.
            ramps: As in `propagate`.
            listener: Takes the spectra of the fields where `propagate` returns spectra, and is not called elsewhere.
        """


@dataclass(frozen=True)
class FarField:
    """Fraunhofer diffraction. A moved exit wave has the same counts, so that moves of the probe need no care.

    >>> far_field = FarField()
    >>> wave = torch.full((1, 2, 2), 1.0 + 0.0j)
    >>> far_field.propagate(wave).fields.abs().square().sum() == wave.abs().square().sum()  # Parseval
    tensor(True)
    """

    def to(self, device: torch.device) -> FarField:
        """Return the propagator on a device, where it needs nothing."""
        return self

    def propagate(self, waves: Fields, ramps: Ramps | None = None) -> Propagated:
        """Propagate exit waves to the detector."""
        return Propagated(far_field(waves))

    def adjoint(self, fields: Fields, ramps: Ramps | None = None, listener: SpectraListener | None = None) -> Fields:
        """Propagate detector fields back: the adjoint, and the inverse as well."""
        return back_propagate(fields)


@dataclass(frozen=True)
class NearField:
    """Fresnel diffraction over a distance, on the pixels of the object: the shadow of an illuminated patch.

    The factors have unit modulus, so photons are conserved and the adjoint is the inverse.
    """

    kernel: Complex[Tensor, "y x"]
    """Factor on the spectrum of an exit wave, from `fresnel_kernel`."""

    def to(self, device: torch.device) -> NearField:
        """Return the propagator on a device."""
        return NearField(self.kernel.to(device))

    def propagate(self, waves: Fields, ramps: Ramps | None = None) -> Propagated:
        """Propagate exit waves to the detector."""
        spectra = torch.fft.fft2(waves).mul_(self.kernel)
        spectra = spectra if ramps is None else spectra.mul_(ramps.factors().conj()[:, None])
        return Propagated(torch.fft.ifft2(spectra), spectra)

    def adjoint(self, fields: Fields, ramps: Ramps | None = None, listener: SpectraListener | None = None) -> Fields:
        """Propagate detector fields back: the adjoint, and the inverse as well."""
        spectra = torch.fft.fft2(fields)
        if listener is not None:
            listener(spectra)
        spectra = spectra.mul_(self.kernel.conj())
        return torch.fft.ifft2(spectra if ramps is None else spectra.mul_(ramps.factors()[:, None]))


def fresnel_kernel(size: int, fresnel_number: float) -> Complex64[Tensor, "{size} {size}"]:
    """Return the transfer function from the sample to a near-field detector, for detector fields in FFT order.

    That of `free_space`, which moves the middle of the field to the pixel `[0, 0]` as well.

    Args:
        size: Edge of the field, pixels.
        fresnel_number: Of a pixel: its square over wavelength and distance, as in `optics.compute_fresnel_number`.
    """
    middle = float(size // 2)
    return free_space(size, fresnel_number, (-middle, -middle))


def free_space(
    size: int, fresnel_number: float, shift_px: tuple[float, float] = (0.0, 0.0)
) -> Complex64[Tensor, "{size} {size}"]:
    """Return the transfer function of free space, `exp(-i pi lambda z q^2)`.

    Goodman, Introduction to Fourier Optics, eq. 4-21, without the constant phase. Neighbouring values differ by at most
    pi, as sampling demands, where the Fresnel number is at least `1 / size`; light of smaller angles than that limit
    does not wrap around.

    Args:
        size: Edge of the field, pixels.
        fresnel_number: Of a pixel: its square over wavelength and distance, as in `optics.compute_fresnel_number`.
        shift_px: Distance (y, x) by which the field is moved as well, pixels: that of a tilted sample.
    """
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    phases = [-math.pi / fresnel_number * frequency.square() - 2 * math.pi * frequency * shift for shift in shift_px]
    y, x = (torch.polar(torch.ones_like(phase), phase) for phase in phases)
    return (y[:, None] * x).to(torch.complex64)


def measure_coherence(
    probe: Probe,
    depths: Float[Tensor, " slice"],
    ky: Float[Tensor, "ky 1"],
    kx: Float[Tensor, " kx"],
    tilt: tuple[float, float] = (0.0, 0.0),
) -> Complex[Tensor, "slice slice ky kx"]:
    """Return the inner products of what ripples in two slices change behind the sample, 1 for the same slice.

    The angles of the illumination are taken to be Gaussian.

    Args:
        probe: Modes, (mode, y, x).
        depths: Places of the slices along the beam, as inverse Fresnel numbers of a pixel.
        ky: Frequencies of the ripples along y, cycles per pixel.
        kx: The same along x.
        tilt: Direction (y, x) of the axis of the sample against the beam, cycles per pixel.
    """
    power = torch.fft.fft2(probe).abs().square().sum(0).double()
    power, frequency = power / power.sum(), torch.fft.fftfreq(len(power), dtype=torch.float64, device=power.device)
    y, x = power.sum(1), power.sum(0)
    mean_y, mean_x = (y * frequency).sum(), (x * frequency).sum()
    from_y, from_x = frequency - mean_y, frequency - mean_x
    across = from_y @ power @ from_x
    spread = (y * from_y.square()).sum() * ky**2 + (x * from_x.square()).sum() * kx**2 + 2 * across * ky * kx
    phase = torch.pi * (ky**2 + kx**2) + 2 * torch.pi * ((mean_y - tilt[0]) * ky + (mean_x - tilt[1]) * kx)
    distance = (depths[None, :] - depths[:, None])[..., None, None]
    return torch.polar(torch.exp(-2 * torch.pi**2 * distance**2 * spread), distance * phase)


def far_field(waves: Fields) -> Fields:
    """Propagate exit waves to the detector (Fraunhofer), FFT order.

    Orthonormal, so `sum(abs(field)**2) == sum(abs(wave)**2)` (Parseval): the number of photons is conserved.
    Goodman, Introduction to Fourier Optics, eq. 4-25, in pixel units.

    Args:
        waves: Exit waves, (..., y, x), sqrt(photons).
    """
    return torch.fft.fft2(waves, norm="ortho")


def back_propagate(fields: Fields) -> Fields:
    """Propagate detector fields back to the sample: inverse and adjoint of `far_field`.

    Args:
        fields: Detector fields in FFT order, (..., y, x), sqrt(photons).
    """
    return torch.fft.ifft2(fields, norm="ortho")


def to_fft_order(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from the centre `N//2` to `[0, 0]`.

    >>> to_fft_order(torch.tensor([[0, 0], [0, 9]])).tolist()
    [[9, 0], [0, 0]]
    """
    return torch.fft.ifftshift(patterns, dim=(-2, -1))


def to_centred(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from `[0, 0]` to the centre `N//2`."""
    return torch.fft.fftshift(patterns, dim=(-2, -1))
