"""Groups of neighbouring patterns, windows of neighbouring groups, and splits of a scan: parts, checkerboard halves."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree

from ptypinn.data.positions import find_nearest, group_equal

Index = Int64[np.ndarray, "_"]
Groups = Int64[np.ndarray, "groups channels"]
SplitAxis = Literal["none", "y", "x"]
N_NEIGHBOURS = 8
"""Nearest neighbours of a position that the spanning tree may join it to."""


def group_neighbours(
    positions: Float64[np.ndarray, "patterns 2"],
    gridsize: int,
    neighbour_count: int,
    n_groups: int | None = None,
    seed: int = 0,
    seeds: Index | None = None,
    reach_px: float = math.inf,
) -> Groups:
    """Form groups of `gridsize**2` neighbouring patterns, each led by its seed pattern.

    Every pattern (or every one of `seeds`) leads one group before any leads a second; the others are drawn without
    replacement from the `neighbour_count` nearest neighbours of the leader. The leader stands in for those that are too
    far to share an object with it.

    Args:
        positions: Scan positions (y, x), pixels, (patterns, 2).
        gridsize: Edge of the group; a group holds `gridsize**2` patterns.
        neighbour_count: Nearest neighbours of a leader to draw from.
        n_groups: Number of groups; None for one per leader.
        seed: Seed of the draws.
        seeds: Patterns that lead groups; None for all.
        reach_px: Distance along an axis from which a neighbour is too far, pixels.

    Returns:
        Pattern indices, (groups, gridsize**2), the leader first. Scans with fewer patterns than a group needs repeat
        some.
    """
    rng = np.random.default_rng(seed)
    leaders = np.arange(len(positions)) if seeds is None else np.asarray(seeds)
    count = len(leaders) if n_groups is None else n_groups
    rounds = -(-count // len(leaders))
    order = np.concatenate([rng.permutation(leaders) for _ in range(rounds)])[:count]
    if (others := gridsize**2 - 1) == 0:
        return order[:, None].astype(np.int64)
    near = _nearest_others(positions, order, max(neighbour_count, others))
    near = near[:, np.arange(max(near.shape[1], others)) % near.shape[1]]
    members = np.take_along_axis(near, rng.random(near.shape).argsort(1)[:, :others], 1)
    too_far = np.abs(positions[members] - positions[order][:, None]).max(2) >= reach_px
    return np.concatenate([order[:, None], np.where(too_far, order[:, None], members)], 1).astype(np.int64)


def _nearest_others(positions: Float64[np.ndarray, "patterns 2"], leaders: Index, count: int) -> Groups:
    """Return the nearest patterns beside each leader; the leader itself where there is no other one."""
    near = find_nearest(positions, positions[leaders], count + 1)[1]
    # Where patterns coincide, the leader may stand behind others, or not among the nearest at all.
    near[:, 1:] = np.where(near[:, 1:] == leaders[:, None], near[:, :1], near[:, 1:])
    return near[:, 1:] if near.shape[1] > 1 else near


def cluster_groups(
    positions: Float64[np.ndarray, "patterns 2"], groups: Groups, cluster_size: int
) -> Int64[np.ndarray, "windows cluster channels"]:
    """Form windows of `cluster_size` groups whose leaders are neighbours; every group is the centre of one window.

    Args:
        positions: Scan positions (y, x), pixels, (patterns, 2).
        groups: Pattern indices, (groups, channels), the leader first.
        cluster_size: Groups in a window.

    Returns:
        Pattern indices, (windows, cluster, channels), nearest to the centre first.
    """
    leaders = positions[groups[:, 0]]
    return groups[find_nearest(leaders, leaders, cluster_size)[1]]


def split_parts(
    positions: Float64[np.ndarray, "patterns 2"], axis: SplitAxis, fraction: float, gap_px: float = 0.0
) -> tuple[Index, Index]:
    """Split a scan in two along one axis.

    Args:
        positions: Scan positions (y, x), pixels, (patterns, 2).
        axis: `y` or `x` to cut across, `none` to keep everything in the first part.
        fraction: Fraction of patterns in the first part, those of the smallest coordinate.
        gap_px: Patterns closer than this to the cut are left out of the first part, pixels.

    Returns:
        Sorted indices of the first part (training) and of the second (held out).

    >>> positions = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    >>> [part.tolist() for part in split_parts(positions, "y", 0.5)]
    [[0, 1], [2, 3]]
    """
    if axis == "none":
        return np.arange(len(positions)), np.arange(0)
    coordinate = positions[:, "yx".index(axis)]
    cut = np.quantile(coordinate, fraction)
    return np.flatnonzero(coordinate <= cut - gap_px), np.flatnonzero(coordinate > cut)


def hold_out_clusters(
    positions: Float64[np.ndarray, "patterns 2"], index: Index, fraction: float, cluster: int, seed: int
) -> tuple[Index, Index]:
    """Set aside a fraction of the patterns in clusters of neighbours around random centres.

    Args:
        positions: Scan positions (y, x), pixels, (patterns, 2).
        index: Patterns to divide.
        fraction: Share to set aside; at least one pattern unless it is 0, and never all.
        cluster: Neighbouring patterns set aside together.
        seed: Seed of the centres.

    Returns:
        Sorted indices that train, and sorted indices that validate.
    """
    count = min(max(1, round(fraction * len(index))), len(index) - 1) if fraction > 0 else 0
    held = np.zeros(len(index), bool)
    centres = np.random.default_rng(seed).permutation(len(index))
    for near in find_nearest(positions[index], positions[index[centres]], cluster)[1]:
        missing = count - int(held.sum())
        if missing <= 0:
            break
        held[near[~held[near]][:missing]] = True
    return index[~held], index[held]


def checkerboard_split(positions_px: Float64[np.ndarray, "patterns 2"]) -> Bool[np.ndarray, " patterns"]:
    """Mark every other position, so that the nearest neighbour of each is in the other half, in any scan order.

    The minimum spanning tree of the places joins each to its nearest neighbour; its nodes are marked by the parity of
    their depth. A raster becomes a checkerboard, and patterns at one place are marked in turn.

    Args:
        positions_px: Positions (y, x), (patterns, 2), pixels.

    >>> checkerboard_split(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])).tolist()
    [False, True, False]
    """
    place, rank = group_equal(positions_px)
    places = positions_px[rank == 0][np.argsort(place[rank == 0])]
    count = len(places)
    if count < 2:
        return rank % 2 == 1
    distance, neighbour = find_nearest(places, places, N_NEIGHBOURS + 1)
    first = np.repeat(np.arange(count), neighbour.shape[1])
    # a sparse graph would read a distance of zero as no edge
    edges = csr_array(((distance + 1e-9).ravel(), (first, neighbour.ravel())), shape=(count, count))
    tree = minimum_spanning_tree(edges.maximum(edges.T))
    _, component = connected_components(tree, directed=False)
    _, roots = np.unique(component, return_index=True)
    depth = dijkstra(tree, directed=False, indices=roots, unweighted=True, min_only=True)
    return ((depth + component)[place] + rank) % 2 == 1
