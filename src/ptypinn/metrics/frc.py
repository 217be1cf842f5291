"""Fourier ring correlation and the resolution from it (van Heel & Schatz, J. Struct. Biol. 151, 2005)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy import fft

from ptypinn.metrics.image import MIN_EDGE_PX, Image, Mask, bounding_box, soft_window, validate_pair

NYQUIST_PX = 2.0
"""Finest period that the pixels resolve."""
MIN_RING_PIXELS = 20
"""Independent Fourier pixels that the first rings are pooled to. Of the first ring alone, with one or a few, the
half-bit threshold is near 1, and no pair of images reaches it for sure."""
MIN_RINGS_BELOW = 2
"""Consecutive rings below a threshold that end the resolution: one alone may be an accident."""
Curve = Float64[np.ndarray, " ring"]


@dataclass(frozen=True)
class RingCorrelation:
    """A Fourier ring correlation curve and its crossings with the thresholds.

    Resolutions are full periods, pixels; 2 px is the Nyquist limit, reported if the curve never falls below.
    """

    frequency: Curve
    """Spatial frequency of each ring, cycles per pixel."""
    correlation: Curve
    """Correlation of the two images on each ring, in [-1, 1]; the first ones, of few pixels, are taken together."""
    half_bit: Curve
    """Half-bit threshold on each ring."""
    half_bit_px: float
    """Resolution by the half-bit criterion, pixels."""
    half_px: float
    """Resolution by the fixed threshold 0.5, pixels."""
    half_bit_reaches_nyquist: bool
    """The curve stays above the half-bit threshold up to the Nyquist frequency: the pixel limits, not the data."""
    half_reaches_nyquist: bool
    """The curve stays above 0.5 up to the Nyquist frequency."""


def fourier_ring_correlation(
    image: Image, reference: Image, mask: Mask | None = None, *, edge_fraction: float = 0.15
) -> RingCorrelation:
    """Correlate two complex images ring by ring in Fourier space.

    Their means are subtracted, and both are multiplied by one window with a raised-cosine edge on the mask, so that
    neither the outline nor the uniform background correlates.

    Args:
        image: First image, aligned to the second, (height, width).
        reference: Second image, (height, width).
        mask: The region that both have in common; None for all.
        edge_fraction: Width of the soft edge over the shorter side of the region.

    Raises:
        ValueError: If the region is narrower than 8 pixels.

    >>> image = np.random.default_rng(0).normal(size=(32, 32)) * (1 + 0j)
    >>> fourier_ring_correlation(image, image).half_bit_px
    2.0
    """
    a, b, region = validate_pair(image, reference, mask)
    box = bounding_box(region)
    a, b, region = a[box], b[box], region[box]
    if min(region.shape) < 8:
        raise ValueError(f"a region of {region.shape} pixels is too small for a ring correlation")
    window = soft_window(region, max(MIN_EDGE_PX, edge_fraction * min(region.shape)))
    first, second = (fft.fft2((field - (field * window).sum() / window.sum()) * window) for field in (a, b))
    ring, frequency = _rings(region.shape)
    images = ((first * np.conj(second)).real, np.abs(first) ** 2, np.abs(second) ** 2, np.ones(ring.shape))
    cross, *powers, pixels = (_ring_sums(ring, image, len(frequency))[1:] for image in images)
    pixels = pixels * _independent_fraction(window)
    cross, powers[0], powers[1], pixels = _pool_first_rings(pixels, cross, *powers, pixels)
    product = powers[0] * powers[1]
    correlation = np.clip(cross / np.sqrt(np.where(product > 0, product, np.inf)), -1, 1)
    return _summary(frequency[1:], correlation, half_bit_threshold(pixels))


def half_bit_threshold(pixels: Curve) -> Curve:
    """Return the half-bit threshold `(0.2071 + 1.9102 / sqrt n) / (1.2071 + 0.9102 / sqrt n)` (eq. 17).

    Args:
        pixels: Independent Fourier pixels n on each ring.

    >>> half_bit_threshold(np.array([1.0, 100.0])).round(3).tolist()
    [1.0, 0.307]
    """
    root = 1 / np.sqrt(np.maximum(pixels, 1.0))
    return (0.2071 + 1.9102 * root) / (1.2071 + 0.9102 * root)


def _rings(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    # rings as wide as the coarser frequency step, so that none is empty; the corners beyond Nyquist are one last ring
    count = min(shape) // 2
    qy, qx = (fft.fftfreq(n) for n in shape)
    ring = np.minimum(np.round(np.hypot(qy[:, None], qx[None]) * 2 * count).astype(int), count + 1)
    return ring, np.arange(count + 1) / (2 * count)


def _ring_sums(ring: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(ring.ravel(), values.ravel(), count + 1)[:count]


def _pool_first_rings(pixels: Curve, *sums: Curve) -> list[Curve]:
    """Return sums over rings, those of the first ones over all of them, as far as they take to have enough pixels."""
    count = 1 + int(np.searchsorted(np.cumsum(pixels), MIN_RING_PIXELS))
    return [np.concatenate([np.full(len(values[:count]), values[:count].sum()), values[count:]]) for values in sums]


def _independent_fraction(window: np.ndarray) -> float:
    """Return the fraction of Fourier pixels that stay independent in windowed images."""
    return float((window**2).sum() ** 2 / (window.size * (window**4).sum()))


def _summary(frequency: np.ndarray, correlation: np.ndarray, half_bit: np.ndarray) -> RingCorrelation:
    half_bit_q = _first_crossing(frequency, correlation - half_bit)
    half_q = _first_crossing(frequency, correlation - 0.5)
    return RingCorrelation(
        frequency=frequency,
        correlation=correlation,
        half_bit=half_bit,
        half_bit_px=NYQUIST_PX if half_bit_q is None else 1 / half_bit_q,
        half_px=NYQUIST_PX if half_q is None else 1 / half_q,
        half_bit_reaches_nyquist=half_bit_q is None,
        half_reaches_nyquist=half_q is None,
    )


def _first_crossing(frequency: np.ndarray, excess: np.ndarray) -> float | None:
    """Return the frequency from which the excess stays below zero, between rings, or that of the first ring."""
    falls = np.append(excess < -1e-9, np.full(MIN_RINGS_BELOW - 1, excess[-1] < -1e-9))
    below = np.flatnonzero(np.logical_and.reduce([falls[k : k + len(excess)] for k in range(MIN_RINGS_BELOW)]))
    if not below.size:
        return None
    k = int(below[0])
    if k == 0:
        return float(frequency[0])
    before, after = max(float(excess[k - 1]), 0.0), float(excess[k])
    return float(frequency[k - 1] + (frequency[k] - frequency[k - 1]) * before / (before - after))
