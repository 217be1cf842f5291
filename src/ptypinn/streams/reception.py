"""Reception of the messages of a scan: each is spooled, or counted as lost with its number.

Nothing that arrives ends the reception, and nothing that the disk refuses.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.ranges import format_ranges
from ptypinn.errors import InputError
from ptypinn.io.crop import cut, window_of
from ptypinn.streams.frame_form import DECIDING, FrameForm, choose_kind, describe_kind, kind_of, place_window
from ptypinn.streams.message_queue import MAX_QUEUE_BYTES
from ptypinn.streams.messages import Dropped, End, Frames, Message, Metadata, Positions, Rejected
from ptypinn.streams.spool import STATE, SpoolReader, list_segments, read_numbers, read_state
from ptypinn.streams.spool_writer import SpoolWriter
from ptypinn.utils.atomic_files import write_json
from ptypinn.utils.plain_values import to_plain

REPORT_S = 0.3
"""Time between two states in `receiver.json`, seconds."""
MAX_REASONS = 200
"""Reasons of rejected messages in the log; further ones are counted alone."""
COUNTERS = ("received", "repeated", "rejected")
"""Counters that go on over restarts."""
LOST = {"dropped": "dropped_numbers", "rejected": "rejected_numbers"}
"""Names in the state of the numbers of frames that came and were not spooled."""
DEFAULTS = LoadConfig()
RATE_S = 2.0
"""Time over which the rate of the frames is measured, seconds."""


@dataclass
class Receiver:
    """State of one receiver: what came, what was spooled, what was lost and why."""

    folder: Path
    """The spool."""
    reading: LoadConfig = DEFAULTS
    """Reading options: the square of every frame that is spooled."""
    min_free_bytes: int = 0
    """Space on the disk that is left free."""
    state: str = "receiving"
    """`receiving`, `ended` with the scan, `stopped` by a signal, or `failed`."""
    started_s: float = field(default_factory=time.time)
    """Time of the start, seconds since the epoch."""
    received: int = 0
    """Frames that came, repeated and rejected ones included."""
    repeated: int = 0
    """Frames that were spooled already."""
    rejected: int = 0
    """Messages that could not be understood, and frames of another form than the others."""
    n_frames: int | None = None
    """Frames of the whole scan, where the source states them."""
    newest: int | None = None
    """Number of the frame that was spooled last."""
    lost: dict[str, set[int]] = field(init=False)
    """Numbers of frames that came and were not spooled, by the keys of `LOST`."""
    reasons: list[str] = field(default_factory=list)
    """Reasons of rejected messages, the latest last."""
    error: str = ""
    """Failure of the source."""

    def __post_init__(self) -> None:
        before = read_state(self.folder)
        self.writer = SpoolWriter(self.folder, self.min_free_bytes)
        self.numbers = _spooled_numbers(self.folder)
        self.received, self.repeated, self.rejected = (int(before.get(name) or 0) for name in COUNTERS)
        self.received = max(self.received, len(self.numbers))
        self.n_frames = before.get("n_frames") or self.writer.values.get("n_frames")
        self.lost = {key: set(read_numbers(before, name)) for key, name in LOST.items()}
        self._form = FrameForm.read(self.folder, self.reading) if self.numbers else None
        self._early: list[tuple[Frames, float]] = []  # frames before their form is decided
        self._mask: np.ndarray | None = None
        self._later: list[tuple[Message, float]] = []
        self._unflushed: set[int] = set()
        self._fresh: list[tuple[Message, float]] = []  # positions that are not flushed
        self._arrivals: deque[tuple[float, int]] = deque()
        self._reported_s, self._n_notes = 0.0, 0

    def handle(self, messages: list[tuple[Message, float]]) -> None:
        """Spool messages with their arrivals, frames of one kind in one piece; no message ends the reception."""
        frames: list[tuple[Frames, float]] = []
        for message, arrival_s in messages:
            if self.state == "failed":
                break
            if isinstance(message, Frames):
                frames.append((message, arrival_s))
            else:
                self._try(message, arrival_s)
        try:
            self._take_frames(frames)
            self.writer.flush()
            self._unflushed, self._fresh = set(), []
        except Exception as error:
            self._unflushed.update(number for block, _ in frames for number in block.numbers.tolist())
            self._restart_segment(error)

    def finish(self, state: str, error: str = "") -> None:
        """Spool what waits for its form, write the last state, and close the spool.

        Args:
            state: State, unless the scan has ended or failed.
            error: Failure of the source.
        """
        self._retry()
        if self._early:
            self._decide_form()
        self.handle([])
        self.state, self.error = state if self.state == "receiving" else self.state, error or self.error
        self.writer.abandon()
        self.report(force=True)

    def report(self, used: float = 0.0, *, force: bool = False) -> None:
        """Write the state for others, if the interval has passed."""
        now_s = time.time()
        if not force and now_s - self._reported_s < REPORT_S:
            return
        self._reported_s = now_s
        self._retry()
        while self._arrivals and self._arrivals[0][0] < now_s - RATE_S:
            self._arrivals.popleft()
        rate = sum(count for _, count in self._arrivals) / min(RATE_S, max(now_s - self.started_s, 0.1))
        record: dict[str, Any] = {
            "pid": os.getpid(),
            "state": self.state,
            "updated_s": now_s,
            "received": self.received,
            "spooled": len(self.numbers),
            "repeated": self.repeated,
            "rejected": self.rejected,
            "reasons": self.reasons[-5:],
            "dropped": len(self.lost["dropped"] - self.numbers),
            **{name: format_ranges(sorted(self.lost[key] - self.numbers)) for key, name in LOST.items()},
            "n_frames": self.n_frames,
            "newest": self.newest,
            "rate_hz": rate,
            "queue": used,
            "error": self.error,
        }
        try:
            write_json(self.folder / STATE, to_plain(record))
        except OSError as error:  # a full disk: the next time, perhaps
            print(f"state not written: {error}", flush=True)

    def _try(self, message: Message, arrival_s: float) -> None:
        """Take a message that is no frame; what the disk refuses is tried again."""
        try:
            self._take(message, arrival_s)
        except OSError as error:
            if not self._later:
                print(f"not written yet: {error}", flush=True)
            self._later.append((message, arrival_s))
            if isinstance(message, Positions):
                self._restart_segment(error)
        except Exception as error:  # nothing that arrives ends the reception
            self._reject(f"{type(error).__name__}: {error}")

    def _take(self, message: Message, arrival_s: float) -> None:
        match message:
            case Positions():
                self.writer.write_positions(message, np.full(len(message.positions_m), arrival_s))
                self._fresh.append((message, arrival_s))
            case Metadata():
                self._take_metadata(message)
            case End():
                self.n_frames, self.state = message.n_frames or self.n_frames, "ended"
            case Rejected():
                self._reject(message.reason, [] if message.number is None else [message.number])
            case Dropped():
                self._lose("dropped", message.numbers.tolist(), "the receiver did not keep up")

    def _retry(self) -> None:
        """Take what the disk has refused before."""
        messages, self._later = self._later, []
        for message, arrival_s in messages:
            self._try(message, arrival_s)

    def _take_metadata(self, message: Metadata) -> None:
        name = self.writer.values.get("name", "")
        if message.name and name and message.name != name and (self._early or list_segments(self.folder)):
            self.state = "failed"
            other = "another --output-dir receives it, --overwrite drops the frames"
            self.error = f"the folder holds frames of {name}, and the stream is at {message.name}: {other}"
            return
        self.n_frames = message.values.get("n_frames", self.n_frames)
        values = dict(message.values)
        mask = values.pop("mask", None)
        self.writer.write_metadata(Metadata(values, message.name))
        if mask is not None:
            self._take_mask(np.asarray(mask, bool))

    def _take_mask(self, mask: np.ndarray) -> None:
        """Write a mask as frames are cut; before the first of them, as frames of its shape would be.

        Raises:
            InputError: Where it does not fit.
        """
        if self._form is None:
            self._mask = mask
            reading, _ = place_window(mask.shape, self.reading, self.writer.values)
            window = window_of("mask", mask.shape, reading)
        elif mask.shape == self._form.kind[0]:
            window = self._form.window
        else:
            shape, expected = (" x ".join(map(str, each)) for each in (mask.shape, self._form.kind[0]))
            raise InputError("mask", "", f"{shape} pixels", f"{expected}, as the frames have")
        self.writer.write_metadata(Metadata({"mask": cut(mask, window)}))

    def _take_frames(self, parts: list[tuple[Frames, float]]) -> None:
        """Spool frames, once it is decided which of them are of the scan."""
        count = sum(len(frames.numbers) for frames, _ in parts)
        if not count:
            return
        self.received += count
        self._arrivals.append((time.time(), count))
        if self._form is not None:
            self._spool(parts)
            return
        self._early += parts
        blocks = [frames for frames, _ in self._early]
        if choose_kind(blocks)[1] >= DECIDING or sum(block.counts.nbytes for block in blocks) > MAX_QUEUE_BYTES:
            self._decide_form()

    def _decide_form(self) -> None:
        """Spool the frames so far, by the form of most of them."""
        parts, self._early = self._early, []
        kind = choose_kind([frames for frames, _ in parts])[0]
        try:
            reading, doubt = place_window(kind[0], self.reading, self.writer.values)
        except InputError as error:
            numbers = [number for frames, _ in parts for number in frames.numbers.tolist()]
            self._reject(str(error), numbers, len(numbers))
            return
        self._form = FrameForm(kind, reading)
        with contextlib.suppress(OSError):
            self._form.write(self.folder)
        if doubt:
            self._note(doubt)
        if self._mask is not None:
            self.writer.delete_mask()
            self._try(Metadata({"mask": self._mask}), 0.0)
        self._spool(parts)

    def _spool(self, parts: list[tuple[Frames, float]]) -> None:
        """Spool frames that are of the scan's form and new."""
        assert self._form is not None
        good = []
        for frames, arrival_s in parts:
            if kind_of(frames) == self._form.kind:
                good.append((frames, arrival_s))
                continue
            actual, expected = describe_kind(kind_of(frames)), describe_kind(self._form.kind)
            numbers = frames.numbers.tolist()
            self._reject(f"frames of {actual}, expected {expected}, as the others", numbers, len(numbers))
        if not good:
            return
        frames = self._form.join([part for part, _ in good])
        arrivals_s = np.repeat([arrival_s for _, arrival_s in good], [len(part.numbers) for part, _ in good])
        index = self._choose_new(frames.numbers)
        self.repeated += len(frames.numbers) - len(index)
        if len(index):
            assert frames.times_s is not None
            self._write(Frames(frames.numbers[index], frames.counts[index], frames.times_s[index]), arrivals_s[index])

    def _write(self, frames: Frames, arrivals_s: np.ndarray) -> None:
        numbers = frames.numbers.tolist()
        self._unflushed.update(numbers)
        if not self.writer.write_frames(frames, arrivals_s):
            self._unflushed.difference_update(numbers)
            self._lose("dropped", numbers, "the disk is full")
            return
        self.numbers.update(numbers)
        self.newest = numbers[-1]

    def _restart_segment(self, error: Exception) -> None:
        """Go on in a new segment after a failed write: frames that are not in the old one are lost, positions kept."""
        self.writer.abandon()
        unwritten = self._unflushed - _spooled_numbers(self.folder)
        self.numbers = (self.numbers | self._unflushed) - unwritten
        self._later += self._fresh
        self._unflushed, self._fresh = set(), []
        self._note(f"{type(error).__name__}: {error}")
        if unwritten:
            self._lose("dropped", sorted(unwritten), "the disk refuses them")

    def _choose_new(self, numbers: np.ndarray) -> np.ndarray:
        """Return the indices of frames that are not spooled yet, each number once."""
        first = np.sort(np.unique(numbers, return_index=True)[1])
        return np.array([k for k in first.tolist() if int(numbers[k]) not in self.numbers], np.int64)

    def _reject(self, reason: str, numbers: Sequence[int] = (), count: int = 1) -> None:
        self.rejected += count
        self.lost["rejected"].update(number for number in numbers if number >= 0)
        self._note(reason, "rejected: ")

    def _note(self, reason: str, start: str = "") -> None:
        line = " ".join(reason.split())[:200]
        self.reasons = [*self.reasons[-4:], line]
        self._n_notes += 1
        if self._n_notes <= MAX_REASONS:
            print(f"{start}{line}", flush=True)

    def _lose(self, kind: str, numbers: list[int], reason: str) -> None:
        if not self.lost[kind] and numbers:
            print(f"{kind} frames from {numbers[0]} on: {reason}", flush=True)
        self.lost[kind].update(number for number in numbers if number >= 0)


def _spooled_numbers(folder: Path) -> set[int]:
    reader = SpoolReader(folder)
    try:
        return set(reader.read_frames()[1]["numbers"].tolist())
    finally:
        reader.close()
