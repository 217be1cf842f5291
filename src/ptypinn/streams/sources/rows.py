"""Positions of a table that grows: every row is handed on once, when it is written."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64

from ptypinn.streams.messages import Positions

SETTLE_S = 1.0
"""Time without a change after which the columns of a row are complete: a line may run where one of them is 0."""


class GrowingRows:
    """Rows of a table of positions, one per frame, each taken once.

    >>> rows = GrowingRows()
    >>> [part.numbers.tolist() for part in rows.take(np.array([[1.0, 2.0], [np.nan, 0], [5.0, 3.0], [4.0, 0]]))]
    [[0, 2]]
    >>> [part.numbers.tolist() for part in rows.take(np.array([[1.0, 2.0], [4.0, 0], [5.0, 3.0], [4.0, 0]]), last=True)]
    [[1, 3]]

    Args:
        settle_s: Time without a change after which rows are taken of which one column is 0.
    """

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._taken = np.zeros(0, bool)
        self._settle_s = settle_s
        self._filled, self._filled_at = (0, 0), time.monotonic()

    @property
    def n_taken(self) -> int:
        """Rows that have been taken."""
        return int(self._taken.sum())

    @property
    def is_waiting(self) -> bool:
        """True while rows wait for one of their columns."""
        return not bool(self._taken[min(self._filled) : max(self._filled)].all())

    def take(self, places: Float64[np.ndarray, "rows 2"], last: bool = False) -> Iterator[Positions]:
        """Yield the rows that are written and have not been taken.

        A row that is not a number is not written. Neither is a row in the zeros at the end of either column, where
        tables of their full size are filled in, column by column perhaps, until the scan is over; where the table
        stands still, a row is written with one column of 0 too.

        Args:
            places: Positions (y, x), metres, one row per frame.
            last: Take the zeros too: nothing more will be written.
        """
        self._taken = np.concatenate([self._taken, np.zeros(max(0, len(places) - len(self._taken)), bool)])
        written = np.isfinite(places).all(axis=1)
        self._note_filled(places)
        if not last:
            is_settled = time.monotonic() - self._filled_at > self._settle_s
            written[(max if is_settled else min)(self._filled) :] = False
        new = np.flatnonzero(written & ~self._taken[: len(places)])
        if len(new):
            self._taken[new] = True
            yield Positions(places[new], new.astype(np.int64))

    def _note_filled(self, places: Float64[np.ndarray, "rows 2"]) -> None:
        """Count the rows of each column up to its zeros at the end, and note when that changes."""
        filled = (_count_filled(places[:, 0] != 0), _count_filled(places[:, 1] != 0))
        if filled != self._filled:
            self._filled, self._filled_at = filled, time.monotonic()


def _count_filled(values: Bool[np.ndarray, " rows"]) -> int:
    index = np.flatnonzero(values)
    return int(index[-1]) + 1 if len(index) else 0
