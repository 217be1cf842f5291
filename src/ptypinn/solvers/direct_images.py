"""Pictures of an electron scan without solving anything: bright field, the same with tilts corrected, and phase.

The images that parts of the bright-field disk make, shifted back, add up on a grid finer than the scan's, as shifts
differ by fractions of its step (tilt-corrected bright field; Yu et al. 2024). The mean deflection of the beam is the
slope of the phase, which is integrated (integrated differential phase contrast; Lazic, Bosch and Lazar 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from ptypinn.data.bright_field import TiltedImages
from ptypinn.data.deflection import compute_deflection
from ptypinn.data.tilt_shifts import TiltShifts
from ptypinn.solvers.quasi_newton.initial_object import integrate_slopes

FINER = 3
"""Points of the corrected image along an edge, over those of the scan."""
SMOOTHING = 0.7
"""Standard deviation of the Gaussian over which the corrected image is averaged, of its points."""

Image = Float64[np.ndarray, "height width"]
FineImage = Float64[np.ndarray, "fine_height fine_width"]


@dataclass(frozen=True)
class DirectImages:
    """Pictures on grids of scan positions."""

    bright_field: Image
    """Counts of the bright-field disk over their mean."""
    tilt_corrected: FineImage | None
    """The same with the shifts of tilted images undone; None where they show none."""
    phase: Image
    """Phase of the sample, radians, of mean 0, blurred by the beam; slow changes are not determined."""
    step_px: float
    """Step of `bright_field` and `phase`, object pixels."""
    fine_step_px: float
    """Step of `tilt_corrected`, object pixels."""


def form_direct_images(
    tilted: TiltedImages, shifts: TiltShifts | None, turn: Float64[np.ndarray, "2 2"] | None, size: int
) -> DirectImages:
    """Return the pictures of a scan.

    Args:
        tilted: Images by parts of its bright-field disk.
        shifts: Their shifts; None where they show none.
        turn: Matrix from directions on the detector to those of the scan; None where unknown.
        size: Edge N of a pattern, pixels.
    """
    weights = tilted.counts / tilted.counts.sum()
    bright_field = 1 + np.tensordot(weights, tilted.images, 1)
    corrected = None if shifts is None else _add_shifted_back(tilted, shifts)
    phase = _integrate_deflection(tilted, np.eye(2) if turn is None else turn, size)
    return DirectImages(bright_field, corrected, phase, tilted.step_px, tilted.step_px / FINER)


def _add_shifted_back(tilted: TiltedImages, shifts: TiltShifts) -> FineImage:
    """Return the mean of all images, each shifted back, on a finer grid."""
    from scipy.ndimage import gaussian_filter

    _, height, width = tilted.images.shape
    fine_height, fine_width = FINER * height, FINER * width
    rows, columns = np.mgrid[:height, :width]
    total, number = np.zeros((2, fine_height * fine_width))
    for image, shift in zip(tilted.images, tilted.tilts_px @ shifts.matrix.T / tilted.step_px, strict=True):
        y, x = np.rint(FINER * (rows - shift[0])).astype(int), np.rint(FINER * (columns - shift[1])).astype(int)
        inside = (y >= 0) & (y < fine_height) & (x >= 0) & (x < fine_width)
        place = (y * fine_width + x)[inside]
        total += np.bincount(place, image[inside], len(total))
        number += np.bincount(place, minlength=len(total))
    smooth = [gaussian_filter(values.reshape(fine_height, fine_width), SMOOTHING) for values in (total, number)]
    return 1 + np.divide(smooth[0], smooth[1], out=np.zeros_like(smooth[0]), where=smooth[1] > 1e-3)


def _integrate_deflection(tilted: TiltedImages, turn: Float64[np.ndarray, "2 2"], size: int) -> Image:
    """Return the phase whose slopes are the deflections of the beam."""
    deflection = compute_deflection(tilted)
    slopes = 2 * np.pi / size * np.tensordot(turn, deflection, 1)
    slopes = (slopes - slopes.mean((1, 2), keepdims=True)) * tilted.step_px
    phase = integrate_slopes(*(torch.from_numpy(slope) for slope in slopes)).numpy()
    return np.asarray(phase - phase.mean(), np.float64)
