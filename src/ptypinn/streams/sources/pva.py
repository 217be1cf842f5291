"""Images and positions of EPICS PV Access: `pva://PV_NAME`, with options as a query.

`pva://13SIM1:Pva1:Image?positions=STAGE:YX&frames=2401` takes positions from a second PV, `?y=MotorY&x=MotorX` from the
attributes of the images. Numbers are those of `uniqueId`, from `first` on. A PV knows no end: the scan is over once all
`frames` have come. Where they are not stated, or the last of them has come without the others, it is over when nothing
has come for `idle_s` seconds after the first one; where the last is still to come, after 30 times as long.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from p4p.client.thread import Context

from ptypinn.errors import InputError
from ptypinn.io.units import length_in_m
from ptypinn.streams.messages import Dropped, End, Frames, Message, Metadata, Positions, Rejected
from ptypinn.streams.sources.blocks import join_blocks
from ptypinn.streams.sources.decode import MalformedError, shorten, understand
from ptypinn.streams.sources.options import PATIENCE, SourceOptions
from ptypinn.streams.sources.pva_values import parse_image, parse_positions, read_number
from ptypinn.streams.sources.series import NumberCheck

WAIT_S = 0.1
"""Maximum time without a word to the receiver."""
TICK_S = 0.004
"""Minimum time between two looks at what has arrived."""
INBOX_BYTES = 512 << 20
"""Maximum size of what waits for the receiver."""
Parser = Callable[[Any], Sequence[Message]]


@dataclass(frozen=True)
class PvaOptions:
    """Options of a PV Access address."""

    positions: str = ""
    """PV of the positions; empty for none."""
    y: str = ""
    """Attribute of the images with the position y; empty for none."""
    x: str = ""
    """Attribute with the position x."""
    first: int = 0
    """`uniqueId` of the first frame of the scan."""
    frames: int = 0
    """Number of frames of the scan; 0 where it is not stated."""
    queue: int = 200
    """Images that the server holds for a receiver that is behind."""

    def __post_init__(self) -> None:
        if bool(self.y) != bool(self.x):
            raise InputError("pva", "y and x", "one of them", "both, or none")


class PvaSource:
    """Images of one PV, and positions of another or of their attributes.

    The value that a PV has at the start is left aside if the next has no higher number: it is of an earlier scan.

    Args:
        name: PV of the images.
        options: Positions, numbers and end.
        common: Unit of positions, and the time that ends the scan.
    """

    can_wait = False

    def __init__(self, name: str, options: PvaOptions, common: SourceOptions) -> None:
        self._name, self._options, self._idle_s = name, options, common.idle_s
        factor = length_in_m(common.positions_unit)
        assert factor is not None
        axes = [options.y, options.x] if options.y else []
        self._open, self._arrived = True, threading.Event()
        self._inbox: collections.deque[tuple[Parser, Any]] = collections.deque()
        self._lock, self._size, self._lost = threading.Lock(), 0, list[tuple[Parser, Any]]()
        self._context = Context("pva", nt=False)
        request = f"record[queueSize={options.queue}]"
        self._image: Parser = partial(parse_image, first=options.first, axes=axes, factor=factor)
        self._subscriptions = [self._context.monitor(name, partial(self._receive, self._image), request)]
        if options.positions:

            def position(value: Any) -> Sequence[Message]:
                return [parse_positions(value, options.first, factor)]

            self._subscriptions.append(
                self._context.monitor(options.positions, partial(self._receive, position), request)
            )

    def messages(self) -> Iterator[Message | None]:
        """Yield messages as they arrive, then `End`."""
        yield Metadata({"n_frames": self._options.frames} if self._options.frames else {}, self._name)
        latest, begun, numbers = time.monotonic(), False, set[int]()
        held: Held | None = []
        check = NumberCheck(self._options.frames or None)
        while self._open and not self._is_over(numbers, begun, latest):
            if not self._arrived.wait(WAIT_S):
                yield None
                continue
            start = time.monotonic()
            self._arrived.clear()
            batch, held = leave_stale(self._take(), held)
            for message in join_blocks(map(check.take, batch)):
                if isinstance(message, Frames | Dropped):
                    numbers.update(number for number in message.numbers.tolist() if number < self._options.frames)
                yield message
            begun, latest = begun or bool(batch), time.monotonic()
            time.sleep(max(0.0, TICK_S - (time.monotonic() - start)))
        if held and not begun:
            yield from held
        yield End(self._options.frames or None)

    def close(self) -> None:
        """End the subscriptions."""
        self._open = False
        for subscription in self._subscriptions:
            subscription.close()
        self._context.close()

    def _is_over(self, numbers: set[int], begun: bool, latest: float) -> bool:
        """Return True once nothing more is to come.

        Args:
            numbers: Numbers of the stated frames that have come; those that there was no space for do not come again.
            begun: Something of this scan has come.
            latest: Time of the latest message.
        """
        stated, idle_s = self._options.frames, time.monotonic() - latest
        if stated and len(numbers) == stated:
            return not self._options.positions or idle_s > min(1.0, self._idle_s)
        has_more = bool(stated) and stated - 1 not in numbers
        return begun and idle_s > self._idle_s * (PATIENCE if has_more else 1.0)

    def _receive(self, parse: Parser, value: Any) -> None:
        """Put an update into the inbox; called by threads of the library."""
        size = getattr(value.get("value"), "nbytes", 0)
        with self._lock:
            if self._size + size > INBOX_BYTES:
                self._lost.append((parse, value.get("uniqueId")))
            else:
                self._inbox.append((parse, value))
                self._size += size
        self._arrived.set()

    def _take(self) -> list[Message]:
        """Return what has arrived, parsed; a value that was never set is nothing."""
        with self._lock:
            waiting, self._inbox, self._size = self._inbox, collections.deque(), 0
            lost, self._lost = self._lost, []
        messages = [
            each for parse, value in waiting if value.get("value") is not None for each in understand(parse, value)
        ]
        return [*messages, *self._list_lost(lost)]

    def _list_lost(self, lost: list[tuple[Parser, Any]]) -> Iterator[Message]:
        """Yield what became of updates that there was no space for: images by their numbers, if those are of the scan.

        Args:
            lost: What should have read each update, and its `uniqueId`.
        """
        numbers = []
        for parse, unique in lost:
            if parse is not self._image:
                yield Rejected("positions that there was no space for")
                continue
            try:
                numbers.append(read_number({"uniqueId": unique}, self._options.first))
            except MalformedError as error:
                yield Rejected(shorten(str(error)))
        if numbers:
            yield Dropped(np.array(numbers))


Held = list[Frames | Positions]
"""A frame, and the position that came with it."""


def first_number(message: Frames | Positions) -> int:
    """Return the number of the first frame of a message; -1 for positions without numbers."""
    return -1 if message.numbers is None or not len(message.numbers) else int(message.numbers[0])


def leave_stale(batch: list[Message], held: Held | None) -> tuple[list[Message], Held | None]:
    """Return messages without a first frame of an earlier scan, and its position.

    Args:
        batch: Messages that have come.
        held: The first frame, held back until the second; an empty list before it, None after that.

    Returns:
        The messages to pass on, and the state for the next call.

    >>> import numpy as np
    >>> frame = [Frames(np.array([number]), np.zeros((1, 2, 2))) for number in (7, 0, 1)]
    >>> [each.numbers[0].item() for each in leave_stale([frame[1], frame[2]], [frame[0]])[0]]
    [0, 1]
    """
    if held is None:
        return batch, None
    passed: list[Message] = []
    for message in batch:
        if held is None or not isinstance(message, Frames | Positions):
            passed.append(message)
        elif isinstance(message, Positions):
            is_of_held = bool(held) and len(message.positions_m) == 1 and first_number(message) == first_number(held[0])
            (held if is_of_held else passed).append(message)
        elif not held:
            held = [message]
        else:
            passed += [*held, message] if first_number(held[0]) < first_number(message) else [message]
            held = None
    return passed, held
