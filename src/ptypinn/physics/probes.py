"""Simulated probes, each (1, size, size) with `sum(abs(probe)**2) == photons`, centred on pixel `size // 2`.

Spatial frequencies are fractions of the detector's half-width: at 1 the beam reaches the edge of the detector.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float64
from torch import Tensor

from ptypinn.physics.optics import probe_photons
from ptypinn.types import Probe

FIELD_OF_VIEW = 4
"""A focus is computed in a field this many times wider than the probe array, so that its tails do not fold back."""


@dataclass(frozen=True)
class ZonePlate:
    """First-order focus of a Fresnel zone plate, in units of the detector."""

    pupil_radius: float = 0.35
    """Outer radius of the bright-field cone on the detector, as a fraction of the detector's half-width."""
    central_stop: float = 0.4
    """Diameter of the central stop over that of the zone plate."""
    defocus_waves: float = 1.0
    """Quadratic phase at the rim of the pupil: `lambda z q**2 / 2` waves for a sample z upstream of the focus."""
    astigmatism_waves: float = 0.0
    """Astigmatic phase at the rim of the pupil, waves."""
    astigmatism_angle_rad: float = 0.0
    """Direction of the astigmatism, radians from the x axis."""
    osa_radius: float = 1.25
    """Radius of the order-sorting aperture over that of the first-order cone in its plane; below 1 it cuts the cone."""
    edge: float = 0.1
    """Width over which the edges of pupil and aperture are soft, as a fraction of the pupil radius."""


def disk_probe(size: int, radius: float, photons: float = 1.0, edge: float = 1.0) -> Probe:
    """Return an idealised probe: a real, symmetric disk with a soft edge.

    Args:
        size: Edge of the array, pixels.
        radius: Radius at half height of the amplitude, pixels.
        photons: Photons per pattern through vacuum.
        edge: Standard deviation of the edge, pixels.
    """
    return scale_to_photons(_soft_disk(_radius(size), radius, edge), photons)


def gaussian_probe(size: int, fwhm: float, photons: float = 1.0) -> Probe:
    """Return a Gaussian probe with a flat phase.

    Args:
        size: Edge of the array, pixels.
        fwhm: Full width at half maximum of the intensity, pixels.
        photons: Photons per pattern through vacuum.
    """
    sigma = fwhm / (8 * torch.tensor(2.0).log()).sqrt().item()
    return scale_to_photons(torch.exp(-(_radius(size) ** 2) / (4 * sigma**2)), photons)


def add_curvature(probe: Probe, radius: float, phase: float) -> Probe:
    """Add a quadratic phase to a probe: out of focus with the same amplitude.

    Args:
        probe: Modes, (mode, size, size).
        radius: Distance from the centre of the array, pixels.
        phase: Phase at that distance, radians.
    """
    turn = phase * (_radius(probe.shape[-1]) / radius) ** 2
    return probe * torch.polar(torch.ones_like(turn), turn).to(probe.dtype)


def zone_plate_probe(size: int, optics: ZonePlate, photons: float = 1.0) -> Probe:
    """Return the field of a Fresnel zone plate at the sample: an annular pupil with aberrations, Fourier transformed.

    The order-sorting aperture lies so far from the focus that it acts as a second aperture on the same cone.
    Attwood and Sakdinawat, X-Rays and Extreme Ultraviolet Radiation (2017), chapter 10.

    Args:
        size: Edge of the array, pixels.
        optics: The zone plate and its aberrations.
        photons: Photons per pattern through vacuum.
    """
    pupil = zone_plate_pupil(size * FIELD_OF_VIEW, optics)
    field = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(pupil)))
    start = size * (FIELD_OF_VIEW - 1) // 2
    return scale_to_photons(field[start : start + size, start : start + size], photons)


def zone_plate_pupil(size: int, optics: ZonePlate) -> Tensor:
    """Return the complex pupil of a zone plate over the detector, (size, size), zero frequency at `size // 2`."""
    y, x = _axes(size)
    y, x = y / (size / 2 * optics.pupil_radius), x / (size / 2 * optics.pupil_radius)
    radius, angle = torch.hypot(y, x), torch.atan2(y, x) - optics.astigmatism_angle_rad
    opening = _soft_disk(radius, 1.0, optics.edge / 2) * _soft_disk(radius, optics.osa_radius, optics.edge / 2)
    if optics.central_stop > 0:
        opening = opening * (1 - _soft_disk(radius, optics.central_stop, optics.edge / 2))
    waves = optics.defocus_waves + optics.astigmatism_waves * torch.cos(2 * angle)
    return torch.polar(opening, 2 * torch.pi * waves * radius**2)


def defocus_to_waves(distance_m: float, wavelength_m: float, outermost_zone_m: float) -> float:
    """Return the defocus at the rim of a zone plate's pupil, `q = 1/(2 dr)`: `-lambda z / (8 dr**2)` waves.

    A plane wave of spatial frequency q advances by `exp(-i pi lambda z q**2)` over a distance z beside the axis.

    Args:
        distance_m: Focus to sample, metres; positive where the sample is downstream.
        wavelength_m: Wavelength, metres.
        outermost_zone_m: Width dr of the outermost zone, metres.
    """
    return -wavelength_m * distance_m / (8 * outermost_zone_m**2)


def defocus_to_distance(waves: float, wavelength_m: float, outermost_zone_m: float) -> float:
    """Return the distance from focus to sample, metres, positive downstream: the inverse of `defocus_to_waves`."""
    return -waves * 8 * outermost_zone_m**2 / wavelength_m


def compute_pupil_radius(outermost_zone_m: float, pixel_size_m: float) -> float:
    """Return the pupil radius on the detector as a fraction of its half-width: `q = 1/(2 dr)` over `1/(2 pixel)`."""
    return pixel_size_m / outermost_zone_m


def incoherent_modes(probe: Complex[Tensor, "1 y x"], fractions: tuple[float, ...]) -> Probe:
    """Return orthogonal modes of a probe of a finite source: the field and its derivatives, orthonormalised.

    A source point beside the axis shifts the probe, and a Taylor series in the shift spans the field, its first
    derivatives, its second and so on. They stay within the cone of the field on the detector.
    Thibault and Menzel, Nature 494 (2013) 68.

    Args:
        probe: A single mode, (1, y, x), sqrt(photons).
        fractions: Fraction of the power in every mode; scaled to a sum of 1.

    Returns:
        Modes, (len(fractions), y, x), with the power of `probe` in all.
    """
    size, spectrum = probe.shape[-1], torch.fft.fft2(probe[0].to(torch.complex128), norm="ortho")
    q, weight = torch.fft.fftfreq(size, dtype=torch.float64), spectrum.abs().square()
    y, x = (_standardised(axis.expand(size, size), weight) for axis in (q[:, None], q))
    degrees = [(total - j, j) for total in range(len(fractions)) for j in range(total + 1)][: len(fractions)]
    functions = torch.stack([(spectrum * x**i * y**j).flatten() for i, j in degrees], -1)
    orthogonal, triangle = torch.linalg.qr(functions)
    orthogonal = orthogonal * (triangle.diagonal() / triangle.diagonal().abs())
    weights = torch.tensor(fractions, dtype=torch.float64)
    scale = (weights / weights.sum() * probe_photons(probe)).sqrt()
    return torch.fft.ifft2((orthogonal * scale).T.reshape(-1, size, size), norm="ortho").to(torch.complex64)


def scale_to_photons(field: Tensor, photons: float) -> Probe:
    """Scale a field (y, x) or modes (mode, y, x) to photons per pattern; complex64."""
    modes = (field if field.ndim == 3 else field[None]).to(torch.complex128)
    return (modes * (photons / probe_photons(modes)).sqrt()).to(torch.complex64)


def _axes(size: int) -> tuple[Float64[Tensor, "y 1"], Float64[Tensor, " x"]]:
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    return axis[:, None], axis


def _radius(size: int) -> Float64[Tensor, "y x"]:
    return torch.hypot(*_axes(size))


def _soft_disk(radius: Tensor, edge_at: float, softness: float) -> Tensor:
    return 0.5 * torch.erfc((radius - edge_at) / (softness * 2**0.5))


def _standardised(axis: Tensor, weight: Tensor) -> Tensor:
    weight = weight / weight.sum()
    centred = axis - (weight * axis).sum()
    # Beyond the cone there is only what the array's edges scatter; without a bound the polynomials would amplify it.
    return (centred / (weight * centred.square()).sum().sqrt()).clamp(-2.5, 2.5)
