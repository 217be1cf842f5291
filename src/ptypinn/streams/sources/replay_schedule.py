"""Times at which a replayed scan sends its frames and positions, with what goes wrong on the way of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.errors import InputError

MOVING = 0.4
"""Share of the time between two exposures in which the stage moves; it stands still in the rest."""
MAX_ENCODER_READINGS = 20_000_000
"""Maximum readings of the encoder in one replay."""


@dataclass(frozen=True)
class ReplayOptions:
    """Options of a replay, given as a query: `replay:scan.h5?rate=200&lost=0.01`.

    >>> ReplayOptions(rate=2000.0, late=0.05, late_s=2.0).late
    0.05
    """

    rate: float = 100.0
    """Frames per second; 0 sends them as fast as they are taken, as a file does."""
    order: Literal["recorded", "random"] = "recorded"
    """Order of the exposures."""
    lost: float = 0.0
    """Fraction of the frames that never arrives."""
    repeated: float = 0.0
    """Fraction of the frames that arrives twice, the second time up to a second later."""
    late: float = 0.0
    """Fraction of the frames that arrives late."""
    late_s: float = 1.0
    """Maximum lateness of these, seconds."""
    jitter_s: float = 0.0
    """Maximum delay of any frame, seconds."""
    positions_delay_s: float = 0.0
    """Delay of the positions after their frames, seconds."""
    positions_lost: float = 0.0
    """Fraction of the positions that never arrives."""
    encoder_rate: float = 0.0
    """Readings per second of an encoder whose positions have times instead of frame numbers; 0 for numbers."""
    clock_offset_s: float = 0.0
    """Reading of the encoder's clock at the first exposure, seconds."""
    clock_drift: float = 0.0
    """Relative error of the encoder's clock against the detector's."""
    pixel_size_m: float | None = None
    """Object pixel, metres, for a file that does not state it."""
    seed: int = 0
    """Seed of everything that is random."""

    def __post_init__(self) -> None:
        for name in ("lost", "repeated", "late", "positions_lost"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a fraction from 0 to 1")
        for name in ("rate", "late_s", "jitter_s", "positions_delay_s", "encoder_rate"):
            self._require(name, 0 <= getattr(self, name) < np.inf, "a number of at least 0")
        self._require("order", self.order in ("recorded", "random"), "recorded or random")
        self._require("seed", self.seed >= 0, "a whole number of at least 0")
        self._require("pixel_size_m", self.pixel_size_m is None or 0 < self.pixel_size_m < np.inf, "metres, above 0")
        self._require("clock_offset_s", abs(self.clock_offset_s) < np.inf, "seconds")
        self._require("clock_drift", abs(self.clock_drift) < 1, "a fraction, such as 1e-5")
        self._require("rate", self.rate > 0 or not self.encoder_rate, "a rate above 0, beside encoder_rate")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError("replay", name, str(getattr(self, name)), expected)


@dataclass(frozen=True)
class Schedule:
    """Messages of a replay in the order in which they are sent; times in seconds from its start."""

    frames: Int64[np.ndarray, " sent"]
    """Numbers of the frames, repeated ones twice and lost ones not at all."""
    frames_at_s: Float64[np.ndarray, " sent"]
    """When each is sent, ascending."""
    exposed_at_s: Float64[np.ndarray, " frames"]
    """Time of the exposure of every frame of the scan, by its number."""
    positions: Float64[np.ndarray, "readings 2"]
    """Positions, in the unit that they were given in."""
    positions_at_s: Float64[np.ndarray, " readings"]
    """When each is sent, ascending."""
    position_numbers: Int64[np.ndarray, " readings"] | None
    """Frame of each; None for those of an encoder."""
    encoder_times_s: Float64[np.ndarray, " readings"] | None
    """Time of each by the clock of the encoder; None for positions with numbers."""

    @property
    def duration_s(self) -> float:
        """Time from the start to the last message."""
        return float(max([0.0, *self.frames_at_s[-1:], *self.positions_at_s[-1:]]))


def plan_replay(path: Float64[np.ndarray, "frames 2"], options: ReplayOptions) -> Schedule:
    """Return when every frame and position of a scan is sent.

    Args:
        path: Position of every frame of the scan, in any unit.
        options: Rate, order and faults.
    """
    rng = np.random.default_rng(options.seed)
    count = len(path)
    order = rng.permutation(count) if options.order == "random" else np.arange(count)
    exposed = np.empty(count)
    exposed[order] = np.arange(count) / options.rate if options.rate else 0.0
    frames, at = _send_frames(order, exposed, options, rng)
    if options.encoder_rate:
        times = _reading_times(count, options)
        return Schedule(
            frames,
            at,
            exposed,
            positions=_move_stage(path[order], times * options.rate),
            positions_at_s=np.maximum(times, 0) + options.positions_delay_s,
            position_numbers=None,
            encoder_times_s=times * (1 + options.clock_drift) + options.clock_offset_s,
        )
    arriving = order[~_choose(count, options.positions_lost, rng)]
    sent_at = exposed[arriving] + options.positions_delay_s
    return Schedule(frames, at, exposed, path[arriving], sent_at, arriving.astype(np.int64), None)


def _send_frames(
    order: np.ndarray, exposed: np.ndarray, options: ReplayOptions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the frames that arrive, and when, ascending."""
    count = len(order)
    frames = order[~_choose(count, options.lost, rng)].astype(np.int64)
    at = exposed[frames] + rng.uniform(0, options.jitter_s, len(frames))
    late = _choose(len(frames), options.late * count / max(len(frames), 1), rng)
    at[late] += rng.uniform(0, options.late_s, late.sum())
    again = _choose(len(frames), options.repeated * count / max(len(frames), 1), rng)
    frames = np.concatenate([frames, frames[again]])
    at = np.concatenate([at, at[again] + rng.uniform(0, 1, again.sum())])
    sequence = np.argsort(at, kind="stable")
    return frames[sequence], at[sequence]


def _choose(count: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Return `count` booleans, of which a fraction is True, to the nearest whole number."""
    chosen = np.zeros(count, bool)
    chosen[rng.permutation(count)[: min(round(fraction * count), count)]] = True
    return chosen


def _reading_times(count: int, options: ReplayOptions) -> np.ndarray:
    """Return the times of the encoder's readings, from half a frame before the first exposure to one after the last."""
    readings = int(np.ceil((count + 1) / options.rate * options.encoder_rate))
    if readings > MAX_ENCODER_READINGS:
        raise InputError("replay", "encoder_rate", f"{readings} readings", f"at most {MAX_ENCODER_READINGS}")
    return (np.arange(readings) + 0.5) / options.encoder_rate - 0.5 / options.rate


def _move_stage(path: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return where a stage stands that rests at every position of `path` in turn, at fractional places along it."""
    rest = (1 - MOVING) / 2
    index = np.arange(len(path), dtype=np.float64)
    knots = np.stack([index - rest, index + rest], axis=1).ravel()
    return np.stack([np.interp(places, knots, np.repeat(path[:, axis], 2)) for axis in (0, 1)], axis=1)
