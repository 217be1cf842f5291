"""Patterns of a scan in progress: counts in the blocks that they came in, positions, and how far each is solved."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Num, UInt8

from ptypinn.data.calibration import pattern_sums
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.solvers.live.stray_positions import ROUNDING, StrayPositions
from ptypinn.utils.growing_array import GrowingArray

WAITING, IN_PICTURE, SETTLED = range(3)
"""States of a pattern: not yet in any round, in the picture, and left alone."""
DARK = 0.05
"""Photons, over those of the brightest tenth of the patterns, below which a pattern shows no beam."""
MAX_CANVAS_PX = 2**27
"""Largest canvas, pixels: positions that would demand more are mistaken."""
PER_FRAME = ("flux", "beam_px")
"""Recorded terms with one entry per frame."""


class PatternStore:
    """All patterns that have come, in the order of their arrival."""

    def __init__(self) -> None:
        self.template: ScanData | None = None
        """First block: optics, mask, and the terms that all frames share."""
        self.positions_px: Float64[np.ndarray, "patterns 2"] = np.zeros((0, 2))
        self.numbers: Int64[np.ndarray, " patterns"] = np.zeros(0, np.int64)
        self.rounds: Int64[np.ndarray, " patterns"] = np.zeros(0, np.int64)
        """Rounds that each has taken part in."""
        self.states: UInt8[np.ndarray, " patterns"] = np.zeros(0, np.uint8)
        self.passed: Bool[np.ndarray, " patterns"] = np.zeros(0, bool)
        """True for patterns that others went before, to wait until there is time."""
        self.photons: Float64[np.ndarray, " patterns"] = np.zeros(0)
        """Counts on the good pixels of each."""
        self._columns = {
            name: GrowingArray(column.shape[1:], column.dtype)
            for name, column in vars(self).items()
            if isinstance(column, np.ndarray)
        }
        self._number_set: set[int] = set()
        self._strays: StrayPositions | None = None
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)  # of positions (y, x) and photons
        self._blocks: list[Counts] = []
        self._starts = [0]
        self._terms: dict[str, np.ndarray | None] = dict.fromkeys(PER_FRAME)

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self.numbers)

    @property
    def size(self) -> int:
        """Edge of a pattern, pixels."""
        return self.first.size

    @property
    def first(self) -> ScanData:
        """The first block."""
        assert self.template is not None
        return self.template

    def add(self, block: ScanData, numbers: Int64[np.ndarray, " patterns"]) -> int:
        """Take in a block; frames whose number has come before are left out. Return the number of new ones.

        Args:
            block: Counts, positions and optics; its counts are read when they are needed.
            numbers: Number of every frame.

        Raises:
            InputError: Where the numbers do not match the block, or the block those before it.
        """
        numbers = np.asarray(numbers, np.int64)
        self._check(block, numbers)
        chosen = np.flatnonzero([number not in self._number_set for number in numbers.tolist()])
        chosen = chosen[np.sort(np.unique(numbers[chosen], return_index=True)[1])]
        if not len(chosen):
            return 0
        if self.template is None:
            self.template = block.replace(truth=None, experiment=None)
            self._strays = StrayPositions(block.size)
        counts = block.counts if len(chosen) == len(numbers) else block.counts[chosen]
        self._blocks.append(counts)
        self._starts.append(self._starts[-1] + len(chosen))
        self._number_set.update(numbers[chosen].tolist())
        photons, zeros = pattern_sums(block)[chosen], np.zeros(len(chosen))
        self._append(positions_px=block.positions_px[chosen], numbers=numbers[chosen], photons=photons)
        limited = np.column_stack([block.positions_px[chosen], photons])
        self._low, self._high = np.minimum(self._low, limited.min(0)), np.maximum(self._high, limited.max(0))
        self._append(rounds=zeros, states=zeros, passed=zeros)
        for name in PER_FRAME:
            self._add_term(name, getattr(block, name), chosen)
        return len(chosen)

    def are_usable(self) -> Bool[np.ndarray, " patterns"]:
        """Return True for patterns with a beam, at positions that are no strays."""
        if self._strays is None:
            return np.zeros(0, bool)
        usable = ~self.are_dark()
        if not (2 * (self._high - self._low)[:2] + self.size).prod() < (1 - ROUNDING) * MAX_CANVAS_PX:
            span = 2 * np.abs(self.positions_px - np.median(self.positions_px, 0)) + self.size
            usable &= span.prod(1) < MAX_CANVAS_PX
        usable[self._strays.update(self.positions_px)] = False
        return usable

    def are_dark(self) -> Bool[np.ndarray, " patterns"]:
        """Return True for patterns without a beam."""
        if self._low[2] > DARK * self._high[2] or not len(self):  # none is, whatever the quantile
            return np.zeros(len(self), bool)
        return self.photons <= DARK * np.quantile(self.photons, 0.9)

    def counts(self, index: Int64[np.ndarray, " some"]) -> Num[np.ndarray, "some y x"]:
        """Read some patterns, in ascending order of their index, in the number type that they have."""
        owners = np.searchsorted(self._starts, index, side="right") - 1
        parts = [self._blocks[k][index[owners == k] - self._starts[k]] for k in np.unique(owners)]
        return np.concatenate(parts)

    def scan(self, index: Int64[np.ndarray, " some"], **changes: Any) -> ScanData:
        """Return the scan of some patterns, ascending, read into memory.

        Args:
            index: Patterns by the order of their arrival.
            **changes: Further fields of the scan, such as the probe.
        """
        terms = {name: None if (term := self._terms[name]) is None else term[index] for name in PER_FRAME}
        positions = self.positions_px[index]
        return self.first.replace(counts=self.counts(index), positions_px=positions, **{**terms, **changes})

    def _append(self, **rows: np.ndarray) -> None:
        """Add rows to columns, by the names of the attributes that show them."""
        for name, values in rows.items():
            setattr(self, name, self._columns[name].append(values))

    def _add_term(self, name: str, values: np.ndarray | None, chosen: np.ndarray) -> None:
        if (term := self._terms[name]) is not None and values is not None:
            self._terms[name] = np.concatenate([term, values[chosen]])
        elif values is not None and len(chosen) == len(self):
            self._terms[name] = values[chosen]
        else:
            self._terms[name] = None

    def _check(self, block: ScanData, numbers: np.ndarray) -> None:
        if numbers.shape != (block.n_patterns,):
            actual = f"{numbers.shape} numbers for {block.n_patterns} patterns"
            raise InputError(block.source, "numbers", actual, "one per pattern")
        if self.template is not None and block.size != self.size:
            actual = f"patterns of {block.size} pixels"
            raise InputError(block.source, "counts", actual, f"patterns of {self.size} pixels, as before")
