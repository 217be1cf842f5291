"""Contour of a mask as SVG path data, simplified to a bounded number of points."""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float64

MAX_RINGS, MAX_POINTS = 40, 2000
TOLERANCES_PX = (0.4, 1.0, 2.5, 6.0)
"""Largest distance between a contour and its simplification, tried in turn."""

Polygon = Float64[np.ndarray, "_ 2"]


def contour_path(mask: Bool[np.ndarray, "y x"]) -> str:
    """Return the contour of a mask in the coordinates of its pixels; empty where the mask is.

    Corners are rounded off, by 0.4 pixels or as far as keeps the path below 2,000 points; of a mask in many pieces only
    the 40 longest contours are drawn.

    >>> contour_path(np.array([[True]]))
    'M0 0.5 0.5 0 1 0.5 0.5 1Z'
    """
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float32)).lines(0.5)
    rings = sorted((np.asarray(line) for line in lines), key=len, reverse=True)[:MAX_RINGS]
    polygons: list[Polygon] = []
    for tolerance in TOLERANCES_PX:
        polygons = [simplify(ring, tolerance) for ring in rings]
        if sum(map(len, polygons)) <= MAX_POINTS:
            break
    before = np.cumsum([0, *map(len, polygons)])[1:]
    return "".join(
        _ring_path(polygon - 0.5) for polygon, points in zip(polygons, before, strict=True) if points <= MAX_POINTS
    )


def simplify(line: Polygon, tolerance: float) -> Polygon:
    """Return the points of a line that keep it within a distance of the original (Douglas and Peucker, 1973).

    >>> simplify(np.array([[0.0, 0.0], [1.0, 0.1], [2.0, 0.0]]), 0.2).tolist()
    [[0.0, 0.0], [2.0, 0.0]]
    """
    retained = np.zeros(len(line), bool)
    retained[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _distance_to_chord(line[first + 1 : last], line[first], line[last])
        farthest = int(distance.argmax())
        if distance[farthest] > tolerance:
            split = first + 1 + farthest
            retained[split] = True
            spans += [(first, split), (split, last)]
    return np.asarray(line[retained])


def _distance_to_chord(points: Polygon, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of points from a chord; from its start where both ends coincide."""
    along, offset = end - start, points - start
    length = float(np.hypot(*along))
    if length == 0:
        return np.asarray(np.hypot(offset[:, 0], offset[:, 1]))
    return np.asarray(np.abs(along[0] * offset[:, 1] - along[1] * offset[:, 0]) / length)


def _ring_path(polygon: Polygon) -> str:
    points = " ".join(f"{x:.4g} {y:.4g}" for x, y in polygon[:-1])
    return f"M{points}Z"
