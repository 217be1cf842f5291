"""Fourier ring correlation and the resolution from it (van Heel & Schatz, J. Struct. Biol. 151, 2005)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy import fft

from ptypinn.metrics.image import MIN_EDGE_PX, Image, Mask, bounding_box, soft_window, validate_pair

NYQUIST_PX = 2.0
"""Finest period that the pixels resolve."""
Curve = Float64[np.ndarray, " ring"]


@dataclass(frozen=True)
class RingCorrelation:
    """A Fourier ring correlation curve and its crossings with the thresholds.

    Resolutions are full periods, pixels; 2 px is the Nyquist limit, reported if the curve never falls below.
    """

    frequency: Curve
    """Spatial frequency of each ring, cycles per pixel."""
    correlation: Curve
    """Correlation of the two images on each ring, in [-1, 1]."""
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
    cross = _ring_sums(ring, (first * np.conj(second)).real, len(frequency))
    powers = _ring_sums(ring, np.abs(first) ** 2, len(frequency)) * _ring_sums(
        ring, np.abs(second) ** 2, len(frequency)
    )
    correlation = np.clip(cross / np.sqrt(np.where(powers > 0, powers, np.inf)), -1, 1)
    half_bit = half_bit_threshold(_ring_sums(ring, np.ones(ring.shape), len(frequency)) * _independent_fraction(window))
    return _summary(frequency[1:], correlation[1:], half_bit[1:])


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
    """Return the frequency at which the excess first falls below zero, between rings, or that of the first ring."""
    below = np.flatnonzero(excess < -1e-9)
    if not below.size:
        return None
    k = int(below[0])
    if k == 0:
        return float(frequency[0])
    before, after = max(float(excess[k - 1]), 0.0), float(excess[k])
    return float(frequency[k - 1] + (frequency[k] - frequency[k - 1]) * before / (before - after))
