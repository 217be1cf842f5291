"""Messages between the thread of a source and the disk: in memory of bounded size.

Sources that can wait do so while the queue is full; from others frames are dropped then, and counted by number.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from ptypinn.streams.messages import Dropped, Frames, Message

MAX_QUEUE_BYTES = 2**28
"""Frames between the source and the disk; more are dropped, or waited for."""


class MessageQueue:
    """Messages between the source and the spool, bounded by the bytes of their frames.

    Args:
        can_wait: Let the source wait while the queue is full; otherwise its frames are dropped.
        max_bytes: Bound on the frames.
    """

    def __init__(self, can_wait: bool, max_bytes: int = MAX_QUEUE_BYTES) -> None:
        self._can_wait, self._max_bytes = can_wait, max_bytes
        self._messages: deque[tuple[Message, float]] = deque()
        self._bytes, self._changed, self._is_closed = 0, threading.Condition(), False
        self.error: BaseException | None = None
        """Failure of the source."""

    def put(self, message: Message) -> None:
        """Add a message, or what is left of it where there is no space."""
        size, arrival_s = _size(message), time.time()
        with self._changed:
            while self._can_wait and self._bytes + size > self._max_bytes and self._bytes and not self._is_closed:
                self._changed.wait(0.5)
            if isinstance(message, Frames) and self._bytes + size > self._max_bytes and self._bytes:
                message, size = Dropped(message.numbers), 0
            self._messages.append((message, arrival_s))
            self._bytes += size
            self._changed.notify_all()

    def take(self, timeout_s: float) -> list[tuple[Message, float]]:
        """Return all messages with their arrivals; wait for the first at most for some time."""
        with self._changed:
            if not self._messages and not self._is_closed:
                self._changed.wait(timeout_s)
            messages = list(self._messages)
            self._messages.clear()
            self._bytes = 0
            self._changed.notify_all()
        return messages

    def close(self, error: BaseException | None = None) -> None:
        """End the queue: the source has ended."""
        with self._changed:
            self._is_closed, self.error = True, error
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """True if the source has ended and all its messages are taken."""
        with self._changed:
            return self._is_closed and not self._messages

    @property
    def used(self) -> float:
        """Fraction of the bound that is used."""
        return self._bytes / self._max_bytes


def _size(message: Message) -> int:
    return message.counts.nbytes if isinstance(message, Frames) else 0
