"""Rotation and hand of a scan against the detector, from the deflection of the beam.

The mean deflection of a beam by a sample is the gradient of its phase, blurred by the beam (Lazic, Bosch and Lazar
2016): a field without curl. Of the wrong hand, or turned, it has one. The rotation is the one that leaves least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ptypinn.data.bright_field import TiltedImages
from ptypinn.data.image_spectra import ImageSpectra, split_quarters
from ptypinn.data.orientation import rotation_matrix

MAX_CURL_RATIO = 0.6
"""Largest curl of one hand over that of the other for which the field shows either."""
MIN_POINTS = 10
"""Fewest points of the grid along an edge."""

Field = Float64[np.ndarray, "2 height width"]
Map = Float64[np.ndarray, "2 2"]


@dataclass(frozen=True)
class Deflection:
    """Orientation under which the deflection has least curl."""

    rotation_deg: float
    """Angle of the scan against the detector, from the y axis to the x axis, -90 to 90 degrees.

    A turn by half a circle changes the sign of the phase, which the field does not settle."""
    rotation_error_deg: float
    """Standard error of the rotation, degrees."""
    is_mirrored: bool
    """True if the scan has the other hand than the detector: one axis flipped, or both exchanged."""
    curl_fraction: float
    """Fraction of the power of the field that is curl."""

    @property
    def turn(self) -> Map:
        """Matrix from directions on the detector to those of the scan, mirrored where the scan is."""
        turn = rotation_matrix(math.radians(self.rotation_deg))
        return turn @ np.diag([1, -1]) if self.is_mirrored else turn


def compute_deflection(tilted: TiltedImages) -> Field:
    """Return the mean position (y, x) of the counts in the bright-field disk at every point, detector pixels."""
    signal = tilted.counts[:, None, None] * (1 + tilted.images)
    return np.tensordot(tilted.tilts_px.T, signal, 1) / np.maximum(signal.sum(0), 1e-9)


def fit_deflection(tilted: TiltedImages) -> Deflection | None:
    """Return the orientation under which the deflection has least curl; None where it shows none.

    Args:
        tilted: Images by parts of the bright-field disk.
    """
    if min(tilted.images.shape[1:]) < MIN_POINTS:
        return None
    field = compute_deflection(tilted)
    spectra = ImageSpectra.of(field, tilted.step_px)
    fits = [(*_fit_rotation(spectra, mirrored), mirrored) for mirrored in (False, True)]
    (angle, curl, is_mirrored), (_, other_curl, _) = sorted(fits, key=lambda fit: fit[1])
    if not curl < MAX_CURL_RATIO * other_curl:
        return None
    error = _estimate_error(field, tilted.step_px, angle, is_mirrored)
    return Deflection(math.degrees(angle), math.degrees(error), is_mirrored, curl)


def _estimate_error(field: Field, step_px: float, angle: float, is_mirrored: bool) -> float:
    """Return the standard error of a rotation, radians, from those that the quarters of the field show."""
    quarters = [ImageSpectra.of(part, step_px) for part in split_quarters(field)]
    angles = np.array([_fit_rotation(spectra, is_mirrored)[0] for spectra in quarters])
    deviations = (angles - angle + math.pi / 2) % math.pi - math.pi / 2
    return float(np.sqrt(np.mean(deviations**2)) / 2)


def _fit_rotation(spectra: ImageSpectra, is_mirrored: bool) -> tuple[float, float]:
    """Return the rotation of least curl, radians, -pi/2 to pi/2, and the fraction of the power that is curl.

    A rotation mixes curl and divergence of a field, so its curl is a quadratic form of cosine and sine.
    """
    y, x = spectra.values[0], -spectra.values[1] if is_mirrored else spectra.values[1]
    length = np.hypot(spectra.frequency_y, spectra.frequency_x)
    along_y, along_x = spectra.frequency_y / length, spectra.frequency_x / length
    parts = np.stack([along_y * x - along_x * y, along_y * y + along_x * x])  # curl, divergence
    powers = (parts @ parts.conj().T).real
    least, directions = np.linalg.eigh(powers)
    cosine, sine = directions[:, 0]
    angle = math.atan2(sine, cosine)
    return (angle + math.pi / 2) % math.pi - math.pi / 2, float(least[0] / max(least.sum(), 1e-300))
