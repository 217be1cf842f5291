"""The outline of a region as the path of a vector drawing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from skimage.measure import approximate_polygon, find_contours

MOST_RINGS, MOST_POINTS = 40, 2000
TOLERANCES_PX = (0.4, 1.0, 2.5, 6.0)


def outline_path(region: Bool[np.ndarray, "y x"]) -> str:
    """Outline of a region in the coordinates of its pixels, as SVG path data; empty where the region is.

    Corners are rounded off, by 0.4 pixels or as far as keeps the path below 2,000 points; of a region in many pieces
    only the 40 longest outlines are told.
    """
    found = find_contours(np.pad(region, 1).astype(np.float32), 0.5)
    rings = sorted(found, key=len, reverse=True)[:MOST_RINGS]
    polygons: list[np.ndarray] = []
    for tolerance in TOLERANCES_PX:
        polygons = [approximate_polygon(ring, tolerance) for ring in rings]
        if sum(map(len, polygons)) <= MOST_POINTS:
            break
    before = np.cumsum([0, *map(len, polygons)])[1:]
    return "".join(
        _ring(polygon - 0.5) for polygon, points in zip(polygons, before, strict=True) if points <= MOST_POINTS
    )


def _ring(polygon: np.ndarray) -> str:
    points = " ".join(f"{x:.4g} {y:.4g}" for y, x in polygon[:-1])
    return f"M{points}Z"
