"""Positions of an encoder that runs at a rate of its own, and their interpolation at the times of frames."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

MAX_GAP = 5.0
"""Interval between two readings, over the median one, across which nothing is interpolated."""
FIRST_SIZE = 1024
"""Readings that there is space for at first."""


class EncoderTrack:
    """Readings of an encoder in the order of their times.

    Readings that come in order cost the same however many there are; others are merged.
    """

    def __init__(self) -> None:
        self._readings = np.empty((FIRST_SIZE, 3))
        self._count = 0

    def __len__(self) -> int:
        """Return the number of readings."""
        return self._count

    def add(self, times_s: Float64[np.ndarray, " readings"], positions: Float64[np.ndarray, "readings 2"]) -> None:
        """Add readings; of several at one time the first counts.

        Args:
            times_s: Times by the encoder's clock, seconds.
            positions: Coordinates (y, x), in any unit.
        """
        new = np.column_stack([times_s, positions])
        last = self._readings[self._count - 1, 0] if self._count else -np.inf
        if len(new) and (new[0, 0] <= last or bool((np.diff(new[:, 0]) <= 0).any())):
            merged = np.concatenate([self._readings[: self._count], new])
            new, self._count = merged[np.unique(merged[:, 0], return_index=True)[1]], 0
        self._reserve(self._count + len(new))
        self._readings[self._count : self._count + len(new)] = new
        self._count += len(new)

    def interpolate(
        self, times_s: Float64[np.ndarray, " frames"]
    ) -> tuple[Float64[np.ndarray, "frames 2"], Bool[np.ndarray, " frames"]]:
        """Return the positions at some times, and True where there are readings close before and after.

        Args:
            times_s: Times by the encoder's clock, seconds; NaN where unknown.

        >>> track = EncoderTrack()
        >>> track.add(np.arange(4.0), np.outer(np.arange(4.0), [2.0, -1.0]))
        >>> positions, is_inside = track.interpolate(np.array([1.5, 3.5]))
        >>> positions[0].tolist(), is_inside.tolist()
        ([3.0, -1.5], [True, False])
        """
        readings = self._readings[: self._count]
        if len(readings) < 2:
            return np.zeros((len(times_s), 2)), np.zeros(len(times_s), bool)
        stamps = readings[:, 0]
        place = np.clip(np.searchsorted(stamps, times_s), 1, len(stamps) - 1)
        is_inside = (times_s >= stamps[0]) & (times_s <= stamps[-1])
        near = np.diff(stamps[max(0, len(stamps) - FIRST_SIZE) :])
        is_inside &= (stamps[place] - stamps[place - 1]) <= MAX_GAP * np.median(near)
        return np.column_stack([np.interp(times_s, stamps, readings[:, axis]) for axis in (1, 2)]), is_inside

    def _reserve(self, count: int) -> None:
        if count > len(self._readings):
            readings = np.empty((max(count, 2 * len(self._readings)), 3))
            readings[: self._count] = self._readings[: self._count]
            self._readings = readings
