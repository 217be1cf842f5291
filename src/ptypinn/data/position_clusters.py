"""Positions by their neighbours: stray ones far from all others, and islands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

MIN_POSITIONS = 9
"""Minimum number of positions that have a typical spacing."""
FAR = 10.0
"""Distance to the nearest others, over the typical distance to the eighth nearest, beyond which there is a gap."""
MAX_STRAY = 0.05
"""Maximum fraction of the positions that are strays; more are a scan in pieces."""
TWINS = 2
"""Maximum number of positions that are far from all others together."""


@dataclass(frozen=True)
class Strays:
    """Positions far from all others."""

    index: Int64[np.ndarray, " strays"]
    distance_px: Float64[np.ndarray, " strays"]
    """Distance of each to the nearest position that is none, object pixels."""


def gap_width(positions_px: Float64[np.ndarray, "patterns 2"]) -> float:
    """Return the distance of neighbours beyond which a scan has a gap, object pixels; infinite for few positions.

    Ten times the median distance to the eighth nearest position, so that lines of a fly scan belong together.
    """
    if len(positions_px) < MIN_POSITIONS:
        return float("inf")
    return FAR * float(np.median(_distances(positions_px, MIN_POSITIONS)[:, -1]))


def find_strays(positions_px: Float64[np.ndarray, "patterns 2"], size: int) -> Strays:
    """Find positions whose patterns share no object pixel with those of others, and that lie far from them.

    Args:
        positions_px: (y, x), object pixels.
        size: Edge of the patterns, pixels.
    """
    none = Strays(np.zeros(0, np.int64), np.zeros(0))
    gap = max(gap_width(positions_px), size)
    if not np.isfinite(gap):
        return none
    stray = _distances(positions_px, TWINS + 1)[:, -1] > gap
    if not stray.any() or stray.sum() > max(1, MAX_STRAY * len(stray)):
        return none
    from scipy.spatial import cKDTree

    distance = cKDTree(positions_px[~stray]).query(positions_px[stray])[0]
    return Strays(np.flatnonzero(stray), np.asarray(distance, np.float64))


def label_islands(positions_px: Float64[np.ndarray, "patterns 2"], gap_px: float) -> Int64[np.ndarray, " patterns"]:
    """Return the number of the island of every position, from 0, the largest island first.

    Args:
        positions_px: (y, x), object pixels.
        gap_px: Islands are further apart than this; those up to three times as far may count as one.
    """
    if not np.isfinite(gap_px) or not gap_px > 0 or np.ptp(positions_px, axis=0).max() <= gap_px:
        return np.zeros(len(positions_px), np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    cells, inverse = np.unique(np.floor(positions_px / gap_px), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(1.5, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    labels = connected_components(graph, directed=False)[1][np.ravel(inverse)]
    rank = np.argsort(np.argsort(-np.bincount(labels), kind="stable"), kind="stable")
    return rank[labels].astype(np.int64)


def nearest_others(
    positions_px: Float64[np.ndarray, "patterns 2"], chosen: Bool[np.ndarray, " patterns"], count: int
) -> Int64[np.ndarray, "patterns neighbours"]:
    """Return the indices of the nearest chosen positions of every position, itself excluded.

    Args:
        positions_px: (y, x), object pixels.
        chosen: Positions that may be neighbours, more than `count` of them.
        count: Number of neighbours.
    """
    from scipy.spatial import cKDTree

    numbers = np.flatnonzero(chosen)
    near = numbers[cKDTree(positions_px[chosen]).query(positions_px, k=count + 1)[1]]
    itself = near == np.arange(len(positions_px))[:, None]
    order = np.argsort(itself, axis=1, kind="stable")
    return np.take_along_axis(near, order, 1)[:, :count]


def _distances(positions_px: np.ndarray, count: int) -> np.ndarray:
    """Return the distances to the nearest positions, itself first, (patterns, count)."""
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(positions_px).query(positions_px, k=count)[0]).reshape(len(positions_px), -1)
