"""Tiles of a scan: their places on the canvas, their patterns, and the memory that they take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from ptypinn.config.shared import TilingConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.blocks import STRIDE
from ptypinn.physics.patches import MAX_FINE_PIXELS, split_positions

HALO_WIDTHS = 20.0
"""Width of the halo, in rms half-widths of the probe's power."""

Corners = Int64[np.ndarray, "patterns 2"]


class Box(NamedTuple):
    """Pixels of a canvas from (top, left) on, up to but without (bottom, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.bottom - self.top, self.right - self.left

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        height, width = self.shape
        return max(0, height) * max(0, width)

    def padded(self, margin: int) -> Box:
        """Return the box with a margin on every side.

        >>> Box(8, 8, 16, 16).padded(2)
        Box(top=6, left=6, bottom=18, right=18)
        """
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)

    def intersection(self, other: Box) -> Box:
        """Return the common pixels; an empty box where there are none."""
        return Box(*np.maximum(self[:2], other[:2]).tolist(), *np.minimum(self[2:], other[2:]).tolist())

    def slices(self, of: Box) -> tuple[slice, slice]:
        """Return the place of these pixels in an array of the pixels of another box."""
        return slice(self.top - of.top, self.bottom - of.top), slice(self.left - of.left, self.right - of.left)

    def overlaps(self, corners: Corners, size: int) -> Bool[np.ndarray, " patterns"]:
        """Return True for patches of `size` pixels with these corners that share a pixel with the box."""
        return np.all((corners + size > self[:2]) & (corners < self[2:]), 1)


@dataclass(frozen=True)
class Tile:
    """A part of the canvas that is solved by itself."""

    core: Box
    """Pixels that the result takes from it; the cores partition the canvas."""
    canvas: Box
    """Pixels that it solves: all that its patterns reach, on the stride of the network."""
    patterns: Int64[np.ndarray, " patterns"]
    """Patterns whose probe array overlaps the core or the halo around it; sorted."""
    central: Int64[np.ndarray, " central"]
    """Patterns whose probe array is centred in the core; every pattern of the scan is central to one tile."""


@dataclass(frozen=True)
class TileLayout:
    """Layout of the tiles of a scan."""

    tiles: list[Tile]
    """Tiles that hold a pattern, row by row."""
    extent: tuple[int, int]
    """Height and width of the whole canvas, pixels."""
    halo: int
    """Pixels around a core whose patterns a tile takes too."""


def tile_canvas(corners: Corners, size: int, extent: tuple[int, int], edge: int, halo: int) -> TileLayout:
    """Cut a canvas into tiles with cores of about `edge` pixels.

    Args:
        corners: Integer patch corners (y, x) on the whole canvas.
        size: Edge of a pattern, pixels.
        extent: Height and width of the whole canvas, pixels.
        edge: Edge of a core; cores are of about equal size, at most this one rounded up to the stride of the network.
        halo: Pixels around a core whose patterns a tile takes too.
    """
    (rows, columns), whole = (_borders(length, edge) for length in extent), Box(0, 0, *extent)
    centres = corners + size // 2
    tiles = []
    for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns)):
        core = Box(top, left, bottom, right)
        if core.overlaps(corners, size).any():
            patterns = np.flatnonzero(core.padded(halo).overlaps(corners, size))
            central = np.flatnonzero(((centres >= core[:2]) & (centres < core[2:])).all(1))
            tiles.append(Tile(core, _reach(corners[patterns], size).intersection(whole), patterns, central))
    return TileLayout(tiles, extent, halo)


def default_halo(half_width: float, size: int) -> int:
    """Return the halo beyond which the edge of a tile has little effect, pixels, a multiple of the network's stride.

    Edges act through the probe, and through slow phases, which spread by many times the probe's half-width with
    every pass. Fine detail agrees from one probe array on; slow phases of neighbours agree the better the wider it is.

    Args:
        half_width: Rms half-width of the probe's power, pixels.
        size: Edge of a pattern, pixels.
    """
    return STRIDE * math.ceil(max(HALO_WIDTHS * half_width, size) / STRIDE)


def blend_weight(core: Box, canvas: Box, whole: tuple[int, int], half: int) -> Float64[np.ndarray, "height width"]:
    """Return the smooth weight of a tile: 1 inside its core, 1/2 at its border, 0 from `half` pixels beyond.

    Borders that are those of the whole canvas do not weaken it.

    >>> blend_weight(Box(0, 0, 1, 4), Box(0, 0, 1, 8), (1, 8), 2).round(2)
    array([[1.  , 1.  , 0.96, 0.69, 0.31, 0.04, 0.  , 0.  ]])
    """
    sides = [
        _ramp_along(low, high, start, stop, length, half)
        for low, high, start, stop, length in zip(core[:2], core[2:], canvas[:2], canvas[2:], whole, strict=True)
    ]
    return np.outer(*sides)


def _ramp_along(low: int, high: int, start: int, stop: int, length: int, half: int) -> Float64[np.ndarray, " edge"]:
    place = np.arange(start, stop) + 0.5
    rise = np.inf if low == 0 else (place - low) / half
    fall = np.inf if high == length else (high - place) / half
    depth = np.clip(np.minimum(rise, fall), -1, 1) * np.ones(len(place))
    return np.sin(np.pi / 4 * (depth + 1)) ** 2


def _borders(length: int, edge: int) -> list[int]:
    """Return the borders of cores along an axis: multiples of the network's stride, and the end of the canvas."""
    count = max(1, -(-length // max(edge, STRIDE)))
    inner = {round(k * length / count / STRIDE) * STRIDE for k in range(1, count)}
    return sorted({0, length} | {place for place in inner if 0 < place < length})


def _reach(corners: Corners, size: int) -> Box:
    low = corners.min(0) // STRIDE * STRIDE
    high = -(-(corners.max(0) + size) // STRIDE) * STRIDE
    return Box(*low.tolist(), *high.tolist())


GIB = 2**30
PROCESS_BYTES = 5 * GIB // 8
"""The interpreter with its libraries and compiled loops, and batches of waves."""
PIXEL_BYTES = 512
"""For every pixel of a tile's canvas: last iterates, gradient, maps, transforms, and the network's activations."""
START_PIXEL_BYTES = 140
"""For every pixel of the grid that the start is found on."""
WHOLE_PIXEL_BYTES = 30
"""For every pixel of the whole canvas: the result, its illumination and its weights."""
MIN_TILE_PX = 64
"""Tiles are no smaller than this, pixels."""


class PixelMemory(NamedTuple):
    """Bytes that a solver takes per pixel."""

    tile: int = PIXEL_BYTES
    """Of a tile's canvas."""
    whole: int = WHOLE_PIXEL_BYTES
    """Of the whole canvas."""


UNROLLED = PixelMemory()


def tile_bytes(patterns: int, pixels: int, size: int, memory: PixelMemory = UNROLLED) -> int:
    """Return the memory that a process takes to solve a tile.

    Args:
        patterns: Patterns of the tile.
        pixels: Pixels of its canvas.
        size: Edge of a pattern, pixels.
        memory: Bytes per pixel of the solver.
    """
    return PROCESS_BYTES + 4 * patterns * size**2 + memory.tile * pixels


def plan_tiles(
    scan: ScanData,
    corners: Int64[np.ndarray, "patterns 2"],
    extent: tuple[int, int],
    halo: int,
    tiling: TilingConfig,
    memory: PixelMemory = UNROLLED,
) -> TileLayout:
    """Plan the smallest number of tiles that a process can solve within its memory; or tiles of a given size.

    Arguments are those of `tile_canvas`, and the memory: of a process, and of the solver per pixel.

    Raises:
        InputError: Where the memory does not suffice for the smallest tiles, or for the canvas.
    """
    if tiling.tile_px is not None:
        return tile_canvas(corners, scan.size, extent, tiling.tile_px, halo)
    counts_bytes = scan.counts.nbytes if isinstance(scan.counts, np.ndarray) else 0
    budget = int(tiling.memory_gib * GIB)

    def layout_of(parts: int) -> TileLayout:
        return tile_canvas(corners, scan.size, extent, -(-max(extent) // parts), halo)

    def needed(layout: TileLayout) -> int:
        sizes = (tile_bytes(len(tile.patterns), tile.canvas.pixels, scan.size, memory) for tile in layout.tiles)
        return counts_bytes + max(sizes)

    if needed(one := layout_of(1)) <= budget:
        return one
    few, many = 1, max(1, max(extent) // MIN_TILE_PX)
    min_bytes = max(needed(layout_of(many)), counts_bytes + canvas_bytes(extent, memory))
    if min_bytes > budget:
        expected = f"at least {min_bytes / GIB:.2f} GiB for a scan like {scan.source}"
        raise InputError("--memory-gib", "", f"{tiling.memory_gib:g} GiB", expected)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if needed(layout_of(middle)) <= budget else (middle, many)
    return layout_of(many)


def canvas_bytes(extent: tuple[int, int], memory: PixelMemory = UNROLLED) -> int:
    """Return the memory that a process takes for arrays of the size of the whole canvas."""
    pixels = extent[0] * extent[1]
    return PROCESS_BYTES + memory.whole * pixels + START_PIXEL_BYTES * min(pixels, MAX_FINE_PIXELS)


def patch_corners(scan: ScanData, origin: tuple[int, int]) -> np.ndarray:
    """Return the integer patch corners (y, x) on the whole canvas."""
    return split_positions(torch.from_numpy(scan.positions_px - np.asarray(origin, float)))[0][0].numpy()
