"""Position and shape of the object canvas of a scan: the one rule of every solver, network and comparison."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64

from ptypinn.data.scan import ScanData
from ptypinn.physics.patches import bounding_canvas


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
    return bounding_canvas(torch.from_numpy(scan.positions_px), scan.size, margin)


def canvas_positions(scan: ScanData, margin: int = 0) -> Float64[np.ndarray, "patterns 2"]:
    """Return positions (y, x) of the probe array's pixel (0, 0) on the canvas of `canvas_frame`, pixels."""
    origin, _ = canvas_frame(scan, margin)
    return scan.positions_px - np.asarray(origin, np.float64)
