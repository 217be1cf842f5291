"""Windows of a scan in progress: patterns that enter together, and those around them whose light overlaps theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import cKDTree

from ptypinn.solvers.live.canvas import bounding_box
from ptypinn.solvers.unrolled.tiling import Box

REACH_WIDTHS = (5.0, 4.0, 3.0)
"""Distance to new patterns up to which others take part in their rounds, in rms half-widths of the probe's power: the
farther the better, as time allows. Measured: errors of fine detail are 8 % larger with the shortest."""
MIN_PART = 8
"""Fewest patterns that a group is divided into."""


class Cost(NamedTuple):
    """Time of a round."""

    pattern_s: float
    """Of every pattern, seconds."""
    pixel_s: float
    """Of every pixel of the canvas, seconds."""

    def round_s(self, patterns: int, pixels: int) -> float:
        """Return the time of a round, seconds."""
        return self.pattern_s * patterns + self.pixel_s * pixels


@dataclass(frozen=True)
class Window:
    """A part of the canvas that is solved by itself for a few rounds."""

    box: Box
    """Its canvas, in the coordinates of the positions."""
    patterns: Int64[np.ndarray, " patterns"]
    """Patterns that take part, ascending."""
    central: Int64[np.ndarray, " central"]
    """Those that the window is for, ascending."""

    def round_s(self, cost: Cost) -> float:
        """Return the time of a round on it, seconds."""
        return cost.round_s(len(self.patterns), self.box.pixels)


def surround(
    positions_px: Float64[np.ndarray, "patterns 2"],
    central: Int64[np.ndarray, " central"],
    others: Int64[np.ndarray, " others"],
    reach_px: float,
    size: int,
) -> Window:
    """Return the window of some patterns with those around them.

    Args:
        positions_px: All positions, object pixels.
        central: Patterns that the window is for, ascending.
        others: Patterns that may take part beside them, ascending.
        reach_px: Largest distance of these to the nearest of the others, pixels.
        size: Edge of a pattern, pixels.
    """
    middle = positions_px[central]
    low, high = middle.min(0) - reach_px, middle.max(0) + reach_px
    places = positions_px[others]
    near = others[((places >= low) & (places <= high)).all(1)]
    if len(near):
        distance = cKDTree(middle).query(positions_px[near], distance_upper_bound=reach_px)[0]
        near = near[np.isfinite(distance)]
    patterns = np.union1d(central, near)
    return Window(bounding_box(positions_px[patterns], size), patterns, central)


def divide(
    positions_px: Float64[np.ndarray, "patterns 2"],
    central: Int64[np.ndarray, " central"],
    others: Int64[np.ndarray, " others"],
    reach_px: float,
    size: int,
    cost: Cost,
) -> list[Window]:
    """Return windows for some patterns: cut across the longer side of their box as long as that makes rounds shorter.

    The arguments are those of `surround`, and the time of a round. Lines of a raster stay one window, far parts of a
    spiral get their own.
    """
    window = surround(positions_px, central, others, reach_px, size)
    if len(central) < 2 * MIN_PART:
        return [window]
    places = positions_px[central]
    axis = int(np.argmax(np.ptp(places, axis=0)))
    middle = (places[:, axis].min() + places[:, axis].max()) / 2
    halves = [central[places[:, axis] <= middle], central[places[:, axis] > middle]]
    if min(len(half) for half in halves) < MIN_PART:
        return [window]
    parts = [part for half in halves for part in divide(positions_px, half, others, reach_px, size, cost)]
    return parts if sum(part.round_s(cost) for part in parts) < window.round_s(cost) else [window]


def thin_out(
    positions_px: Float64[np.ndarray, "patterns 2"], index: Int64[np.ndarray, " candidates"], count: int
) -> Int64[np.ndarray, " some"]:
    """Return so many of some patterns, evenly over their area, ascending.

    They are taken at equal steps along a curve that fills the area (Morton order).

    Args:
        positions_px: All positions, object pixels.
        index: Patterns to choose from.
        count: Number of those to choose.
    """
    if count >= len(index):
        return np.sort(index)
    places = positions_px[index]
    span = max(float(np.ptp(places, axis=0).max()), 1e-9)
    cells = ((places - places.min(0)) / span * 1023).astype(np.int64)
    order = np.argsort(_interleave(cells[:, 0]) * 2 + _interleave(cells[:, 1]), kind="stable")
    steps = ((np.arange(count) + 0.5) * len(index) / count).astype(np.int64)
    return np.sort(index[order[steps]])


def _interleave(values: Int64[np.ndarray, " values"]) -> Int64[np.ndarray, " values"]:
    """Return numbers below 1024 with a zero bit before each of their bits."""
    result = np.zeros_like(values)
    for bit in range(10):
        result |= ((values >> bit) & 1) << (2 * bit)
    return result
