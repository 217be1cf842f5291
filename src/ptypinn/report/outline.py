"""The outline of a region as the path of a vector drawing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from skimage.measure import approximate_polygon, find_contours

MOST_POINTS = 2000
TOLERANCES_PX = (0.4, 1.0, 2.5, 6.0)


def outline_path(region: Bool[np.ndarray, "y x"]) -> str:
    """Outline of a region in the coordinates of its pixels, as SVG path data; empty where the region is.

    Corners are rounded off, by 0.4 pixels or as far as keeps the path below 2,000 points; of a region in many pieces
    only the longest outlines are told.
    """
    rings = find_contours(np.pad(region, 1).astype(np.float32), 0.5)
    for tolerance in TOLERANCES_PX:
        polygons = [approximate_polygon(ring, tolerance) for ring in rings]
        if sum(map(len, polygons)) <= MOST_POINTS:
            break
    longest = sorted((polygon for polygon in polygons if len(polygon) > 2), key=len, reverse=True)
    before = np.cumsum([0, *map(len, longest)])[:-1]
    return "".join(
        _ring(polygon - 0.5) for polygon, so_far in zip(longest, before, strict=True) if so_far < MOST_POINTS
    )


def _ring(polygon: np.ndarray) -> str:
    points = " ".join(f"{x:.4g} {y:.4g}" for y, x in polygon[:-1])
    return f"M{points}Z"
