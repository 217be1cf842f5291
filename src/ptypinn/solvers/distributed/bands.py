"""Bands of a canvas: rows that processes own, with equal shares of the patterns, and the halo that these reach into."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from ptypinn.models.blocks import STRIDE

Corners = Int64[np.ndarray, "patterns 2"]


class Band(NamedTuple):
    """Rows of a canvas, and the patterns that belong to them."""

    top: int
    """First row that it owns; a multiple of the network's stride."""
    bottom: int
    """Row after the last one that it owns."""
    low: int
    """First row that it holds."""
    high: int
    """Row after the last one that it holds."""
    patterns: Int64[np.ndarray, " patterns"]
    """Index of its patterns, ascending."""


def plan_bands(corners: Corners, size: int, height: int, count: int) -> list[Band] | None:
    """Divide a canvas into bands with equal numbers of patterns; None where there is no room for so many.

    A halo is as wide as any pattern of a band reaches beyond it, and no more than half of a band, so that a band
    shares rows with its two neighbours alone.

    Args:
        corners: Integer patch corners (y, x) on the canvas.
        size: Edge of a pattern, pixels.
        height: Of the canvas, pixels.
        count: Number of bands.

    >>> corners = np.stack([np.arange(0, 96, 4), np.zeros(24, int)], 1)
    >>> [tuple(band[:4]) for band in plan_bands(corners, 16, 108, 2)]
    [(0, 48, 0, 64), (48, 108, 32, 108)]
    >>> plan_bands(corners, 16, 108, 8) is None
    True
    """
    if len(corners) < count:
        return None
    parts = [np.sort(part) for part in np.array_split(np.argsort(corners[:, 0], kind="stable"), count)]
    rows = corners[:, 0]
    middles = [(rows[above].max() + rows[below].min() + size) / 2 for above, below in pairwise(parts)]
    inner = [STRIDE * round(middle / STRIDE) for middle in middles]
    beyond = [
        max(rows[above].max() + size - border, border - rows[below].min())
        for above, below, border in zip(parts, parts[1:], inner, strict=False)
    ]
    halo = STRIDE * -(-max([1, *map(int, beyond)]) // STRIDE)
    borders = [0, *inner, height]
    room = [bottom - top - halo * ((top > 0) + (bottom < height)) for top, bottom in pairwise(borders)]
    if min(room) < 0:
        return None
    return [
        Band(top, bottom, max(0, top - halo), min(height, bottom + halo), part)
        for top, bottom, part in zip(borders, borders[1:], parts, strict=False)
    ]
