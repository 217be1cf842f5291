"""Join frames and positions by frame number, or by time, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ptypinn.streams.clocks import Clock, map_times
from ptypinn.streams.encoder_track import EncoderTrack
from ptypinn.streams.spool import NO_NUMBER

Clocks = Literal["auto", "same", "arrival"]
MAX_SKIPPED = 1_000_000
"""Numbers that a stream may skip at once: a frame farther ahead has a damaged number, and a scan that is said to be
longer by more has no stated length."""


@dataclass
class Joiner:
    """Frames and positions of one scan, and the pairs of them that are complete.

    Frames that come again are left aside, and so are positions of frames that are joined already. Positions by time are
    interpolated at the time of every frame, once the encoder has passed it.

    >>> joiner = Joiner()
    >>> joiner.add_frames(np.array([0, 2, 1]), np.full(3, np.nan), np.zeros(3)).tolist()
    [True, True, True]
    >>> joiner.add_positions(np.ones((2, 2)), np.array([1, 2]), np.full(2, np.nan), np.zeros(2))
    >>> pairs = joiner.take_pairs()
    >>> pairs.numbers.tolist(), pairs.rows.tolist()
    ([1, 2], [2, 1])
    """

    position_offset: int = 0
    """Number of a frame less the number of its position, where both count from different starts."""
    clocks: Clocks = "auto"
    """Relation of the clocks of detector and encoder, as in `map_times`."""
    numbers: list[int] = field(default_factory=list)
    """Number of every frame, in the order of arrival."""
    n_repeated: int = 0
    """Frames that came again."""
    n_absurd: int = 0
    """Frames with numbers that a scan does not reach."""
    _rows: dict[int, int] = field(default_factory=dict)
    _times: list[float] = field(default_factory=list)
    _positions: dict[int, tuple[float, float]] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)
    _timed: list[int] = field(default_factory=list)
    _largest: int | None = None
    _detector: Clock = field(default_factory=Clock)
    _encoder: Clock = field(default_factory=Clock)
    _track: EncoderTrack = field(default_factory=EncoderTrack)
    _has_news: bool = False
    _missing: tuple[tuple[int, int | None], list[int]] | None = None

    def add_frames(
        self,
        numbers: Int64[np.ndarray, " frames"],
        times_s: Float64[np.ndarray, " frames"],
        arrivals_s: Float64[np.ndarray, " frames"],
    ) -> Bool[np.ndarray, " frames"]:
        """Add frames; return True for those that are new.

        Args:
            numbers: Their numbers.
            times_s: Times of exposure by the detector's clock, NaN where unknown.
            arrivals_s: Times of arrival.
        """
        is_new = np.zeros(len(numbers), bool)
        for k, (number, time_s) in enumerate(zip(numbers.tolist(), times_s.tolist(), strict=True)):
            if number in self._rows:
                self.n_repeated += 1
            elif self._largest is not None and number > self._largest + MAX_SKIPPED:
                self.n_absurd += 1
            else:
                is_new[k], self._largest = True, max(number, number if self._largest is None else self._largest)
                self._rows[number] = len(self.numbers)
                self.numbers.append(number)
                self._times.append(time_s)
                self._waiting.add(number)
        self._detector.add(times_s[is_new], arrivals_s[is_new])
        self._has_news |= bool(is_new.any())
        return is_new

    def add_positions(
        self,
        positions_m: Float64[np.ndarray, "positions 2"],
        numbers: Int64[np.ndarray, " positions"],
        times_s: Float64[np.ndarray, " positions"],
        arrivals_s: Float64[np.ndarray, " positions"],
    ) -> None:
        """Add positions, (y, x) metres, by number, or by time where their number is `NO_NUMBER`."""
        numbered = numbers != NO_NUMBER
        for number, (y, x) in zip(numbers[numbered].tolist(), positions_m[numbered].tolist(), strict=True):
            frame = number + self.position_offset
            if frame in self._waiting or frame not in self._rows:
                self._positions.setdefault(frame, (y, x))
        timed = ~numbered & np.isfinite(times_s)
        if timed.any():
            self._encoder.add(times_s[timed], arrivals_s[timed])
            self._track.add(times_s[timed], positions_m[timed])
        self._has_news |= len(numbers) > 0

    def take_pairs(self) -> Pairs:
        """Return the frames whose positions have come since the last call, in the order of their numbers."""
        if not self._has_news:
            return concatenate_pairs(())
        self._has_news = False
        pairs = {number: self._positions.pop(number) for number in self._waiting & self._positions.keys()}
        if len(self._track):
            timed = self._interpolate(sorted(self._waiting - pairs.keys()))
            self._timed += timed
            pairs |= timed
        self._waiting -= pairs.keys()
        ready = sorted(pairs)
        rows = np.array([self._rows[number] for number in ready], np.int64)
        positions_m = np.array([pairs[number] for number in ready], np.float64).reshape(-1, 2)
        return Pairs(rows, np.array(ready, np.int64), positions_m)

    def revise(self, pairs: Pairs) -> Pairs:
        """Return pairs with the positions of those that were joined by time as all readings and arrivals give them."""
        final = self._interpolate(self._timed) if self._timed else {}
        positions_m = pairs.positions_m.copy()
        for k, number in enumerate(pairs.numbers.tolist()):
            positions_m[k] = final.get(number, positions_m[k])
        return Pairs(pairs.rows, pairs.numbers, positions_m)

    @property
    def n_waiting(self) -> int:
        """Frames without a position so far."""
        return len(self._waiting)

    @property
    def without_position(self) -> list[int]:
        """Their numbers, ascending."""
        return sorted(self._waiting)

    @property
    def suggested_offset(self) -> int | None:
        """Offset that would give the last frame a position, where frames count from 1 and positions from 0."""
        if not self._rows or self.position_offset:
            return None
        is_ahead = min(self._positions, default=1) == 0 and 0 not in self._rows
        return 1 if is_ahead and self._waiting == {self._largest} else None

    def list_missing(self, n_frames: int | None = None) -> list[int]:
        """Return the numbers of frames that have not come, ascending.

        Args:
            n_frames: Frames that the scan had, where that is known: counted from 0, from 1 where the last number shows
                it, or from the first that came where that is larger still. Without it, only gaps below the largest
                number count as missing.
        """
        if self._missing is None or self._missing[0] != (len(self.numbers), n_frames):
            self._missing = (len(self.numbers), n_frames), self._find_missing(n_frames)
        return self._missing[1]

    def _find_missing(self, n_frames: int | None) -> list[int]:
        if n_frames is not None and n_frames > len(self.numbers) + MAX_SKIPPED:
            n_frames = None
        if self._largest is None:
            return list(range(n_frames or 0))
        numbers, largest = np.fromiter(self._rows, np.int64, len(self._rows)), self._largest
        smallest = first = int(numbers.min())
        if n_frames is not None and largest <= n_frames:
            first = 1 if smallest > 0 and largest == n_frames else 0
        last = largest if n_frames is None else max(largest, first + n_frames - 1)
        if last - first > len(numbers) + 2 * MAX_SKIPPED:  # damaged numbers one after the other
            return []
        return np.setdiff1d(np.arange(first, last + 1), numbers).tolist()

    def _interpolate(self, numbers: list[int]) -> dict[int, tuple[float, float]]:
        """Return the positions of frames at their times, of those that the encoder has passed."""
        times_s = np.array([self._times[self._rows[number]] for number in numbers])
        if not np.isfinite(times_s).any():
            return {}
        times_s = map_times(times_s, self._detector, self._encoder, self.clocks)
        positions_m, is_inside = self._track.interpolate(times_s)
        places = zip(numbers, positions_m.tolist(), is_inside.tolist(), strict=True)
        return {number: (y, x) for number, (y, x), inside in places if inside}


@dataclass(frozen=True)
class Pairs:
    """Frames with their positions."""

    rows: Int64[np.ndarray, " frames"]
    """Of every frame, its place in the order of arrival."""
    numbers: Int64[np.ndarray, " frames"]
    """Frame numbers, ascending."""
    positions_m: Float64[np.ndarray, "frames 2"]
    """Positions (y, x), metres."""


def concatenate_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Return several lists of pairs as one, in their order."""
    empty = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)))
    names = "rows", "numbers", "positions_m"
    return Pairs(*(np.concatenate([getattr(part, name) for part in (empty, *parts)]) for name in names))
