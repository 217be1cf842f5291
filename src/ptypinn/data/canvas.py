"""Position and shape of the object canvas of a scan: the one rule of every solver, network and comparison."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from ptypinn.data.scan import ScanData


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
