"""The probe of a round lens with aberrations, as electron microscopes have it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ptypinn.physics.probes import FIELD_OF_VIEW, scale_to_photons
from ptypinn.types import Probe

EDGE_PX = 0.5
"""Standard deviation of the edge of the aperture, pixels of the pupil's grid."""


@dataclass(frozen=True)
class Lens:
    """Aperture and aberrations of a lens (Krivanek, Dellby and Lupini 1999)."""

    semi_angle_rad: float
    """Semi-convergence angle, radians."""
    c10_m: float = 0.0
    """Distance of the sample from the focus, metres, positive where the sample is downstream."""
    c12_m: float = 0.0
    """Astigmatism along the axes, metres: half the distance of both focal lines."""
    c30_m: float = 0.0
    """Spherical aberration, metres."""


def lens_probe(size: int, lens: Lens, pixel_m: float, wavelength_m: float, photons: float = 1.0) -> Probe:
    """Return the field of a lens at the sample, (1, size, size), its middle at `size // 2`.

    The phase of the pupil at an angle a in the direction p is `-2 pi / wavelength * chi`, with
    `chi = C10 a^2 / 2 + C12 a^2 cos(2 p) / 2 + C30 a^4 / 4`.

    Args:
        size: Edge of the array, pixels.
        lens: The lens.
        pixel_m: Object pixel, metres.
        wavelength_m: Wavelength, metres.
        photons: Photons, or electrons, per pattern through vacuum.
    """
    wide = size * FIELD_OF_VIEW
    angles = (torch.arange(wide, dtype=torch.float64) - wide // 2) * wavelength_m / (wide * pixel_m)
    y, x = torch.meshgrid(angles, angles, indexing="ij")
    angle, direction = torch.hypot(y, x), torch.atan2(y, x)
    chi = (lens.c10_m + lens.c12_m * torch.cos(2 * direction)) * angle**2 / 2 + lens.c30_m * angle**4 / 4
    edge = EDGE_PX * wavelength_m / (wide * pixel_m)
    opening = torch.special.ndtr((lens.semi_angle_rad - angle) / edge)
    pupil = torch.polar(opening, -2 * math.pi / wavelength_m * chi)
    field = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(pupil)))
    start = size * (FIELD_OF_VIEW - 1) // 2
    return scale_to_photons(field[start : start + size, start : start + size], photons)
