"""Series of a detector that goes on measuring: each is a scan of its own, whose numbers lie close together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ptypinn.streams.messages import End, Frames, Message, Metadata, Positions, Rejected

MAX_EARLIER = 100
"""Number of series that are remembered."""
MAX_JUMP = 1_000_000
"""Maximum distance of a number from the largest so far, or from the stated number of frames: others are damaged."""
MAX_GAP = 1000
"""Maximum distance of a number from a rejected one that it goes on from."""


@dataclass
class NumberCheck:
    """Numbers of one scan: one far beyond the others, or beyond the stated number of frames, is rejected.

    Numbers that go on from there are no damage: those of a detector that was not reset.

    >>> import numpy as np
    >>> check = NumberCheck()
    >>> places = [Positions(np.zeros((1, 2)), np.array([number])) for number in (3, 2**40, 4)]
    >>> [type(check.take(each)).__name__ for each in places], check.largest
    (['Positions', 'Rejected', 'Positions'], -1)
    """

    n_frames: int | None = None
    """Frames of the scan, where that is stated."""
    largest: int = -1
    """Largest number of a frame so far; -1 before the first."""
    _limit: int | None = None
    _rejected: int = -MAX_JUMP

    def take(self, message: Message) -> Message:
        """Return a message, or its rejection, and note its numbers."""
        if isinstance(message, Metadata):
            self.n_frames = message.values.get("n_frames", self.n_frames)
        if not isinstance(message, Frames | Positions) or message.numbers is None or not len(message.numbers):
            return message
        first, largest = int(message.numbers.min()), int(message.numbers.max())
        limits = [each for each in (self._limit, self.n_frames) if each is not None]
        goes_on = 0 < first - self._rejected <= MAX_GAP and largest - first < MAX_JUMP
        if largest > max(limits, default=first) + MAX_JUMP and not goes_on:
            self._rejected = largest
            return Rejected(f"number {largest}, far beyond the others of the scan")
        self._limit = max(largest, -1 if self._limit is None else self._limit)
        self.largest = max(self.largest, largest) if isinstance(message, Frames) else self.largest
        return message

    @property
    def is_full(self) -> bool:
        """True once the last frame of a stated number has come: of those that have not, the stream has lost some."""
        return bool(self.n_frames) and self.largest >= (self.n_frames or 0) - 1


@dataclass(frozen=True)
class InSeries:
    """Messages of one series."""

    series: str
    """Name of the series; empty for what belongs to any."""
    messages: Sequence[Message]
    """The messages."""
    begins: bool = False
    """True for the header of the series."""


@dataclass
class SeriesReader:
    """The messages of one series after the other; what comes of an earlier series is rejected.

    >>> reader = SeriesReader()
    >>> list(reader.take(InSeries("series 1", [Metadata()], begins=True)))
    [Metadata(values={}, name='')]
    >>> list(reader.take(InSeries("series 2", [Metadata()], begins=True))), reader.ended
    ([End(n_frames=None)], True)
    >>> list(reader.begin_next()), reader.current
    ([Metadata(values={}, name='')], 'series 2')
    """

    current: str = ""
    """Series that is read; empty before the first."""
    ended: bool = False
    """True once the series is over; `begin_next` goes on."""
    earlier: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_EARLIER))
    """Latest series that are over."""
    waiting: list[InSeries] = field(default_factory=list)
    """Messages of the next series that have come already."""
    check: NumberCheck = field(default_factory=NumberCheck)
    """Numbers of the current series."""

    def take(self, part: InSeries) -> Iterator[Message]:
        """Yield what belongs to the current series; the first word of a later one ends it.

        The end of a series of which nothing has come is no word of one: it was there before the receiver. A header
        begins a series also where it has the name of an earlier one: a detector that is restarted counts from 1 again.
        """
        if self.ended:
            self.waiting.append(part)
        elif part.series and not self.current and isinstance(part.messages[0], End):
            self.earlier.append(part.series)
        elif part.series in self.earlier and part.series != self.current and not part.begins:
            numbers = [int(each.numbers[0]) for each in part.messages if isinstance(each, Frames) and len(each.numbers)]
            yield Rejected(f"a message of {part.series}, which is over", *numbers[:1])
        elif self._is_next(part):
            self.waiting.append(part)
            yield from self._end(End())
        else:
            yield from self._pass_on(part)

    def begin_next(self) -> Iterator[Message]:
        """Yield what has come of the next series, after the end of one."""
        self.ended, parts, self.waiting, self.check = False, self.waiting, [], NumberCheck()
        for part in parts:
            yield from self.take(part)

    def end_full(self) -> Iterator[Message]:
        """End a series that announces no end and whose last frame, of a stated number, has come."""
        yield from self._end(End(self.check.n_frames))

    def _is_next(self, part: InSeries) -> bool:
        return bool(self.current) and bool(part.series) and part.series != self.current

    def _pass_on(self, part: InSeries) -> Iterator[Message]:
        if not self.current and part.series:
            self.current = part.series
            if not part.begins:
                yield Metadata(name=part.series)
        for message in part.messages:
            if isinstance(message, End):
                yield from self._end(message)
            else:
                yield self.check.take(message)

    def _end(self, message: End) -> Iterator[Message]:
        if self.current:
            self.earlier.append(self.current)
        self.current, self.ended = "", True
        yield message
