"""Stray positions of a scan in progress: those of `find_strays` after every block, at a cost that follows the block.

Positions only come, so the distance of a pattern to the nearest others never grows. Once two of them share pixels with
it, it is no stray for good; those that lie alone are few, and are compared with a bound on the gap that makes a stray.
The whole scan is searched again only where that leaves it open, or when it has grown.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.data.positions import FAR, MAX_STRAY, MIN_POSITIONS, TWINS, find_nearest, find_strays

GROWTH = 1.25
"""Growth of the scan after which it is searched again: until then old distances bound the gap well."""
ROUNDING = 1e-9
"""Relative error of distances that decides nothing."""
STEPS = tuple(product(range(-2, 3), repeat=2))
"""From a cell to those in which others may be near enough."""
MAX_COMPARED = 64
"""Maximum number of positions that are compared one by one; of more, the whole scan is searched."""
Cell = tuple[float, float]


class StrayPositions:
    """Stray positions of a scan that grows.

    Args:
        size: Edge of the patterns, pixels.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._edge = (1 - ROUNDING) * size / np.sqrt(2)  # of a cell: what is in one is near enough
        self._count = 0
        self._cells: dict[Cell, list[int]] = defaultdict(list)
        self._alone: dict[int, Cell] = {}
        self._distances: Float64[np.ndarray, " patterns"] = np.zeros(0)
        self._searched: tuple[int, Int64[np.ndarray, " strays"]] = (0, np.zeros(0, np.int64))

    def update(self, positions_px: Float64[np.ndarray, "patterns 2"]) -> Int64[np.ndarray, " strays"]:
        """Return the index of the strays among all positions, ascending.

        Args:
            positions_px: (y, x), object pixels: those of the call before, and new ones behind them.
        """
        self._add(positions_px)
        if not self._alone or self._count < MIN_POSITIONS:
            return np.zeros(0, np.int64)
        count, index = self._searched
        if count == self._count:
            return index
        is_bounded = self._count <= GROWTH * count and len(self._alone) <= MAX_COMPARED
        strays = self._compare(positions_px) if is_bounded else None
        return self._search(positions_px) if strays is None else strays

    def _add(self, positions_px: Float64[np.ndarray, "patterns 2"]) -> None:
        """Sort new positions into cells, and see which positions lie alone now."""
        first, self._count = self._count, len(positions_px)
        cells = [(y, x) for y, x in np.floor(positions_px[first:] / self._edge).tolist()]
        for number, cell in enumerate(cells, first):
            self._cells[cell].append(number)
        changed = {(y + j, x + i) for y, x in cells for j, i in STEPS} if self._alone else set()
        self._alone.update(enumerate(cells, first))
        for number, cell in list(self._alone.items()):
            if (number >= first or cell in changed) and not self._lies_alone(number, cell, positions_px):
                del self._alone[number]

    def _lies_alone(self, number: int, cell: Cell, positions_px: Float64[np.ndarray, "patterns 2"]) -> bool:
        """Return True where fewer than two others are at most the edge of a pattern away."""
        if len(self._cells[cell]) > TWINS:
            return False
        near = [each for j, i in STEPS for each in self._cells.get((cell[0] + j, cell[1] + i), ())]
        distance = np.linalg.norm(positions_px[near] - positions_px[number], axis=1)
        return int((distance <= (1 - ROUNDING) * self._size).sum()) <= TWINS

    def _compare(self, positions_px: Float64[np.ndarray, "patterns 2"]) -> Int64[np.ndarray, " strays"] | None:
        """Return the strays where a bound decides each of those that lie alone; None where it does not.

        The median distance that the gap follows from is at most what it would be if no old distance had become
        smaller, and all new ones were infinite.
        """
        bound = max(FAR * float(self._distances[self._count // 2]), self._size)
        for number in self._alone:
            distance = np.linalg.norm(positions_px - positions_px[number], axis=1)
            if np.partition(distance, TWINS)[TWINS] <= (1 + ROUNDING) * bound:
                return None
        is_scan_of_pieces = len(self._alone) > max(1, MAX_STRAY * self._count)
        return np.array([] if is_scan_of_pieces else sorted(self._alone), np.int64)

    def _search(self, positions_px: Float64[np.ndarray, "patterns 2"]) -> Int64[np.ndarray, " strays"]:
        """Return the strays by a search of the whole scan, and take its distances for later bounds."""
        self._distances = np.sort(find_nearest(positions_px, positions_px, MIN_POSITIONS)[0][:, -1])
        self._searched = self._count, find_strays(positions_px, self._size).index
        return self._searched[1]
