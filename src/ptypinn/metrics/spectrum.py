"""Power spectrum of an object over the rings of its Fourier components, beside that of counting noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64, Int64
from scipy import fft

SEGMENT_PX = 256
"""Edge of the segments over which the spectrum is averaged: bounds the memory."""
MIN_ILLUMINATION = 1e-3
"""Illumination below this fraction of the typical one counts as this fraction in the mean noise."""


@dataclass(frozen=True)
class RingSpectrum:
    """Mean power per Fourier component, ring by ring, with the orthonormal transform: variance of the pixels."""

    power: Float64[np.ndarray, " ring"]
    """Of the object beside its mean level."""
    noise: float
    """Of an estimate whose pixels have the variance `1 / illumination`; the same in all rings."""
    components: Int64[np.ndarray, " ring"]
    """Number of components in a ring."""
    edge: int
    """Ring k has the frequencies around `k / edge`, cycles per pixel."""


def compute_ring_spectrum(
    object_: Complex64[np.ndarray, "height width"], illumination: Float32[np.ndarray, "height width"]
) -> RingSpectrum | None:
    """Return the spectrum of the illuminated part of an object, a mean over overlapping segments (Welch 1967).

    Args:
        object_: Transmission.
        illumination: Photons on every object pixel.

    Returns:
        The spectrum; None where nothing is illuminated.
    """
    illuminated = illumination[illumination > 0]
    if not illuminated.size:
        return None
    typical = float(np.percentile(illuminated, 95))
    edges = [min(SEGMENT_PX, length) for length in object_.shape]
    ring = _rings(edges)
    power, noise, weights = np.zeros(ring.max() + 1), 0.0, 0.0
    for part in _segments(object_.shape):
        weight = _window(object_[part].shape) * np.minimum(illumination[part] / typical, 1)
        if not weight.sum() > 0:
            continue
        level = (weight * object_[part]).sum() / weight.sum()
        spectrum = fft.fft2((weight * (object_[part] - level)).astype(np.complex64))
        power += np.bincount(ring.ravel(), np.abs(spectrum).ravel() ** 2)
        photons = np.maximum(illumination[part], MIN_ILLUMINATION * typical)
        noise += float((weight**2 / photons).sum(dtype=np.float64))
        weights += float((weight**2).sum(dtype=np.float64))
    size = np.bincount(ring.ravel())
    return RingSpectrum(power / size / weights, noise / weights, size, min(edges)) if noise > 0 else None


def _segments(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Rectangles of one size that cover a canvas; each overlaps the next by half."""
    edges = [min(SEGMENT_PX, length) for length in shape]
    starts = [
        sorted({min(first, length - edge) for first in range(0, length, max(edge // 2, 1))})
        for edge, length in zip(edges, shape, strict=True)
    ]
    for y in starts[0]:
        for x in starts[1]:
            yield slice(y, y + edges[0]), slice(x, x + edges[1])


def _window(shape: tuple[int, ...]) -> Float64[np.ndarray, "height width"]:
    return np.outer(*(np.hanning(length + 2)[1:-1] for length in shape))


def _rings(edges: Iterable[int]) -> Int64[np.ndarray, "height width"]:
    """Return the number of the ring of every Fourier component, without a gap between the rings."""
    shape = tuple(edges)
    frequency = np.hypot(*np.ix_(*(np.fft.fftfreq(length) for length in shape)))
    return np.rint(frequency * min(shape)).astype(np.int64)
