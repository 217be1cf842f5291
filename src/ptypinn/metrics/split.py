"""Checkerboard split of a scan into two halves of the same sample; masks and windows that the metrics share."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Complex128, Float64
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree

N_NEIGHBOURS = 8
"""Nearest neighbours of a position that the spanning tree may join it to."""


def checkerboard_split(positions_px: Float64[np.ndarray, "patterns 2"]) -> Bool[np.ndarray, " patterns"]:
    """Mark every other position, so that the nearest neighbour of each is in the other half, in any scan order.

    The minimum spanning tree of the positions joins each to its nearest neighbour; its nodes are marked by the parity
    of their depth. A raster becomes a checkerboard.

    Args:
        positions_px: Positions (y, x), (patterns, 2), pixels.

    >>> checkerboard_split(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])).tolist()
    [False, True, False]
    """
    count = len(positions_px)
    if count < 2:
        return np.zeros(count, bool)
    distance, neighbour = cKDTree(positions_px).query(positions_px, min(N_NEIGHBOURS + 1, count))
    first = np.repeat(np.arange(count), neighbour.shape[1])
    # equal positions have distance zero, which a sparse graph would read as no edge
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
