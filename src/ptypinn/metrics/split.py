"""Split a scan into two interleaved halves: independent data on the same sample."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Complex128, Float64
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree

NEIGHBOURS = 8


def checkerboard_split(positions_px: Float64[np.ndarray, "patterns 2"]) -> Bool[np.ndarray, " patterns"]:
    """Mark every other position, so that the nearest neighbour of each is in the other half; any scan order will do.

    The minimum spanning tree of the positions joins each to its nearest neighbour; its nodes are marked by the parity
    of their depth. A raster becomes a checkerboard.

    Args:
        positions_px: Positions (y, x), (patterns, 2), pixels.
    """
    count = len(positions_px)
    if count < 2:
        return np.zeros(count, bool)
    distance, neighbour = cKDTree(positions_px).query(positions_px, min(NEIGHBOURS + 1, count))
    first = np.repeat(np.arange(count), neighbour.shape[1])
    # equal places have distance zero, which a sparse graph would read as no edge
    edges = csr_array(((distance + 1e-9).ravel(), (first, neighbour.ravel())), shape=(count, count))
    tree = minimum_spanning_tree(edges.maximum(edges.T))
    _, component = connected_components(tree, directed=False)
    _, roots = np.unique(component, return_index=True)
    depth = dijkstra(tree, directed=False, indices=roots, unweighted=True, min_only=True)
    return (depth + component) % 2 == 1


MIN_EDGE_PX = 4.0
"""Narrowest soft edge of a window."""

Image = Complex[np.ndarray, "height width"]
Mask = Bool[np.ndarray, "height width"]
Pair = tuple[Complex128[np.ndarray, "height width"], Complex128[np.ndarray, "height width"], Mask]


def validate_pair(image: Image, reference: Image, mask: Mask | None = None) -> Pair:
    """Both images in complex128 and the mask, never None.

    Raises:
        ValueError: Where shapes differ, or the mask holds no pixel.
    """
    if image.shape != reference.shape:
        raise ValueError(f"images of {image.shape} and {reference.shape} pixels cannot be compared")
    lit = np.ones(image.shape, bool) if mask is None else mask
    if lit.shape != image.shape or not lit.any():
        raise ValueError(f"a mask of shape {lit.shape} with {int(lit.sum())} pixels cannot select from {image.shape}")
    return image.astype(np.complex128), reference.astype(np.complex128), lit


def bounding_box(mask: Mask) -> tuple[slice, slice]:
    """Smallest rectangle that holds every pixel of the mask, as slices (y, x)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def soft_window(mask: Mask, edge_px: float) -> Float64[np.ndarray, "height width"]:
    """One inside the mask, zero outside, with a raised-cosine edge of `edge_px` pixels on the inside."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(depth / edge_px, 1.0))
