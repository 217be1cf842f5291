"""Canvas of a scan in progress: object and illumination that grow with the positions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex64, Float32, Float64

from ptypinn.data.beam_centre import add_phase_ramp, measure_slope
from ptypinn.models.blocks import STRIDE
from ptypinn.solvers.unrolled.tiling import Box

GROWTH_PX = 8 * STRIDE
"""Pixels by which an edge moves at least, and multiples of which the place of the canvas is."""
GROWTH_FRACTION = 0.25
"""Fraction of its length by which the canvas grows at least along an axis, so that it is seldom copied."""

LIT_FRACTION = 0.1
"""Illumination over its maximum above which a pixel shows the slope of the object."""


def round_outward(box: Box, step: int) -> Box:
    """Return the smallest box around another one whose edges are multiples of `step`.

    >>> round_outward(Box(-3, 0, 17, 16), 16)
    Box(top=-16, left=0, bottom=32, right=16)
    """
    low = np.floor_divide(box[:2], step) * step
    high = -(np.floor_divide(np.negative(box[2:]), step)) * step
    return Box(*low.tolist(), *high.tolist())


def bounding_box(positions_px: Float64[np.ndarray, "patterns 2"], size: int) -> Box:
    """Return the box of the patches at some positions, on the grid of the network.

    Args:
        positions_px: Coordinates (y, x) of each patch's pixel (0, 0), object pixels.
        size: Edge of a patch, pixels.
    """
    low, high = np.floor(positions_px.min(0)).astype(np.int64), np.ceil(positions_px.max(0)).astype(np.int64) + size
    return round_outward(Box(*low.tolist(), *high.tolist()), STRIDE)


def grow_box(box: Box, part: Box) -> Box:
    """Return a box that holds another one besides: larger in generous steps, along the axes where it is needed.

    Args:
        box: Box so far, on the grid of growth; without pixels at the start.
        part: Box to hold.

    >>> grow_box(Box(0, 0, 128, 128), Box(100, 8, 140, 48))
    Box(top=0, left=0, bottom=256, right=128)
    """
    if not box.pixels:
        return round_outward(part, GROWTH_PX)
    edges = list(box)
    for axis in (0, 1):
        step = max(GROWTH_PX, round(GROWTH_FRACTION * box.shape[axis]))
        if part[axis] < box[axis]:
            edges[axis] = min(part[axis], box[axis] - step)
        if part[axis + 2] > box[axis + 2]:
            edges[axis + 2] = max(part[axis + 2], box[axis + 2] + step)
    return round_outward(Box(*edges), GROWTH_PX)


def crop_to_light(illumination: Float32[np.ndarray, "height width"], box: Box) -> Box:
    """Return the smallest box of all pixels with illumination, on the grid of the network.

    Args:
        illumination: Photons on every pixel of a box.
        box: The box; it is returned where all of it is dark.
    """
    rows, columns = (np.flatnonzero(illumination.any(axis)) for axis in (1, 0))
    if not len(rows):
        return box
    inner = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    top, left = box[:2]
    moved = Box(inner.top + top, inner.left + left, inner.bottom + top, inner.right + left)
    return round_outward(moved, STRIDE).intersection(box)


class GrowingCanvas:
    """Object and illumination on a box of whole pixels in the coordinates of the positions; 1 and 0 beyond it."""

    def __init__(self) -> None:
        self.box = Box(0, 0, 0, 0)
        self.object: Complex64[np.ndarray, "height width"] = np.ones((0, 0), np.complex64)
        self.illumination: Float32[np.ndarray, "height width"] = np.zeros((0, 0), np.float32)
        """Photons of the patterns that the object was solved from."""

    def cover(self, box: Box) -> None:
        """Grow until a box lies inside: in generous steps, along the axes where it is needed."""
        grown = grow_box(self.box, box)
        if grown != self.box:
            self._enlarge(grown)

    def place(self, box: Box) -> tuple[slice, slice]:
        """Return the place of a box in the arrays."""
        return box.slices(self.box)

    def lit_box(self) -> Box:
        """Return the smallest box of all pixels with illumination, on the grid of the network."""
        return crop_to_light(self.illumination, self.box)

    def level(self) -> tuple[float, float]:
        """Take the mean slope of the phase out of the object; return it, (y, x), radians per pixel.

        Beyond its light the object is 1, and what is solved next starts there: a ramp would part from it ever more.
        """
        slope = measure_slope(self.object, self.illumination > LIT_FRACTION * self.illumination.max())
        flat = add_phase_ramp(self.object, (-slope[0], -slope[1]))
        self.object = np.where(self.illumination > 0, flat, self.object)
        return slope

    def _enlarge(self, box: Box) -> None:
        canvas, illumination = np.ones(box.shape, np.complex64), np.zeros(box.shape, np.float32)
        inner = self.box.slices(box)
        if self.object.size:
            canvas[inner], illumination[inner] = self.object, self.illumination
        self.box, self.object, self.illumination = box, canvas, illumination
