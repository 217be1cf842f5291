"""Stacks of slices made of others: a thin object or a coarse stack divided into layers, with the same product."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex64, Float64
from skimage.restoration import unwrap_phase

Slices = Complex64[np.ndarray, "_ height width"]


def restack(sample: Complex64[np.ndarray, "*slice height width"], number: int) -> Slices:
    """Divide a sample evenly into slices: layers of equal thickness whose product is the same.

    Args:
        sample: Transmission, (height, width), or that of slices of equal thickness.
        number: Number of slices.

    >>> restack(np.full((2, 2), 0.25, np.complex64), 2).real[:, 0, 0].tolist()
    [0.5, 0.5]
    """
    slices = sample.reshape(-1, *sample.shape[-2:])
    edges, cuts = (np.arange(count + 1) / count for count in (len(slices), number))
    overlap = np.minimum(cuts[1:, None], edges[1:]) - np.maximum(cuts[:-1, None], edges[:-1])
    shares = np.clip(overlap, 0, None) * len(slices)
    logarithm = np.log(np.maximum(np.abs(slices), 1e-6)) + 1j * np.stack([_unwrap(image) for image in slices])
    return np.exp(np.einsum("ns,syx->nyx", shares, logarithm)).astype(np.complex64)


def _unwrap(image: Complex64[np.ndarray, "height width"]) -> Float64[np.ndarray, "height width"]:
    """Return the phase without jumps by a turn, around that of the mean, radians."""
    middle = np.angle(image.sum()) if image.sum() else 0.0
    return np.asarray(unwrap_phase(np.angle(image * np.exp(-1j * middle)))) + middle
