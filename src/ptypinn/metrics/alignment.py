"""Alignment of an image to a reference: a global phase and, on request, a linear phase ramp and a sub-pixel shift.

Diffraction data leave these undetermined: the global phase always, ramp and shift if the probe was refined.
Amplitudes are never changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex128
from scipy import fft, ndimage

from ptypinn.metrics.image import MIN_EDGE_PX, Image, Mask, bounding_box, soft_window, validate_pair

MARGIN_PX = 16
"""Pixels around the mask that take part in the Fourier shift, so that the edge of the crop stays away from it."""
MAX_REFINEMENTS = 20
MIN_STEP = 1e-4
"""Steps below this many pixels, or radians over the image, are the last: convergence is quadratic."""
MAX_PIXELS_PER_STEP = 100_000

Pair = tuple[float, float]


@dataclass(frozen=True)
class Alignment:
    """An image aligned to a reference, and the removed differences: `image = e^(i (phase + ramp . r)) O(r - shift)`."""

    image: Complex128[np.ndarray, "height width"]
    """The aligned image; meaningful on `mask`."""
    mask: Bool[np.ndarray, "height width"]
    """Pixels to compare: those of the mask that the shift did not bring in from outside it."""
    phase_rad: float
    """Global phase that was added, radians."""
    ramp_rad_per_px: Pair = (0.0, 0.0)
    """Phase ramp (y, x) that was added, radians per pixel."""
    shift_px: Pair = (0.0, 0.0)
    """Displacement (y, x) that was applied, pixels."""


def align(
    image: Image, reference: Image, mask: Mask | None = None, *, ramp: bool = False, shift: bool = False
) -> Alignment:
    """Align an image to a reference by phase, ramp and shift; the amplitude scale is left alone.

    Coarse estimates (the peak of a Fourier transform for the ramp, of a cross-correlation for the shift) are refined
    together by Gauss-Newton steps on the squared distance.

    Args:
        image: The image to align, (height, width).
        reference: Reference image, (height, width).
        mask: Well-illuminated pixels; None for all.
        ramp: Remove a linear phase ramp.
        shift: Remove a shift.

    Raises:
        ValueError: If shapes differ, or the mask holds no pixel.

    >>> truth = np.exp(1j * np.linspace(0, 1, 64)).reshape(8, 8)
    >>> round(align(truth * np.exp(0.25j), truth).phase_rad, 6)
    -0.25
    """
    a, b, region = validate_pair(image, reference, mask)
    slope, offset = (0.0, 0.0), (0.0, 0.0)
    for _ in range(2 if ramp and shift else 1):
        if ramp:
            slope = _coarse_ramp(shift_image(a, offset, region), b, region)
        if shift:
            offset = _coarse_shift(add_ramp(a, slope), b, region)
    if ramp or shift:
        slope, offset = _refine(a, b, region, slope, offset, (ramp, shift))
    shifted = shift_image(add_ramp(a, slope), offset, region)
    common = region & _shift_mask(region, offset)
    common = common if common.any() else region
    phase = float(np.angle(np.vdot(shifted[common], b[common])))
    return Alignment(shifted * np.exp(1j * phase), common, phase, slope, offset)


def add_ramp(image: Image, ramp_rad_per_px: Pair) -> Complex128[np.ndarray, "height width"]:
    """Multiply by `exp(i ramp . r)`, r from the centre of the image, pixels."""
    y, x = _centred_axes(image.shape)
    return image * np.exp(1j * (ramp_rad_per_px[0] * y + ramp_rad_per_px[1] * x))


def shift_image(image: Image, shift_px: Pair, mask: Mask | None = None) -> Complex128[np.ndarray, "height width"]:
    """Shift an image by whole pixels plus a Fourier phase ramp for the rest; vacated pixels take the edge value.

    Args:
        image: The image, (height, width).
        shift_px: Displacement (y, x), pixels.
        mask: Pixels of interest; those further than a margin from it are not changed.
    """
    shifted = image.astype(np.complex128)
    if shift_px == (0.0, 0.0):
        return shifted
    whole = np.round(shift_px)
    box = bounding_box(np.ones(image.shape, bool) if mask is None else mask)
    outer = [
        slice(max(side.start - MARGIN_PX, 0), min(side.stop + MARGIN_PX, n))
        for side, n in zip(box, image.shape, strict=True)
    ]
    sources = [
        np.clip(np.arange(side.start - MARGIN_PX, side.stop + MARGIN_PX) - int(w), 0, n - 1)
        for side, w, n in zip(outer, whole, image.shape, strict=True)
    ]
    crop = _fade_margin(shifted[np.ix_(*sources)])
    spectrum = ndimage.fourier_shift(fft.fft2(crop), tuple(np.asarray(shift_px) - whole))
    shifted[tuple(outer)] = fft.ifft2(spectrum)[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    return shifted


def _fade_margin(field: np.ndarray) -> np.ndarray:
    """Fade the outermost margin of a field to its mean, so that it is periodic without a jump."""
    edge = 0.5 - 0.5 * np.cos(np.pi * (np.arange(MARGIN_PX) + 0.5) / MARGIN_PX)
    rows, columns = (np.concatenate([edge, np.ones(n - 2 * MARGIN_PX), edge[::-1]]) for n in field.shape)
    mean = field.mean()
    return mean + (field - mean) * rows[:, None] * columns


def _coarse_ramp(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> Pair:
    # reference * conj(image) ~ |O|^2 e^(i ramp . r): one peak in Fourier space, however large the ramp
    box = bounding_box(mask)
    product = (np.conj(image) * reference * mask)[box]
    padded = tuple(fft.next_fast_len(2 * n) for n in product.shape)
    peak = np.unravel_index(np.argmax(np.abs(fft.fft2(product, padded))), padded)
    slopes = [2 * np.pi * fft.fftfreq(n)[k] for n, k in zip(padded, peak, strict=True)]
    return float(slopes[0]), float(slopes[1])


def _coarse_shift(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> Pair:
    from skimage.registration import phase_cross_correlation

    window = soft_window(mask, max(MIN_EDGE_PX, 0.1 * min(mask.shape)))
    parts = []
    for field in (reference, image):
        mean = (field * window).sum() / window.sum()
        parts.append(((field - mean) * np.conj(mean / (abs(mean) or 1.0)) * window)[bounding_box(mask)])
    if min(np.abs(part).max() for part in parts) < 1e-9:
        return 0.0, 0.0
    shift, _, _ = phase_cross_correlation(*parts, upsample_factor=10, normalization=None)
    limit = np.array(parts[0].shape) / 2
    return (float(shift[0]), float(shift[1])) if (np.abs(shift) < limit).all() else (0.0, 0.0)


def _refine(
    image: np.ndarray, reference: np.ndarray, mask: np.ndarray, slope: Pair, offset: Pair, free: tuple[bool, bool]
) -> tuple[Pair, Pair]:
    """Gauss-Newton on `||f e^(i ramp . r) O(r - shift) - T||`; the complex factor f is a nuisance, then dropped."""
    best = (np.inf, slope, offset)
    for _ in range(MAX_REFINEMENTS):
        fitted = shift_image(add_ramp(image, slope), offset, mask)
        common = mask & _shift_mask(mask, offset)
        if not common.any():
            break
        factor = np.vdot(fitted[common], reference[common]) / max(np.vdot(fitted[common], fitted[common]).real, 1e-300)
        fitted = fitted * factor
        difference = reference - fitted
        distance = float(np.linalg.norm(difference[common]) / np.linalg.norm(reference[common]))
        if distance >= best[0] * (1 - 1e-9):
            break
        best = (distance, slope, offset)
        step = _gauss_newton_step(fitted, difference, common, free)
        slope = (slope[0] + step[0], slope[1] + step[1])
        offset = (offset[0] + step[2], offset[1] + step[3])
        if max(abs(step[0]) * fitted.shape[0], abs(step[1]) * fitted.shape[1], abs(step[2]), abs(step[3])) < MIN_STEP:
            return slope, offset
    return best[1], best[2]


def _gauss_newton_step(
    fitted: np.ndarray, difference: np.ndarray, mask: np.ndarray, free: tuple[bool, bool]
) -> list[float]:
    """Return the step of (ramp y, ramp x, shift y, shift x), from at most `MAX_PIXELS_PER_STEP` spaced pixels."""
    index = np.flatnonzero(mask)
    index = index[:: 1 + len(index) // MAX_PIXELS_PER_STEP]
    value = fitted.ravel()[index]
    columns = [value, 1j * value]
    if free[0]:
        axes = [np.broadcast_to(axis, fitted.shape).ravel()[index] for axis in _centred_axes(fitted.shape)]
        columns += [1j * axis * value for axis in axes]
    if free[1]:
        columns += [-slope.ravel()[index] for slope in np.gradient(fitted)]
    jacobian = np.stack(columns, 1)
    normal = (jacobian.conj().T @ jacobian).real
    normal += np.diag(1e-12 * normal.diagonal().max() + 1e-9 * normal.diagonal())
    step = np.linalg.solve(normal, (jacobian.conj().T @ difference.ravel()[index]).real)[2:]
    ramp = step[:2].tolist() if free[0] else [0.0, 0.0]
    shift = step[-2:].tolist() if free[1] else [0.0, 0.0]
    return [*ramp, *np.clip(shift, -1, 1).tolist()]


def _shift_mask(mask: np.ndarray, shift_px: Pair) -> np.ndarray:
    whole = [int(np.sign(s) * np.ceil(abs(s) - 1e-6)) for s in shift_px]
    return ndimage.shift(mask.astype(np.uint8), whole, order=0, cval=0).astype(bool)


def _centred_axes(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return y[:, None], x[None, :]
