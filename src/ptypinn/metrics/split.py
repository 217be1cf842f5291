"""Split a scan into two interleaved halves: independent data on the same sample."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree

NEIGHBOURS = 8


def alternate_neighbours(positions_px: Float64[np.ndarray, "patterns 2"]) -> Bool[np.ndarray, " patterns"]:
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
