"""Sources over ZeroMQ: one socket, whose messages a parser of the protocol understands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import zmq

from ptypinn.errors import InputError
from ptypinn.streams.messages import Message, Rejected
from ptypinn.streams.sources.blocks import join_blocks
from ptypinn.streams.sources.decode import MAX_ARRAY_BYTES, MAX_HEADER_BYTES, MalformedError, understand
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.series import InSeries, SeriesReader

WAIT_MS = 100
"""Maximum time without a word to the receiver."""
TICK_S = 0.004
"""Minimum time between two looks at a socket: what comes in it is handed on together."""
MAX_BATCH = 256
"""Maximum number of messages of one look."""
MAX_PARTS = 64
"""Maximum number of parts of a message; those beyond are thrown away."""
MAX_WAITING = 2000
"""Maximum number of messages that wait in the socket; then the publisher waits, or drops what `sub` does not take."""
Parser = Callable[[Sequence[bytes]], InSeries]


@dataclass(frozen=True)
class SocketOptions:
    """Options of a ZeroMQ address, given as a query: `zmq://host:5555?socket=sub`.

    >>> SocketOptions(socket="sub", topic="frames").bind
    False
    """

    socket: Literal["pull", "sub"] = "pull"
    """Kind of socket: `pull` from a publisher that pushes, `sub` to one that publishes."""
    topic: str = ""
    """Topic to subscribe to, which is the first part of every message then."""
    bind: bool = False
    """Wait for publishers that connect, instead of connecting to one."""
    channel: str = ""
    """Channel (threshold) of a DECTRIS detector; empty for the first."""


class ZmqSource:
    """Messages of a ZeroMQ socket.

    `messages` may be called again after an `End`: it goes on with the next series. A series ends with its message of
    that, with the first word of the next one, or where that is lost, when the last frame of a stated number has come
    and nothing has for `idle_s`. Before that frame no pause ends it: a scan may stand still.

    Args:
        endpoint: Address of ZeroMQ, such as `tcp://host:9999`.
        parse: Parser of the parts of a message.
        options: Kind of socket.
        idle_s: Time without messages that ends a series whose last frame has come.

    Raises:
        InputError: Where there is no such address.
    """

    can_wait = False

    def __init__(
        self, endpoint: str, parse: Parser, options: SocketOptions, idle_s: float = SourceOptions.idle_s
    ) -> None:
        self._parse, self._topic, self._idle_s = parse, bool(options.topic), idle_s
        self._series = SeriesReader()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB if options.socket == "sub" else zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_ARRAY_BYTES + MAX_HEADER_BYTES)
        self._socket.setsockopt(zmq.RCVHWM, MAX_WAITING)
        if options.socket == "sub":
            self._socket.setsockopt(zmq.SUBSCRIBE, options.topic.encode())
        self._open = True
        try:
            (self._socket.bind if options.bind else self._socket.connect)(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise InputError(endpoint, "address", str(error).lower(), "host and port, as in zmq://host:5555") from error

    def messages(self) -> Iterator[Message | None]:
        """Yield messages as they arrive, up to the end of a series."""
        yield from self._series.begin_next()
        start = time.monotonic()
        while self._open and not self._series.ended:
            if not self._socket.poll(WAIT_MS):
                yield None
                if self._series.check.is_full and time.monotonic() - start > self._idle_s:
                    yield from self._series.end_full()
                continue
            start = time.monotonic()
            yield from join_blocks(self._receive())
            time.sleep(max(0.0, TICK_S - (time.monotonic() - start)))

    def close(self) -> None:
        """Close the socket."""
        self._open = False
        self._socket.close()
        self._context.term()

    def _receive(self) -> Iterator[Message]:
        """Yield what has arrived, up to a batch."""
        for _ in range(MAX_BATCH):
            if self._series.ended or not self._open:
                return
            try:
                parts = self._receive_parts()
            except zmq.Again:
                return
            if len(parts) > MAX_PARTS:
                yield Rejected(f"a message of more than {MAX_PARTS} parts")
                continue
            yield from self._understand(parts[1:] if self._topic else parts)

    def _understand(self, parts: Sequence[bytes]) -> Iterator[Message]:
        outcome: list[InSeries] = []

        def parse(content: Sequence[bytes]) -> Sequence[Message]:
            outcome.append(self._parse(content))
            return ()

        rejected = understand(parse, parts)
        yield from self._series.take(outcome[0]) if outcome else rejected

    def _receive_parts(self) -> list[bytes]:
        parts = [self._socket.recv(zmq.NOBLOCK)]
        while self._socket.getsockopt(zmq.RCVMORE):
            part = self._socket.recv()
            if len(parts) <= MAX_PARTS:
                parts.append(part)
        return parts


def parse_dectris(channel: str = "") -> Parser:
    """Return the parser of both versions of DECTRIS streams, which tells them by their first byte."""

    def parse(parts: Sequence[bytes]) -> InSeries:
        if len(parts) == 1 and is_cbor(parts[0]):
            from ptypinn.streams.sources.dectris_v2 import parse_v2

            return parse_v2(parts[0], channel)
        from ptypinn.streams.sources.dectris_v1 import parse_v1

        return parse_v1(parts)

    return parse


def is_cbor(part: bytes) -> bool:
    """Return True for a CBOR map, tagged as CBOR or not: JSON objects begin with a brace."""
    if not part:
        raise MalformedError("an empty message")
    return part[0] >> 5 == 5 or part[:3] == b"\xd9\xd9\xf7"
