"""Frames that are no measurement: empty, bright, unlike their neighbours, repeated, and the rest of an aborted scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ptypinn.data.positions import find_strays, nearest_others
from ptypinn.data.survey_pass import FrameStatistics

FrameKind = Literal["rest", "empty", "bright", "unlike", "repeated", "stray"]
NEIGHBOURS = 8
"""Number of the nearest frames that a frame is compared with."""
MIN_FRAMES = 16
"""Minimum number of frames that are compared with their neighbours."""
MIN_PHOTONS = 20.0
"""Expected counts that chance does not change to none, and that it does not add to a frame."""
AMID_PHOTONS = 100.0
"""Minimum counts of all neighbours of an empty frame."""
MIN_AROUND, MIN_NEAREST = 0.3, 0.6
"""Minimum counts around an empty frame, over the scan's median: of all neighbours, and of the three nearest ones. A
shadow has half-shadows."""
NEAR = 0.6
"""Maximum distance of these three, over the width of the probe: beyond a straight edge, they are half dark."""
AMID = 0.75
"""The same for a frame with at most two dark ones among its eight neighbours: no edge of a shadow."""
WIDTH = 4.0
"""Width of a probe that is not known, over the distance to the fourth nearest frame: an overlap of 75 %."""
ONE_SIDED = 0.7
"""Maximum length of the mean direction to the neighbours, for a frame that is surrounded: next to none at a corner may
be the edge of a sample."""
UPPER = 90
"""Percentile of all frames that a bright one exceeds by as much."""
DARK = 0.01
"""Maximum counts of an empty frame over those of nearly all its neighbours."""
BRIGHT = 8.0
"""Minimum counts of a bright frame over those of nearly all its neighbours."""
THIRD = 2
"""Neighbours that may be as bad as the frame itself."""
UNLIKE = 0.2
"""Minimum of 1 minus the overlap (Bhattacharyya) of a frame's coarse image with the most similar of its neighbours."""
UNLIKE_RATIO = 10.0
"""Minimum factor over the 95th percentile of all frames."""
CHANCE = 64.0
"""Shot noise of it: parts of the image, over the photons of the frame."""
COMPARED = 48
"""Frames from all over the scan that a frame must be unlike too."""
REPEATED_PHOTONS = 100.0
"""Counts above which two frames of shot noise are never equal."""
MAX_COPIES = 0.25
"""Maximum fraction of the frames with the same counts; more are no accident."""
MAX_LEFT_OUT = 0.5
"""Maximum fraction of the frames with one defect, but for the rest of an aborted scan."""
CHUNK = 4096


@dataclass(frozen=True)
class FrameFinding:
    """Frames with one defect."""

    kind: FrameKind
    frames: Int64[np.ndarray, " frames"]
    """Their indices, ascending."""
    numbers: Float64[np.ndarray, " frames"]
    """Photons over those of the neighbours (bright), index of the frame with the same counts (repeated), distance in
    object pixels (stray); 0 otherwise."""


@dataclass(frozen=True)
class Surroundings:
    """Frames with the place of each, as far as they are not left out yet."""

    frames: FrameStatistics
    positions_px: Float64[np.ndarray, "patterns 2"]
    """(y, x), object pixels."""
    left: Bool[np.ndarray, " patterns"]
    """Frames that are not left out yet."""
    size: int
    """Edge of the patterns, pixels."""
    width_px: float | None = None
    """Width of the probe, object pixels; None where it is not known."""

    @property
    def filled(self) -> Bool[np.ndarray, " patterns"]:
        """Frames with counts that are left."""
        return self.left & (self.frames.sums > 0)

    @property
    def few(self) -> bool:
        """True if there are too few frames to compare any with its neighbours."""
        return int(np.count_nonzero(self.filled)) < MIN_FRAMES

    def overlapping(self, near: Int64[np.ndarray, "patterns neighbours"]) -> Bool[np.ndarray, " patterns"]:
        """Return frames whose three nearest neighbours see much of the same sample, or less amid frames with counts."""
        distance = np.linalg.norm(self.positions_px[near] - self.positions_px[:, None], axis=2)
        width = WIDTH * np.median(distance[self.filled, THIRD + 1]) if self.width_px is None else self.width_px
        everyone = nearest_others(self.positions_px, np.ones(len(self.left), bool), near.shape[1])
        amid = self.filled[everyone].sum(1) >= near.shape[1] - THIRD
        return distance[:, THIRD] <= np.where(amid, AMID, NEAR) * width


def find_bad_frames(
    frames: FrameStatistics, positions_px: Float64[np.ndarray, "patterns 2"], size: int, width_px: float | None = None
) -> tuple[FrameFinding, ...]:
    """Find frames to leave out; each is listed once.

    Args:
        frames: Statistics of the frames.
        positions_px: (y, x), object pixels.
        size: Edge of the patterns, pixels.
        width_px: Equivalent diameter of the probe, object pixels; None where it is not known.
    """
    left = np.ones(len(positions_px), bool)
    defects = list[FrameFinding]()
    for kind, find in RULES.items():
        index, numbers = find(Surroundings(frames, positions_px, left, size, width_px))
        many = kind != "rest" and len(index) > MAX_LEFT_OUT * np.count_nonzero(left)
        if len(index) and not many:
            defects.append(FrameFinding(kind, index.astype(np.int64), numbers.astype(np.float64)))
            left[index] = False
    return tuple(defects)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0)


def _rest(scan: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    """Frames at the end that are empty at one and the same position, as a file is before the scan writes it."""
    blank = (scan.frames.sums <= 0) & (scan.positions_px == scan.positions_px[-1]).all(1)
    first = len(blank) - int(np.argmin(blank[::-1])) if not blank.all() else 0
    index = np.arange(first, len(blank))
    return (index, np.zeros(len(index))) if 2 <= len(index) < len(blank) else _nothing()


def _strays(scan: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    strays = find_strays(scan.positions_px[scan.left], scan.size)
    return np.flatnonzero(scan.left)[strays.index], strays.distance_px


def _empty(scan: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    """Frames with no or next to no counts, all of whose nearest frames with counts have many; and those beside."""
    if scan.few:
        return _nothing()
    sums, near = scan.frames.sums, nearest_others(scan.positions_px, scan.filled, NEIGHBOURS)
    around, typical = sums[near], np.median(sums[scan.filled])
    amid_counts = around.min(1) >= max(MIN_AROUND * typical, AMID_PHOTONS)
    amid_counts &= around[:, : THIRD + 1].min(1) >= MIN_NEAREST * typical
    few = (sums < DARK * around.min(1)) & (DARK * around.min(1) >= MIN_PHOTONS) & _surrounded(scan.positions_px, near)
    empty = scan.left & amid_counts & scan.overlapping(near) & ((sums <= 0) | few)
    if empty.any():
        empty = _grow(empty, scan.left & (sums <= 0), scan.positions_px)
    return np.flatnonzero(empty), np.zeros(int(empty.sum()))


def _grow(empty: np.ndarray, dark: np.ndarray, positions_px: np.ndarray) -> Bool[np.ndarray, " frames"]:
    """Return empty frames, and those without counts next to them, and so on."""
    near = nearest_others(positions_px, np.ones(len(dark), bool), NEIGHBOURS)
    number = -1
    while number != np.count_nonzero(empty):
        number = int(np.count_nonzero(empty))
        empty = empty | (dark & empty[near].any(1))
    return empty


def _surrounded(positions_px: np.ndarray, near: np.ndarray) -> np.ndarray:
    way = positions_px[near] - positions_px[:, None]
    way /= np.maximum(np.linalg.norm(way, axis=2, keepdims=True), 1e-9)
    return np.linalg.norm(way.mean(1), axis=1) < ONE_SIDED


def _repeated(scan: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    """Frames with the same counts as an earlier one at another position: the detector's buffer was not renewed."""
    index = np.flatnonzero(scan.left & (scan.frames.sums >= REPEATED_PHOTONS))
    if not scan.frames.whole or len(index) < MIN_FRAMES:
        return _nothing()
    _, first, inverse, number = np.unique(
        scan.frames.digests[index], return_index=True, return_inverse=True, return_counts=True
    )
    original = index[first][inverse]
    moved = np.abs(scan.positions_px[index] - scan.positions_px[original]).max(1) > 0.1
    again = (index != original) & moved & (number[inverse] <= max(2, MAX_COPIES * len(index)))
    return index[again], original[again]


def _bright(scan: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    if scan.few:
        return _nothing()
    sums, near = scan.frames.sums, nearest_others(scan.positions_px, scan.filled, NEIGHBOURS)
    around = np.sort(sums[near], axis=1)
    bound = np.maximum(around[:, -1 - THIRD], np.percentile(sums[scan.filled], UPPER))
    bright = scan.filled & (sums > BRIGHT * bound + MIN_PHOTONS) & scan.overlapping(near)
    return np.flatnonzero(bright), (sums / np.maximum(np.median(around, axis=1), 1e-300))[bright]


def _unlike(scan: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    """Frames whose coarse image resembles neither that of a neighbour nor those of frames elsewhere, but for two."""
    if scan.few:
        return _nothing()
    filled, sums = scan.filled, scan.frames.sums
    near = nearest_others(scan.positions_px, filled, NEIGHBOURS)
    shape = np.sqrt(scan.frames.coarse.reshape(len(filled), -1) / np.maximum(sums, 1e-300)[:, None])
    others = np.flatnonzero(filled)[np.unique(np.linspace(0, np.count_nonzero(filled) - 1, COMPARED).astype(int))]
    likeness, elsewhere = np.zeros(len(filled)), np.zeros(len(filled))
    for start in range(0, len(filled), CHUNK):
        part = slice(start, start + CHUNK)
        likeness[part] = np.einsum("jb,jkb->jk", shape[part], shape[near[part]]).max(1)
        same = np.arange(len(filled))[part, None] == others
        elsewhere[part] = np.sort(np.where(same, 0, shape[part] @ shape[others].T), axis=1)[:, -1 - THIRD]
    difference = float(np.percentile(1 - likeness[filled], 95))
    limit = max(UNLIKE, UNLIKE_RATIO * difference) + CHANCE / np.maximum(sums, 1)
    unlike = filled & (1 - likeness > limit) & (1 - elsewhere > limit) & scan.overlapping(near)
    return np.flatnonzero(unlike), np.zeros(int(unlike.sum()))


RULES: Mapping[FrameKind, Callable[[Surroundings], tuple[np.ndarray, np.ndarray]]] = {
    "rest": _rest,
    "stray": _strays,
    "empty": _empty,
    "repeated": _repeated,
    "bright": _bright,
    "unlike": _unlike,
}
"""How frames with each defect are recognised, among those that the rules before left."""
