"""Frames and positions that come one by one, joined to blocks, so that what follows is paid once for many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from ptypinn.streams.messages import Frames, Message, Positions

BLOCK_BYTES = 8 << 20
"""Maximum size of a block of frames, unless a single one is larger."""
Block = TypeVar("Block", Frames, Positions)


def join_blocks(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield messages with frames of the same kind as one block, and positions of the same kind too.

    Frames keep their order, and so do positions; both come before a message of another kind that they came before.

    >>> places = [Positions(np.zeros((1, 2)), np.array([number])) for number in range(2)]
    >>> frames = [Frames(np.array([number]), np.zeros((1, 4, 4))) for number in range(2)]
    >>> [part.numbers.tolist() for part in join_blocks([frames[0], places[0], frames[1], places[1]])]
    [[0, 1], [0, 1]]
    """
    frames: list[Frames] = []
    positions: list[Positions] = []
    size = 0
    for message in messages:
        if isinstance(message, Frames):
            if frames and (size >= BLOCK_BYTES or not _fit(frames[-1], message)):
                yield from _join_frames(frames)
                size = 0
            frames.append(message)
            size += message.counts.nbytes
        elif isinstance(message, Positions):
            if positions and (positions[-1].numbers is None) != (message.numbers is None):
                yield from _join_positions(positions)
            positions.append(message)
        else:
            yield from _join_frames(frames)
            yield from _join_positions(positions)
            size = 0
            yield message
    yield from _join_frames(frames)
    yield from _join_positions(positions)


def _fit(first: Frames, second: Frames) -> bool:
    return (
        first.counts.shape[1:] == second.counts.shape[1:]
        and first.counts.dtype == second.counts.dtype
        and (first.times_s is None) == (second.times_s is None)
    )


def _join_frames(block: list[Frames]) -> Iterator[Frames]:
    """Yield the frames of a list as one block, and empty the list."""
    if block:
        numbers, counts = (_stack([getattr(each, name) for each in block]) for name in ("numbers", "counts"))
        yield Frames(numbers, counts, _stack_if_any([each.times_s for each in block]))
        block.clear()


def _join_positions(block: list[Positions]) -> Iterator[Positions]:
    """Yield the positions of a list as one block, and empty the list."""
    if block:
        numbers, times = (_stack_if_any([getattr(each, name) for each in block]) for name in ("numbers", "times_s"))
        yield Positions(_stack([each.positions_m for each in block]), numbers, times)
        block.clear()


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _stack_if_any(parts: list[np.ndarray | None]) -> np.ndarray | None:
    arrays = [part for part in parts if part is not None]
    return _stack(arrays) if len(arrays) == len(parts) else None
