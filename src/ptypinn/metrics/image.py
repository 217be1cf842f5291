"""Metrics of a complex image against a reference, on a mask, in double precision; masks and windows of all metrics.

`output_vs_truth_ratio` and `complex_error` never fit an amplitude: the absolute scale is part of the comparison.
Phases are compared as wrapped differences, so a jump of a full turn is no error.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Complex128, Float64
from scipy import ndimage

MIN_EDGE_PX = 4.0
"""Narrowest soft edge of a window."""

Image = Complex[np.ndarray, "height width"]
Mask = Bool[np.ndarray, "height width"]
Pair = tuple[Complex128[np.ndarray, "height width"], Complex128[np.ndarray, "height width"], Mask]
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
"""Width and radius of the 11 x 11 Gaussian window of Wang et al. 2004, pixels."""


def validate_pair(image: Image, reference: Image, mask: Mask | None = None) -> Pair:
    """Return both images in complex128, and the mask, all pixels if it is None.

    Raises:
        ValueError: If shapes differ, or the mask holds no pixel.
    """
    if image.shape != reference.shape:
        raise ValueError(f"images of {image.shape} and {reference.shape} pixels cannot be compared")
    mask = np.ones(image.shape, bool) if mask is None else mask
    if mask.shape != image.shape or not mask.any():
        raise ValueError(f"a mask of shape {mask.shape} with {int(mask.sum())} pixels cannot select from {image.shape}")
    return image.astype(np.complex128), reference.astype(np.complex128), mask


def bounding_box(mask: Mask) -> tuple[slice, slice]:
    """Return the smallest rectangle around all pixels of the mask, as slices (y, x)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def soft_window(mask: Mask, edge_px: float) -> Float64[np.ndarray, "height width"]:
    """Return a window: one inside the mask, zero outside, with a raised-cosine edge of `edge_px` inside it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(depth / edge_px, 1.0))


def output_vs_truth_ratio(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Mean amplitude of the image over that of the reference, with no fit of any kind.

    >>> truth = np.ones((4, 4), complex)
    >>> output_vs_truth_ratio(0.5j * truth, truth)
    0.5
    """
    a, b, mask = validate_pair(image, reference, mask)
    return float(np.abs(a[mask]).mean() / np.abs(b[mask]).mean())


def complex_error(image: Image, reference: Image, mask: Mask | None = None, *, fit_factor: bool = False) -> float:
    """Relative distance `||c O - T|| / ||T||` on the mask.

    Args:
        image: The reconstructed object O, (height, width).
        reference: The true object T, (height, width).
        mask: Pixels to compare; None for all.
        fit_factor: False: c is the global phase factor that brings O closest to T. True: c is the complex factor
            that does, which ignores a wrong amplitude scale, as is common in the literature.

    >>> truth = np.ones((4, 4), complex)
    >>> complex_error(0.5j * truth, truth), complex_error(0.5j * truth, truth, fit_factor=True)
    (0.5, 0.0)
    """
    a, b, mask = validate_pair(image, reference, mask)
    a, b = a[mask], b[mask]
    overlap = np.vdot(a, b)
    power = float(np.vdot(a, a).real)
    factor = overlap / max(power, 1e-300) if fit_factor else np.exp(1j * np.angle(overlap))
    return float(np.linalg.norm(factor * a - b) / np.linalg.norm(b))


def object_contrast(image: Image, mask: Mask | None = None) -> float:
    """Fraction of the image that is not uniform, `sqrt(1 - |mean O|^2 / mean |O|^2)` on the mask: 0 if uniform.

    >>> object_contrast(np.array([[1.0, 1j, -1.0, -1j]]))
    1.0
    """
    a, _, mask = validate_pair(image, image, mask)
    power = float((np.abs(a[mask]) ** 2).mean())
    return float(np.sqrt(max(1 - abs(a[mask].mean()) ** 2 / power, 0.0))) if power > 0 else 0.0


def phase_difference(image: Image, reference: Image) -> Float64[np.ndarray, "height width"]:
    """Phase of the image minus that of the reference, wrapped to [-pi, pi], radians."""
    return np.angle(image.astype(np.complex128) * np.conj(reference.astype(np.complex128)))


def amplitude_metrics(image: Image, reference: Image, mask: Mask | None = None) -> dict[str, float]:
    """MAE, RMSE, PSNR, SSIM and Pearson's r of the amplitudes.

    PSNR and SSIM take the span of the reference's amplitude on the mask as the range of the signal. A metric without
    a value, such as the correlation with a constant, is left out.
    """
    a, b, mask = validate_pair(image, reference, mask)
    a, b = np.abs(a), np.abs(b)
    metrics = _error_metrics("amplitude", a - b, b, mask)
    correlation = pearson_r(a[mask], b[mask])
    if correlation is not None:
        metrics["pearson_r_amplitude"] = correlation
    _add_ssim(metrics, "ssim_amplitude", a, b, mask)
    return metrics


def phase_metrics(image: Image, reference: Image, mask: Mask | None = None) -> dict[str, float]:
    """MAE, RMSE, PSNR, SSIM and Pearson's r of the phases, from wrapped differences; align the images first.

    Phases are counted from the reference's mean on the mask, so that its global phase makes no jumps of a full turn.
    """
    a, b, mask = validate_pair(image, reference, mask)
    target = np.angle(b * np.exp(-1j * np.angle(b[mask].mean())))
    difference = phase_difference(a, b)
    metrics = _error_metrics("phase", difference, target, mask)
    correlation = pearson_r((target + difference)[mask], target[mask])
    if correlation is not None:
        metrics["pearson_r_phase"] = correlation
    _add_ssim(metrics, "ssim_phase", target + difference, target, mask)
    return metrics


def pearson_r(a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"]) -> float | None:
    """Return Pearson's correlation, or None if either side is constant to rounding.

    >>> round(pearson_r(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])), 6)
    0.5
    """
    a, b = a - a.mean(), b - b.mean()
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    if min(np.ptp(a), np.ptp(b)) < 1e-6 or scale == 0:
        return None
    return float(np.clip(a @ b / scale, -1, 1))


def structural_similarity(
    image: Float64[np.ndarray, "height width"], reference: Float64[np.ndarray, "height width"], mask: Mask
) -> float | None:
    """Compute the mean SSIM (Wang et al. 2004) over the windows that lie inside the mask.

    Returns:
        The mean, or None if the reference has no contrast on the mask or no window fits.
    """
    from scipy.ndimage import binary_erosion
    from skimage.metrics import structural_similarity as compute_ssim

    span = float(np.ptp(reference[mask]))
    box = bounding_box(mask)
    window = 2 * SSIM_RADIUS + 1
    inside = binary_erosion(mask[box], np.ones((window, window)))
    if span < 1e-6 or not inside.any():
        return None
    _, values = compute_ssim(
        image[box],
        reference[box],
        data_range=span,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return float(values[inside].mean())


def _error_metrics(name: str, difference: np.ndarray, reference: np.ndarray, mask: Mask) -> dict[str, float]:
    error = difference[mask]
    rmse = float(np.sqrt(np.mean(error**2)))
    metrics = {f"{name}_mae": float(np.abs(error).mean()), f"{name}_rmse": rmse}
    span = float(np.ptp(reference[mask]))
    if rmse > 0 and span > 1e-6:
        metrics[f"{name}_psnr"] = float(20 * np.log10(span / rmse))
    return metrics


def _add_ssim(metrics: dict[str, float], name: str, a: np.ndarray, b: np.ndarray, mask: Mask) -> None:
    value = structural_similarity(a, b, mask)
    if value is not None:
        metrics[name] = value
