"""How large windows may be for a budget of memory."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from ptypinn.config.windows import WindowOptions
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.learned.coarse import COARSE_PIXELS
from ptypinn.learned.layout import Layout, cut

GIB = 2**30
PROCESS_BYTES = GIB // 2
"""The interpreter with its libraries, and batches of waves."""
PIXEL_BYTES = 512
"""For every pixel of a window's canvas: last states, gradient, maps, transforms, and the network's activations."""
START_PIXEL_BYTES = 140
"""For every pixel of the grid that the start is found on."""
WHOLE_PIXEL_BYTES = 30
"""For every pixel of the whole canvas: the result, its illumination and its weights."""
SMALLEST_EDGE = 64
"""Windows are made no smaller than this, pixels."""


def window_bytes(patterns: int, pixels: int, size: int) -> int:
    """Memory that a process takes to solve a window.

    Args:
        patterns: Patterns of the window.
        pixels: Pixels of its canvas.
        size: Edge of a pattern, pixels.
    """
    return PROCESS_BYTES + 4 * patterns * size**2 + PIXEL_BYTES * pixels


def lay_out(
    scan: ScanData, corners: Int64[np.ndarray, "patterns 2"], extent: tuple[int, int], halo: int, options: WindowOptions
) -> Layout:
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
        return cut(corners, scan.size, extent, options.window_px, halo)
    held = scan.counts.nbytes if isinstance(scan.counts, np.ndarray) else 0
    budget = int(options.memory_gib * GIB)

    def layout_of(parts: int) -> Layout:
        return cut(corners, scan.size, extent, -(-max(extent) // parts), halo)

    def needed(layout: Layout) -> int:
        windows = (window_bytes(len(some.patterns), some.canvas.pixels, scan.size) for some in layout.windows)
        return held + max(windows)

    if needed(one := layout_of(1)) <= budget:
        return one
    few, many = 1, max(1, max(extent) // SMALLEST_EDGE)
    least = max(needed(layout_of(many)), held + whole_bytes(extent))
    if least > budget:
        found = f"{options.memory_gib:g} GiB"
        raise InputError("--memory_gib", "", found, f"at least {least / GIB:.2f} GiB for a scan like {scan.source}")
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if needed(layout_of(middle)) <= budget else (middle, many)
    return layout_of(many)


def whole_bytes(extent: tuple[int, int]) -> int:
    """Memory that a process takes for what has the size of the whole canvas."""
    pixels = extent[0] * extent[1]
    return PROCESS_BYTES + WHOLE_PIXEL_BYTES * pixels + START_PIXEL_BYTES * min(pixels, COARSE_PIXELS)
