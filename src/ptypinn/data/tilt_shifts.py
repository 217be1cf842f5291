"""Defocus, astigmatism and rotation from the shifts of tilted bright-field images.

A beam of another tilt sees the sample through another part of the lens, whose aberrations shift its image by their
gradient: a linear map from tilt to shift, for defocus and astigmatism (parallax; Spoth et al. 2017; Varnavides et al.
2023). The symmetric part of the map is that of the aberrations, the rest a rotation of the scan against the detector.
The map is the one under which the images, shifted back, add up to most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ptypinn.data.bright_field import TiltedImages
from ptypinn.data.image_spectra import ImageSpectra, split_quarters
from ptypinn.data.orientation import rotation_matrix

COARSE_FREQUENCY = 0.2
"""Largest frequency on the coarse search, over that of the grid's points."""
SIZES, ANGLES = 24, 24
"""Lengths and angles of the map on the coarse search."""
MAX_SHIFT = 0.5
"""Largest shift at the rim of the disk that is looked for, over the edge of the image."""
MIN_CONTRAST = 6.0
"""Excess of the best map over all on the coarse search, in standard deviations, from which it is not due to chance."""
MIN_POINTS = 10
"""Fewest points of the grid along an edge."""
FIRST_STEP = 0.1
"""First steps of the entries of the map, over its largest stretch."""
SYSTEMATIC, NEAR_FOCUS = 0.03, 0.15
"""Error of the defocus, relative to it, beside that of noise, and a further one over the cube of its waves at the rim
of the disk: near the focus the contrast of phases moves images as well."""
MIN_WAVES = 1.0
"""Smallest defocus, waves at the rim of the disk: nearer to the focus, the contrast of phases moves images as well."""

Map = Float64[np.ndarray, "2 2"]


@dataclass(frozen=True)
class TiltShifts:
    """The linear map from the tilt of the beam to the shift of its image."""

    matrix: Map
    """Shift (y, x), object pixels, per tilt (y, x), detector pixels."""
    error: float
    """Standard error of its entries by noise."""
    waves: float
    """Defocus, waves at the rim of the disk."""

    @property
    def is_mirrored(self) -> bool:
        """True if the scan has the other hand than the detector: one axis flipped, or both exchanged."""
        return bool(np.linalg.det(self.matrix) < 0)

    @property
    def rotation_deg(self) -> float:
        """Angle of the scan against the detector, from the y axis to the x axis, -90 to 90 degrees.

        A turn by half a circle is that of a defocus of the other sign.
        """
        turn = self._rotation
        angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
        return (angle + 90) % 180 - 90

    @property
    def rotation_error_deg(self) -> float:
        """Standard error of the rotation, degrees."""
        return math.degrees(self.error / max(abs(self.defocus), 1e-12))

    @property
    def defocus(self) -> float:
        """Mean shift per tilt, object pixels per detector pixel; positive where the image moves along with the tilt."""
        return float(np.trace(self._aberrations) / 2)

    @property
    def defocus_error(self) -> float:
        """Standard error of the defocus."""
        return math.hypot(self.error, (SYSTEMATIC + NEAR_FOCUS / self.waves**3) * self.defocus)

    @property
    def astigmatism(self) -> float:
        """Half the difference of the shifts along both principal axes."""
        values = np.linalg.eigvalsh(self._aberrations)
        return float(abs(values[1] - values[0]) / 2)

    @property
    def turn(self) -> Map:
        """Matrix from directions on the detector to those of the scan, mirrored where the scan is."""
        return self._rotation @ np.diag([1, -1]) if self.is_mirrored else self._rotation

    @property
    def _rotation(self) -> Map:
        """The nearest rotation within a quarter turn of none, mirrored where the scan is."""
        left, _, right = np.linalg.svd(self.matrix)
        turn = left @ right
        turn = turn @ np.diag([1, -1]) if np.linalg.det(turn) < 0 else turn
        return turn if turn[0, 0] >= 0 else -turn

    @property
    def _aberrations(self) -> Map:
        mirrored = self.matrix @ np.diag([1, -1]) if self.is_mirrored else self.matrix
        symmetric = self._rotation.T @ mirrored
        return (symmetric + symmetric.T) / 2


def fit_tilt_shifts(tilted: TiltedImages, radius_px: float, size: int) -> TiltShifts | None:
    """Return the map from tilts to shifts; None where the images show none, as near the focus or of too few positions.

    Args:
        tilted: Images by parts of the bright-field disk.
        radius_px: Radius of the disk, detector pixels.
        size: Edge N of a pattern, pixels.
    """
    edge = min(tilted.images.shape[1:])
    if edge < MIN_POINTS:
        return None
    spectra, tilts = ImageSpectra.of(tilted.images, tilted.step_px), tilted.tilts_px
    reach = MAX_SHIFT * edge * tilted.step_px / float(np.abs(tilts).max())
    start, contrast = _search(spectra.below(COARSE_FREQUENCY / tilted.step_px), tilts, reach)
    if contrast < MIN_CONTRAST:
        return None
    matrix = _refine(spectra, tilts, start)
    waves = float(np.linalg.norm(matrix, 2)) * radius_px**2 / (2 * size)
    if waves < MIN_WAVES:
        return None
    quarters = [_refine(ImageSpectra.of(part, tilted.step_px), tilts, matrix) for part in split_quarters(tilted.images)]
    halves = [_refine(spectra.half(number), tilts, matrix) for number in (0, 1)]
    by_place = float(np.sqrt(np.mean((np.array(quarters) - matrix) ** 2))) / 2
    by_component = float(np.abs(halves[1] - halves[0]).max()) / 2
    return TiltShifts(matrix, max(by_place, by_component), waves)


Tilts = Float64[np.ndarray, "part 2"]


def _sum_power(spectra: ImageSpectra, tilts: Tilts, matrix: Map) -> float:
    """Return the power of the sum of all images, shifted back by a map, over that of as many equal ones."""
    shifts = tilts @ matrix.T
    phase = shifts[:, :1] * spectra.frequency_y + shifts[:, 1:] * spectra.frequency_x
    total = (spectra.values * np.exp(2j * np.pi * phase)).sum(0)
    return float((np.abs(total) ** 2).sum() / max((np.abs(spectra.values) ** 2).sum() * len(tilts), 1e-300))


def _search(spectra: ImageSpectra, tilts: Tilts, reach: float) -> tuple[Map, float]:
    """Return the best of many rotations and lengths, of either hand, and its excess over all in standard deviations."""
    maps = [
        size * rotation_matrix(angle) @ np.diag([1, hand])
        for hand in (1, -1)
        for size in np.linspace(0, reach, SIZES + 1)[1:]
        for angle in np.arange(ANGLES) * 2 * math.pi / ANGLES
    ]
    powers = np.array([_sum_power(spectra, tilts, matrix) for matrix in maps])
    spread = float(powers.std())
    return maps[int(powers.argmax())], float((powers.max() - np.median(powers)) / spread) if spread > 0 else 0.0


def _refine(spectra: ImageSpectra, tilts: Tilts, start: Map) -> Map:
    """Return the map of most power from one nearby; the first steps are of one size in all entries, 0 or not."""
    from scipy.optimize import minimize

    first = start.ravel() + FIRST_STEP * np.linalg.norm(start, 2) * np.vstack([np.zeros(4), np.eye(4)])
    result = minimize(
        lambda values: -_sum_power(spectra, tilts, values.reshape(2, 2)),
        start.ravel(),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 800, "initial_simplex": first},
    )
    return np.asarray(result.x).reshape(2, 2)
