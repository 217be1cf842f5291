"""Processes that work on one task together, over `torch.distributed`: sums, borders with neighbours, messages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from ptypinn.utils.rank_start import RankStart

ANSWER_LIMIT, IDLE_LIMIT = timedelta(minutes=20), timedelta(days=30)
"""Longest waits for an answer, and for the next task while the first process works alone."""
Reduction = Literal["sum", "max", "min"]
OPERATIONS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


Neighbours = tuple[Tensor | None, Tensor | None]
"""Tensors of the processes before and after; None where there is none."""


class Ranks:
    """The processes of one call, of which this is one; all call the same methods in the same order.

    The first one leads: it sends messages, the others receive them.

    Args:
        rank: Number of this process, from 0.
        count: Number of processes.
        local_rank: Number of this process among those on its machine, which names its GPU.
    """

    def __init__(self, rank: int, count: int, local_rank: int = 0) -> None:
        self.rank, self.count, self.local_rank = rank, count, local_rank
        self._are_busy = False
        self.sent_bytes = 0
        """Bytes that this process has sent of canvases and sums; those of sums as an ideal reduction sends them."""
        self._messages = dist.new_group(backend="gloo", timeout=IDLE_LIMIT)

    @property
    def leads(self) -> bool:
        """True for the first process."""
        return self.rank == 0

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While the context lasts, the others work on what was handed out; they do so after a failure."""
        self._are_busy = True
        yield
        self._are_busy = False

    def dismiss(self) -> None:
        """Tell the others, from the first process, that there is no more to do; not those who are left in a task."""
        if self.leads and not self._are_busy:
            with contextlib.suppress(ConnectionError):
                self.hand_out([None] * self.count)

    def device(self, kind: str) -> torch.device:
        """Return this process' device of a kind: of several GPUs, the one of its number."""
        if kind != "cuda":
            return torch.device(kind)
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())

    def reduce(self, values: Tensor, operation: Reduction = "sum") -> Tensor:
        """Replace values by their sum, or the largest or least ones, over all processes; return them."""
        with self._watched():
            dist.all_reduce(_as_real(values), OPERATIONS[operation])
        self.sent_bytes += round(2 * (self.count - 1) / self.count * _size(values))
        return values

    def exchange(self, up: Tensor | None, down: Tensor | None) -> Neighbours:
        """Send one tensor to the process before and one to that after; return what they send, of the same shapes."""
        return self.begin_exchange(up, down)()

    def begin_exchange(self, up: Tensor | None, down: Tensor | None) -> Callable[[], Neighbours]:
        """Begin an exchange; return the function that waits for its end."""
        parts = [None if part is None else part.contiguous() for part in (up, down)]
        places = [None if part is None else torch.empty_like(part) for part in parts]
        operations = list[dist.P2POp]()
        for peer, part, place in zip((self.rank - 1, self.rank + 1), parts, places, strict=True):
            if part is not None and place is not None:
                operations.append(dist.P2POp(dist.isend, _as_real(part), peer))
                operations.append(dist.P2POp(dist.irecv, _as_real(place), peer))
                self.sent_bytes += _size(part)
        with self._watched():
            requests = _start(operations)

        def finish() -> Neighbours:
            with self._watched():
                for request in requests:
                    request.wait()
            return places[0], places[1]

        return finish

    def transpose(self, parts: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Send every process its part; return the part that each of them has for this one.

        Args:
            parts: Complex parts by process.
            shapes: Shapes of those to receive, by process.
        """
        outgoing = torch.cat([part.reshape(-1) for part in parts])
        sizes = [height * width for height, width in shapes]
        incoming = outgoing.new_empty(sum(sizes))
        with self._watched():
            dist.all_to_all_single(
                torch.view_as_real(incoming), torch.view_as_real(outgoing), sizes, [part.numel() for part in parts]
            )
        self.sent_bytes += _size(outgoing) - _size(parts[self.rank])
        return [part.view(shape) for part, shape in zip(torch.split(incoming, sizes), shapes, strict=True)]

    def gather(self, rows: Tensor, heights: Sequence[int]) -> Tensor | None:
        """Return the rows of all processes, one after the other, to the first; None to the others.

        Args:
            rows: Those of this process, (height, width).
            heights: Number of rows by process.
        """
        if not self.leads:
            self.sent_bytes += _size(rows)
            with self._watched():
                dist.send(_as_real(rows.contiguous()), 0)
            return None
        parts = [rows, *(rows.new_empty(height, rows.shape[-1]) for height in heights[1:])]
        with self._watched():
            for peer, part in enumerate(parts[1:], 1):
                dist.recv(_as_real(part), peer)
        return torch.cat(parts)

    def gather_all(self, rows: Tensor, heights: Sequence[int]) -> Tensor:
        """Return the rows of all processes, one after the other, to all of them; arguments are those of `gather`."""
        parts = [rows.new_empty(height, rows.shape[-1]) for height in heights]
        parts[self.rank] = rows.contiguous()
        with self._watched():
            for peer, part in enumerate(parts):
                dist.broadcast(_as_real(part), peer)
        self.sent_bytes += _size(rows) * (self.count - 1)
        return torch.cat(parts)

    def say(self, message: Any = None) -> Any:
        """Return the message of the first process to all; what the others pass is not read."""
        box = [message]
        with self._watched():
            dist.broadcast_object_list(box, 0, group=self._messages)
        return box[0]

    def hand_out(self, messages: Sequence[Any] | None) -> Any:
        """Return to every process its own message of those that the first one has."""
        for peer in range(1, self.count):
            box = [messages[peer] if messages is not None else None]
            with self._watched():
                if self.leads:
                    dist.send_object_list(box, peer, group=self._messages)
                elif self.rank == peer:
                    dist.recv_object_list(box, 0, group=self._messages)
                    return box[0]
        return None if messages is None else messages[0]

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Raise `ConnectionError`, in one line, where another process has ended or does not answer."""
        try:
            yield
        except RuntimeError as error:
            line = f"rank {self.rank} of {self.count}: another rank has ended or does not answer"
            raise ConnectionError(f"{line}; its own messages say why") from error


_joined: list[Ranks] = []


def current_ranks() -> Ranks | None:
    """Return the processes that this one works with; None where it works alone."""
    return _joined[-1] if _joined else None


@contextlib.contextmanager
def join_ranks(start: RankStart) -> Iterator[Ranks]:
    """Join the other processes for as long as the context lasts.

    Raises:
        ConnectionError: Where they do not come.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(
            backend, init_method=start.address, rank=start.rank, world_size=start.size, timeout=ANSWER_LIMIT
        )
        ranks = Ranks(start.rank, start.size, start.local_rank)
    except RuntimeError as error:
        line = f"rank {start.rank} of {start.size}: the others do not answer at {start.address}"
        raise ConnectionError(line) from error
    _joined.append(ranks)
    try:
        yield ranks
    finally:
        _joined.remove(ranks)
        dist.destroy_process_group()


def _start(operations: list[dist.P2POp]) -> list[dist.Work]:
    """Start to send and to receive; on a GPU all at once, without which two processes may wait for each other."""
    if operations and operations[0].tensor.is_cuda:
        return dist.batch_isend_irecv(operations)
    works = (each.op(each.tensor, each.peer) for each in operations)
    return [work for work in works if work is not None]


def _as_real(values: Tensor) -> Tensor:
    return torch.view_as_real(values) if values.is_complex() else values


def _size(values: Tensor) -> int:
    return values.numel() * values.element_size()
