"""A finished scan, sent as if it were measured now: the test bench of everything that receives scans.

The address is `replay:FILE`, with options as a query, such as
`replay:scan.h5?rate=200&lost=0.01&late=0.05&late_s=2&repeated=0.01&positions_delay_s=0.3&order=random&seed=1`. The file
is any scan that the package reads; patterns are sent as they are stored, without the survey of bad frames and pixels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.streams.messages import End, Frames, Message, Metadata, Positions
from ptypinn.streams.sources.replay_schedule import ReplayOptions, plan_replay

TICK_S = 0.004
"""Minimum time between two blocks of frames: what comes due in it is sent together."""
WAIT_S = 0.1
"""Maximum time without a word to the receiver."""
BLOCK_BYTES = 4 << 20
"""Maximum size of a block of frames."""
BLOCK_POSITIONS = 1 << 16
"""Maximum number of positions of a block."""
FIELDS = ("energy_eV", "detector_distance_m", "detector_pixel_m", "particle")


class ReplaySource:
    """A finished scan that is sent at a given rate, with given faults.

    Args:
        path: The scan file.
        options: Rate, order and faults.

    Raises:
        InputError: Where the file is no scan, or its object pixel is unknown.
    """

    def __init__(self, path: Path, options: ReplayOptions) -> None:
        self._scan = read_recorded(path, options.pixel_size_m)
        self._options = options
        self._plan = plan_replay(self._scan.positions_px * require_pixel(self._scan), options)
        self._open = True
        self.can_wait = options.rate == 0

    def messages(self) -> Iterator[Message | None]:
        """Yield everything of the scan, when it is due, and `End`."""
        yield Metadata({**describe_scan(self._scan), "n_frames": self._scan.n_patterns}, self._scan.source)
        sent = [0, 0]
        start = time.monotonic()
        while self._open and sent != [len(self._plan.frames), len(self._plan.positions)]:
            elapsed = time.monotonic() - start
            due = self._due(sent, elapsed)
            yield from self._positions(sent[1], due[1])
            yield from self._frames(sent[0], due[0])
            if due == sent:
                yield None
            sent = due
            pause = max(self._next_at(sent), elapsed + (TICK_S if self._options.rate else 0)) + start - time.monotonic()
            if pause > 0:
                time.sleep(min(pause, WAIT_S))
        yield End(self._scan.n_patterns)

    def close(self) -> None:
        """End the replay."""
        self._open = False

    def _due(self, sent: list[int], elapsed: float) -> list[int]:
        """Return how many frames and positions should have been sent by now, of either at most a block more."""
        frame_bytes = max(1, int(np.prod(self._scan.counts.shape[1:])) * self._scan.counts.dtype.itemsize)
        block = max(1, BLOCK_BYTES // frame_bytes)
        frames = int(np.searchsorted(self._plan.frames_at_s, elapsed, side="right"))
        positions = int(np.searchsorted(self._plan.positions_at_s, elapsed, side="right"))
        return [min(frames, sent[0] + block), min(positions, sent[1] + BLOCK_POSITIONS)]

    def _next_at(self, sent: list[int]) -> float:
        """Return when the next message is due, seconds from the start."""
        times = [*self._plan.frames_at_s[sent[0] : sent[0] + 1], *self._plan.positions_at_s[sent[1] : sent[1] + 1]]
        return float(min(times, default=0.0))

    def _frames(self, first: int, stop: int) -> Iterator[Frames]:
        if stop > first:
            numbers = self._plan.frames[first:stop]
            times = self._plan.exposed_at_s[numbers]
            yield Frames(numbers, self._scan.counts[numbers], times if self._options.rate else None)

    def _positions(self, first: int, stop: int) -> Iterator[Positions]:
        if stop > first:
            part = slice(first, stop)
            numbers, times = self._plan.position_numbers, self._plan.encoder_times_s
            yield Positions(
                self._plan.positions[part],
                None if numbers is None else numbers[part],
                None if times is None else times[part],
            )


def read_recorded(path: Path, pixel_size_m: float | None = None) -> ScanData:
    """Read a scan as it was recorded: all its frames, and a probe that nothing was done to.

    Args:
        path: The scan file.
        pixel_size_m: Object pixel of a file that does not state it.
    """
    from ptypinn.config.load import LoadConfig
    from ptypinn.io.load_save import read_scan

    config = LoadConfig(survey=False, monitor="none", pixel_size_m=pixel_size_m)
    return read_scan(path, config, calibrate=False)


def require_pixel(scan: ScanData) -> float:
    """Return the object pixel of a scan, metres.

    Raises:
        InputError: Where it is unknown: positions in metres, as detectors and stages have them, need it.
    """
    if scan.pixel_size_m is None:
        expected = "energy, distance and detector pixel in the file, or pixel_size_m=... in the address"
        raise InputError(scan.source, "object pixel", "none", expected)
    return scan.pixel_size_m


def describe_scan(scan: ScanData) -> dict[str, object]:
    """Return what a scan states about its experiment, by the names of `METADATA_FIELDS`, the frames' number apart."""
    values = {name: getattr(scan, name) for name in FIELDS}
    return {name: value for name, value in {**values, "mask": scan.mask}.items() if value is not None}
