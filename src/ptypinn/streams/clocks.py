"""Relation of the clocks of a detector and an encoder, from the times at which their messages arrived.

A message never arrives before it was sent: the points (time stamp, arrival) lie above the line of the clock, and touch
it where the way was quick. The line below all points that lies nearest to them is the clock (Moon, Skelly, Towsley,
Estimation and removal of clock skew from network delay measurements, IEEE INFOCOM 1999).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float64

BIN_S = 0.5
"""Of the messages within such an interval, the quickest is used."""
MAX_BINS = 4096
"""Intervals in memory; beyond, every second one is left out."""
MAX_OFFSET_S = 1.0
"""Difference of two clocks, seconds, up to which it may be a difference of the ways that the messages take."""
MIN_DRIFT_S, SIGNIFICANCE = 0.02, 5.0
"""Drift over a scan from which it counts, seconds, and in units of the scatter of the quickest messages."""


@dataclass
class Clock:
    """Time stamps of one device, and the arrivals of its messages."""

    _points: dict[int, tuple[float, float]] = field(default_factory=dict)
    _bin_s: float = BIN_S

    def add(self, times_s: Float64[np.ndarray, " messages"], arrivals_s: Float64[np.ndarray, " messages"]) -> None:
        """Add messages by their time stamps and arrivals; those without a time stamp (NaN) are left aside."""
        for time_s, arrival_s in zip(times_s.tolist(), arrivals_s.tolist(), strict=True):
            if np.isfinite(time_s):
                place = int(time_s // self._bin_s)
                before = self._points.get(place)
                if before is None or arrival_s - time_s < before[1] - before[0]:
                    self._points[place] = (time_s, arrival_s)
        while len(self._points) > MAX_BINS:
            self._bin_s *= 2
            points = list(self._points.values())
            self._points = {}
            self.add(*np.array(points).T)

    def fit(self) -> ClockLine:
        """Return the line below all points and nearest to them."""
        points = np.array(sorted(self._points.values())).reshape(-1, 2)
        if not len(points):
            return ClockLine(0.0, 1.0, 0.0, (0.0, 0.0))
        span, middle = (points[0, 0], points[-1, 0]), points[:, 0].mean()
        offset, rate = float((points[:, 1] - points[:, 0]).min()), 1.0
        for (t0, a0), (t1, a1) in pairwise(_lower_hull(points)):
            if t0 <= middle <= t1 and t1 > t0:
                rate = (a1 - a0) / (t1 - t0)
                offset = a0 - rate * t0
        scatter = float(np.median(points[:, 1] - offset - rate * points[:, 0]))
        return ClockLine(offset, rate, scatter, span)


@dataclass(frozen=True)
class ClockLine:
    """Arrival as a function of the time stamp, for messages that were quick: `offset + rate * time`."""

    offset_s: float
    rate: float
    scatter_s: float
    """Median delay of the quickest messages of every interval against the line."""
    span_s: tuple[float, float]
    """First and last time stamp."""


def map_times(
    times_s: Float64[np.ndarray, " frames"],
    detector: Clock,
    encoder: Clock,
    clocks: Literal["auto", "same", "arrival"] = "auto",
) -> Float64[np.ndarray, " frames"]:
    """Return times of the detector's clock in the time of the encoder's.

    Args:
        times_s: Times by the detector's clock, seconds.
        detector: Its messages.
        encoder: Those of the encoder.
        clocks: `same` for devices with one clock; `arrival` for clocks that are related by the arrivals of their
            messages, as exactly as the quickest of both took equally long; `auto` for clocks that agreed at the start
            of the scan, corrected for a drift that the arrivals show, unless they differ by more than a second.
    """
    if clocks == "same":
        return times_s
    ours, theirs = detector.fit(), encoder.fit()
    start, end = ours.span_s
    mapped = (ours.offset_s + ours.rate * times_s - theirs.offset_s) / theirs.rate
    offset_s = (ours.offset_s + ours.rate * start - theirs.offset_s) / theirs.rate - start
    if clocks == "arrival" or abs(offset_s) > MAX_OFFSET_S:
        return mapped
    drift, scatter_s = ours.rate / theirs.rate - 1, ours.scatter_s + theirs.scatter_s
    if abs(drift) * (end - start) > max(MIN_DRIFT_S, SIGNIFICANCE * scatter_s):
        return times_s + drift * (times_s - start)
    return times_s


def _lower_hull(points: Float64[np.ndarray, "points 2"]) -> list[tuple[float, float]]:
    """Return the lower convex hull of points that are sorted along the first axis."""
    hull: list[tuple[float, float]] = []
    for x, y in points.tolist():
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull
