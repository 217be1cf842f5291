"""Positions of a scan: the object canvas that holds them, their spacing, strays among them, and islands.

The canvas is the one rule of every solver, network and comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ptypinn.data.scan import ScanData

MIN_POSITIONS = 9
"""Minimum number of positions that have a typical spacing."""
FAR = 10.0
"""Distance to the nearest others, over the typical distance to the eighth nearest, beyond which there is a gap."""
MAX_STRAY = 0.05
"""Maximum fraction of the positions that are strays; more are a scan in pieces."""
TWINS = 2
"""Maximum number of positions that are far from all others together."""


def canvas_frame(scan: ScanData, margin: int = 0) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return origin and shape of the canvas that holds the object of a scan.

    The canvas of a scan with a truth is the truth's array, so that the two compare pixel by pixel; otherwise it is the
    smallest one that holds the probe at every position, plus a margin.

    Args:
        scan: The scan.
        margin: Pixels to add on every side of a canvas that the positions define; a truth has its own.

    Returns:
        Origin (y, x) of the canvas in the coordinates of `scan.positions_px`, and its (height, width), pixels.
    """
    if scan.truth is not None:
        height, width = scan.truth.shape
        return (0, 0), (height, width)
    return bounding_canvas(scan.positions_px, scan.size, margin)


def canvas_positions(scan: ScanData, margin: int = 0) -> Float64[np.ndarray, "patterns 2"]:
    """Return positions (y, x) of the probe array's pixel (0, 0) on the canvas of `canvas_frame`, pixels."""
    origin, _ = canvas_frame(scan, margin)
    return scan.positions_px - np.asarray(origin, np.float64)


def bounding_canvas(
    positions_px: Float64[np.ndarray, "patterns 2"], size: int, margin: int = 0
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the smallest canvas that holds every patch at these positions.

    Args:
        positions_px: Coordinates (y, x) of each patch's pixel (0, 0), object pixels; may be negative.
        size: Edge of a patch, pixels.
        margin: Pixels to add on every side.

    Returns:
        Origin (y, x) of the canvas in the coordinates of `positions_px`, and its (height, width).

    >>> bounding_canvas(np.array([[0.0, -2.0], [4.4, 3.0]]), 8)
    ((0, -2), (12, 13))
    """
    low = np.round(positions_px).min(0).astype(np.int64) - margin
    high = np.round(positions_px).max(0).astype(np.int64) + size + margin
    height, width = (high - low).tolist()
    return (int(low[0]), int(low[1])), (height, width)


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
    return FAR * float(np.median(find_nearest(positions_px, positions_px, MIN_POSITIONS)[0][:, -1]))


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
    stray = find_nearest(positions_px, positions_px, TWINS + 1)[0][:, -1] > gap
    if not stray.any() or stray.sum() > max(1, MAX_STRAY * len(stray)):
        return none
    distance = find_nearest(positions_px[~stray], positions_px[stray], 1)[0][:, 0]
    return Strays(np.flatnonzero(stray), distance)


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
    near = np.flatnonzero(chosen)[find_nearest(positions_px[chosen], positions_px, count + 1)[1]]
    itself = near == np.arange(len(positions_px))[:, None]
    order = np.argsort(itself, axis=1, kind="stable")
    return np.take_along_axis(near, order, 1)[:, :count]


def find_nearest(
    positions_px: Float64[np.ndarray, "patterns 2"],
    centres_px: Float64[np.ndarray, "centres 2"],
    count: int,
    max_distance_px: float = np.inf,
) -> tuple[Float64[np.ndarray, "centres near"], Int64[np.ndarray, "centres near"]]:
    """Return distances and indices of the positions nearest to each centre, nearest first.

    A tree holds equal positions in one leaf, which every search there goes through; so no more of them are put into it
    than are asked for.

    Args:
        positions_px: (y, x), object pixels.
        centres_px: (y, x), object pixels.
        count: Number of positions for each centre; all where there are fewer.
        max_distance_px: Positions further away are left out: their distance is infinite, and their index `patterns`.
    """
    from scipy.spatial import cKDTree

    some = np.flatnonzero(group_equal(positions_px)[1] < count)
    tree = cKDTree(positions_px[some])
    distance, near = tree.query(
        centres_px, k=np.arange(min(count, len(some))) + 1, distance_upper_bound=max_distance_px
    )
    return distance, np.append(some, len(positions_px))[near]


def group_equal(
    positions_px: Float64[np.ndarray, "patterns 2"],
) -> tuple[Int64[np.ndarray, " patterns"], Int64[np.ndarray, " patterns"]]:
    """Return the number of the place of every position, and its rank among the positions at that place, both from 0.

    >>> [numbers.tolist() for numbers in group_equal(np.array([[1.0, 5.0], [0.0, 2.0], [1.0, 5.0]]))]
    [[1, 0, 1], [0, 0, 1]]
    """
    order = np.lexsort(positions_px.T)
    ordered, numbers = positions_px[order], np.arange(len(order))
    first = np.append(True, (ordered[1:] != ordered[:-1]).any(1))[: len(order)]
    place, rank = np.empty_like(numbers), np.empty_like(numbers)
    place[order] = np.cumsum(first) - 1
    rank[order] = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    return place, rank


@dataclass(frozen=True)
class PositionSurvey:
    """Statistics of the positions."""

    extent_px: tuple[float, float]
    """Span (y, x) of the positions, object pixels."""
    spacing_px: float | None
    """Mean spacing of neighbours: the step of the square raster with as many positions in the same outline, object
    pixels; None for a single position."""
    nearest_px: float | None
    """Median distance of each position to the nearest other one, object pixels; None for a single position."""
    coincident: int
    """Positions that repeat another one exactly."""


def survey_positions(positions_px: Float64[np.ndarray, "patterns 2"]) -> PositionSurvey:
    """Measure extent and spacing of positions (y, x), object pixels."""
    height, width = np.ptp(positions_px, axis=0).tolist()
    coincident = int((group_equal(positions_px)[1] > 0).sum())
    if len(positions_px) < 2:
        return PositionSurvey((height, width), None, None, coincident)
    nearest = find_nearest(positions_px, positions_px, 2)[0][:, 1]
    return PositionSurvey((height, width), mean_spacing(positions_px), float(np.median(nearest)), coincident)


def mean_spacing(positions_px: Float64[np.ndarray, "patterns 2"]) -> float:
    """Return the step of the square raster with as many points in the same outline, object pixels.

    Pick's theorem gives the area `A = s^2 (n - P / 2s - 1)` of a raster's outline with perimeter P, so a raster's own
    step comes out exactly, and that of a line scan too. Islands far from each other have outlines of their own, and
    single positions far from all others none: the mean is one over neighbours.

    >>> y, x = np.mgrid[:4, :5]
    >>> round(mean_spacing(np.stack([y.ravel(), x.ravel()], 1) * 2.5), 9)
    2.5
    """
    islands = label_islands(positions_px, gap_width(positions_px))
    parts = [positions_px[islands == number] for number in range(islands.max() + 1)]
    parts = [part for part in parts if len(part) > 1] or [positions_px]
    return float(np.sqrt(np.average([_raster_step(part) ** 2 for part in parts], weights=[len(p) for p in parts])))


def _raster_step(positions_px: np.ndarray) -> float:
    from scipy.spatial import ConvexHull, QhullError

    n = len(positions_px)
    try:
        hull = ConvexHull(positions_px)
        area, perimeter = float(hull.volume), float(hull.area)
    except QhullError:
        area, perimeter = 0.0, 2 * float(np.linalg.norm(np.ptp(positions_px, axis=0)))
    return float((perimeter / 2 + np.sqrt(perimeter**2 / 4 + 4 * (n - 1) * area)) / (2 * (n - 1)))
