"""Measurements on a picture: histogram, profile along a line, values of single pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ptypinn.errors import InputError
from ptypinn.viewer.layers import PHASE, subtract_phase
from ptypinn.viewer.picture import Picture
from ptypinn.viewer.picture_file import OBJECT
from ptypinn.viewer.pyramid import AMPLITUDE

BLOCK_PX = 64
"""Edge of a block of values, pixels."""
MAX_SAMPLES = 1024
"""Maximum number of samples of a profile; a longer line is read on a coarser level."""
SEGMENT_SAMPLES = 128
"""Samples of a profile that are read together, so that a diagonal reads small rectangles."""


def layer_histogram(picture: Picture, layer: str) -> dict[str, Any]:
    """Return the histogram of a layer over well-illuminated pixels.

    Returns:
        `low` and `high`, ends of the range in the layer's unit; `counts` of equal bins.

    Raises:
        InputError: Where there is no such layer.
    """
    summary = picture.require(layer)
    return {"low": summary.low, "high": summary.high, "counts": summary.counts}


def read_block(picture: Picture, row: int, column: int) -> bytes:
    """Return the complex values of a block of pixels, row by row, little-endian complex64; smaller at edges.

    Raises:
        InputError: Where the block is outside the object.
    """
    height, width = picture.file.shape
    if not (0 <= row * BLOCK_PX < height and 0 <= column * BLOCK_PX < width):
        raise InputError("block", "", f"row {row}, column {column}", f"one of {height} x {width} pixels")
    place = (slice(n * BLOCK_PX, (n + 1) * BLOCK_PX) for n in (row, column))
    return picture.file.read(OBJECT, *place).astype("<c8").tobytes()


def measure_profile(picture: Picture, start: tuple[float, float], end: tuple[float, float]) -> dict[str, Any]:
    """Return amplitude and phase along a line.

    Args:
        picture: The object.
        start: Start of the line, (y, x) in pixels; pixel (0, 0) extends from 0 to 1.
        end: End of the line.

    Returns:
        `distance_px` of every sample from the start, `amplitude`, and `phase` in radians; samples off the object are
        None. `step_px` is the block that a sample averages over.
    """
    if not np.isfinite([start, end]).all() or np.abs([start, end]).max() > 1e9:
        raise InputError("line", "", f"{start} to {end}", "two points, y and x in pixels")
    length = math.dist(start, end)
    level = min(max(0, math.ceil(math.log2(max(length, 1) / MAX_SAMPLES))), picture.pyramid.levels - 1)
    count = min(MAX_SAMPLES, max(2, math.ceil(length / 2**level) + 1))
    along = np.linspace(0.0, 1.0, count)
    points = np.outer(1 - along, start) + np.outer(along, end)
    inside = np.all((points >= 0) & (points <= picture.file.shape), axis=1)
    values = {name: np.full(count, np.nan) for name in (AMPLITUDE, PHASE)}
    for part in np.array_split(np.arange(count), math.ceil(count / SEGMENT_SAMPLES)):
        part = part[inside[part]]
        if len(part):
            amplitude, field = (_interpolate(picture, name, level, points[part]) for name in (AMPLITUDE, OBJECT))
            values[AMPLITUDE][part], values[PHASE][part] = amplitude, subtract_phase(field, picture.phase_rad)
    plain = {name: [x if math.isfinite(x) else None for x in array.tolist()] for name, array in values.items()}
    return {"distance_px": (along * length).tolist(), **plain, "step_px": 2**level}


def _interpolate(picture: Picture, name: str, level: int, points: np.ndarray) -> np.ndarray:
    """Interpolate an image bilinearly at points in pixels of the object, (samples, 2)."""
    from scipy.ndimage import map_coordinates

    shape = picture.pyramid.shape(level)
    places = np.clip(points / 2**level - 0.5, 0, np.subtract(shape, 1))
    first, last = np.floor(places.min(0)).astype(int), np.ceil(places.max(0)).astype(int) + 1
    rows, columns = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return map_coordinates(picture.pyramid.read(name, level, rows, columns), (places - first).T, order=1)
