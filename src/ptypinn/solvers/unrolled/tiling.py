"""Windows of a scan: where they lie, what they hold, and what memory they take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ptypinn.config.reconstruct import WindowOptions
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.unrolled import STRIDE
from ptypinn.solvers.unrolled.downsample import MAX_FINE_PIXELS

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

    def grown(self, margin: int) -> Box:
        """With so many pixels more on every side."""
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)

    def shared(self, other: Box) -> Box:
        """The pixels of both; empty where there are none."""
        return Box(*np.maximum(self[:2], other[:2]).tolist(), *np.minimum(self[2:], other[2:]).tolist())

    def slices(self, of: Box) -> tuple[slice, slice]:
        """Where these pixels lie in an array that holds those of another box."""
        return slice(self.top - of.top, self.bottom - of.top), slice(self.left - of.left, self.right - of.left)

    def met_by(self, corners: Corners, size: int) -> Bool[np.ndarray, " patterns"]:
        """Which patches of `size` pixels with these corners share a pixel with the box."""
        return np.all((corners + size > self[:2]) & (corners < self[2:]), 1)


@dataclass(frozen=True)
class Tile:
    """A part of the canvas that is solved by itself."""

    core: Box
    """What it is there for; the cores tile the canvas."""
    canvas: Box
    """What it solves: all pixels that its patterns reach, on the grid of the network's tiles."""
    patterns: Int64[np.ndarray, " patterns"]
    """Those whose probe array meets the core or the halo around it; sorted."""
    owned: Int64[np.ndarray, " owned"]
    """Those whose probe array is centred in the core; every pattern of the scan is owned by one window."""


@dataclass(frozen=True)
class TileLayout:
    """How a scan is cut."""

    windows: list[Tile]
    """Those that hold a pattern, row by row."""
    extent: tuple[int, int]
    """Height and width of the whole canvas, pixels."""
    halo: int
    """Pixels around a core whose patterns a window takes too."""


def tile_canvas(corners: Corners, size: int, extent: tuple[int, int], edge: int, halo: int) -> TileLayout:
    """Cut a canvas into windows with cores of about `edge` pixels.

    Args:
        corners: Integer patch corners (y, x) on the whole canvas.
        size: Edge of a pattern, pixels.
        extent: Height and width of the whole canvas, pixels.
        edge: Edge of a core; cores are of about equal size, at most this one rounded up to the network's tiles.
        halo: Pixels around a core whose patterns a window takes too.
    """
    (rows, columns), whole = (_borders(length, edge) for length in extent), Box(0, 0, *extent)
    centres = corners + size // 2
    windows = []
    for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns)):
        core = Box(top, left, bottom, right)
        if core.met_by(corners, size).any():
            patterns = np.flatnonzero(core.grown(halo).met_by(corners, size))
            owned = np.flatnonzero(((centres >= core[:2]) & (centres < core[2:])).all(1))
            windows.append(Tile(core, _reach(corners[patterns], size).shared(whole), patterns, owned))
    return TileLayout(windows, extent, halo)


def default_halo(half_width: float, size: int) -> int:
    """Pixels after which the edge of a window is hardly felt, a multiple of the network's tiles.

    Edges are felt through the probe, and through slow phases, which spread by many times the probe's half-width with
    every pass. Fine detail agrees from one probe array on; slow phases of neighbours agree the better the wider it is.

    Args:
        half_width: Rms half-width of the probe's power, pixels.
        size: Edge of a pattern, pixels.
    """
    return STRIDE * math.ceil(max(HALO_WIDTHS * half_width, size) / STRIDE)


def blend_weight(core: Box, canvas: Box, whole: tuple[int, int], half: int) -> Float64[np.ndarray, "height width"]:
    """Smooth weight of a window on its canvas: 1 inside its core, 1/2 at its border, 0 from `half` pixels beyond.

    Borders that are those of the whole canvas do not weaken it.
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
    """Borders of cores along an axis: multiples of the network's tiles, and the end of the canvas."""
    count = max(1, -(-length // max(edge, STRIDE)))
    inner = {round(k * length / count / STRIDE) * STRIDE for k in range(1, count)}
    return sorted({0, length} | {place for place in inner if 0 < place < length})


def _reach(corners: Corners, size: int) -> Box:
    low = corners.min(0) // STRIDE * STRIDE
    high = -(-(corners.max(0) + size) // STRIDE) * STRIDE
    return Box(*low.tolist(), *high.tolist())


GIB = 2**30
PROCESS_BYTES = GIB // 2
"""The interpreter with its libraries, and batches of waves."""
PIXEL_BYTES = 512
"""For every pixel of a window's canvas: last states, gradient, maps, transforms, and the network's activations."""
START_PIXEL_BYTES = 140
"""For every pixel of the grid that the start is found on."""
WHOLE_PIXEL_BYTES = 30
"""For every pixel of the whole canvas: the result, its illumination and its weights."""
MIN_TILE_PX = 64
"""Windows are made no smaller than this, pixels."""


def tile_bytes(patterns: int, pixels: int, size: int) -> int:
    """Memory that a process takes to solve a window.

    Args:
        patterns: Patterns of the window.
        pixels: Pixels of its canvas.
        size: Edge of a pattern, pixels.
    """
    return PROCESS_BYTES + 4 * patterns * size**2 + PIXEL_BYTES * pixels


def plan_tiles(
    scan: ScanData, corners: Int64[np.ndarray, "patterns 2"], extent: tuple[int, int], halo: int, options: WindowOptions
) -> TileLayout:
    """The fewest windows that a process can solve within its memory; those of the wanted size where one is given.

    Args:
        scan: The scan.
        corners: Integer patch corners (y, x) on the whole canvas.
        extent: Height and width of the whole canvas, pixels.
        halo: Pixels around a core whose patterns a window takes too.
        options: Memory, or size of the windows.

    Raises:
        InputError: Where the memory does not suffice for the smallest windows, or for the canvas.
    """
    if options.window_px is not None:
        return tile_canvas(corners, scan.size, extent, options.window_px, halo)
    held = scan.counts.nbytes if isinstance(scan.counts, np.ndarray) else 0
    budget = int(options.memory_gib * GIB)

    def layout_of(parts: int) -> TileLayout:
        return tile_canvas(corners, scan.size, extent, -(-max(extent) // parts), halo)

    def needed(layout: TileLayout) -> int:
        windows = (tile_bytes(len(some.patterns), some.canvas.pixels, scan.size) for some in layout.windows)
        return held + max(windows)

    if needed(one := layout_of(1)) <= budget:
        return one
    few, many = 1, max(1, max(extent) // MIN_TILE_PX)
    least = max(needed(layout_of(many)), held + canvas_bytes(extent))
    if least > budget:
        found = f"{options.memory_gib:g} GiB"
        raise InputError("--memory_gib", "", found, f"at least {least / GIB:.2f} GiB for a scan like {scan.source}")
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if needed(layout_of(middle)) <= budget else (middle, many)
    return layout_of(many)


def canvas_bytes(extent: tuple[int, int]) -> int:
    """Memory that a process takes for what has the size of the whole canvas."""
    pixels = extent[0] * extent[1]
    return PROCESS_BYTES + WHOLE_PIXEL_BYTES * pixels + START_PIXEL_BYTES * min(pixels, MAX_FINE_PIXELS)
