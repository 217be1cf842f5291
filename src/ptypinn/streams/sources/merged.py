"""Two sources as one: frames from a detector, positions from somewhere else."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from ptypinn.errors import InputError
from ptypinn.streams.messages import End, Frames, Message, Positions, Rejected, Source
from ptypinn.streams.sources.decode import shorten
from ptypinn.streams.sources.options import SourceOptions

MAX_WAITING = 128
"""Maximum number of messages that wait for the receiver; then the sources do."""
WAIT_S = 0.1
"""Maximum time without a word to the receiver."""
MAX_GRACE_S = 10.0
"""Time after the end of the frames in which positions are waited for that keep coming and complete no frame."""
Inbox = queue.Queue[tuple[int, Message | Exception]]


class MergedSource:
    """Frames of one source with the positions of another, each read by a thread of its own.

    The frames' source states the metadata and the end. Positions may come after it, until every frame has its own by
    number, or nothing has come for `idle_s`. While the receiver is behind, both sources wait if that of the frames can.

    Args:
        frames: Source of frames; its positions, if any, are passed on too.
        positions: Source of positions; frames of it are left aside.
        idle_s: Time without positions, after the end of the frames, that ends a stream that announces no end.
    """

    def __init__(self, frames: Source, positions: Source, idle_s: float = SourceOptions.idle_s) -> None:
        self._sources = (frames, positions)
        self._idle_s = idle_s
        self.can_wait = frames.can_wait
        self._open = True
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def messages(self) -> Iterator[Message | None]:
        """Yield what both deliver, and one `End`, when the frames' has come and the positions are through.

        Raises:
            InputError: Where one of the sources does.
            Exception: Whatever else the source of the frames fails with: the scan has not ended.
        """
        inbox: Inbox = queue.Queue(MAX_WAITING)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=_read, args=(source, place, inbox, self._stopping), daemon=True)
            for place, source in enumerate(self._sources)
        ]
        for thread in self._threads:
            thread.start()
        try:
            yield from self._pass_on(inbox)
        finally:
            self._stop()

    def close(self) -> None:
        """Close both sources, once their threads have ended: sockets belong to one thread at a time."""
        self._open = False
        self._stop()
        for source in self._sources:
            source.close()

    def _stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=20 * WAIT_S)
        self._threads = []

    @property
    def _longest_s(self) -> float:
        return max(MAX_GRACE_S, self._idle_s)

    def _pass_on(self, inbox: Inbox) -> Iterator[Message | None]:
        ends: dict[int, End] = {}
        numbers = set[int](), set[int]()
        n_lone = 0
        latest = ended_at = time.monotonic()
        while self._open and len(ends) < 2:
            now = time.monotonic()
            if 0 in ends:
                n_before, n_lone = n_lone, len(numbers[0] - numbers[1])
                ended_at = now if n_lone < n_before else ended_at
                if not n_lone or now - latest > self._idle_s or now - ended_at > self._longest_s:
                    break
            try:
                place, message = inbox.get(timeout=WAIT_S)
            except queue.Empty:
                yield None
                continue
            if isinstance(message, Exception):
                raise message
            if isinstance(message, End):
                ends[place], ended_at = message, now
            elif place == 0 or isinstance(message, Positions | Rejected):
                if isinstance(message, Frames | Positions) and message.numbers is not None:
                    numbers[isinstance(message, Positions)].update(message.numbers.tolist())
                yield message
            latest = time.monotonic()  # the receiver may have taken long
        yield ends.get(0, End())


def _read(source: Source, place: int, inbox: Inbox, stopping: threading.Event) -> None:
    """Put the messages of one source into the inbox, until it ends or is told to stop."""
    try:
        for message in source.messages():
            if stopping.is_set():
                return
            if message is not None:
                _put((place, message), inbox, stopping)
    except Exception as error:  # a thread that ends in silence would leave the receiver waiting
        if place == 0 or isinstance(error, InputError):
            return _put((place, error), inbox, stopping)
        _put((place, Rejected(shorten(f"{type(error).__name__}: {error}"))), inbox, stopping)
        _put((place, End()), inbox, stopping)


def _put(item: tuple[int, Message | Exception], inbox: Inbox, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            return inbox.put(item, timeout=WAIT_S)
        except queue.Full:
            continue
