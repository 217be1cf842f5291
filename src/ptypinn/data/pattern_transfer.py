"""Batches of counts on their way to a device: read ahead, through pinned memory; and small integers in few bytes.

A scan larger than the memory of a GPU is read on every pass. While the device works on one batch, a thread reads the
next one, and the copy of it runs beside the kernels: it is pinned, so that no copy waits, and in a stream of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Num
from numpy.typing import DTypeLike
from torch import Tensor

CPU_BUDGET_BYTES = 4 * 2**30
"""Counts that stay in the memory of the host."""
CUDA_BUDGET_FRACTION = 0.5
"""Counts that stay in the memory of a GPU, over what is free; the rest is for waves."""
PACKED_TYPES = (torch.uint8, torch.uint16)
"""Types of fewer bytes than float32 that hold counts, the smallest first. Half-precision floats take as many bytes and
hold fewer integers: bfloat16 up to 256, float16 up to 2,048."""

Batches = Iterator[tuple[slice, Num[np.ndarray, "patterns y x"]]]
FloatBatches = Iterator[tuple[slice, Float[Tensor, "patterns y x"]]]


def default_budget(device: torch.device) -> int:
    """Return the size of the counts that may stay in the memory of a device, bytes."""
    if device.type != "cuda":
        return CPU_BUDGET_BYTES
    return int(CUDA_BUDGET_FRACTION * torch.cuda.mem_get_info(device)[0])


def pack_counts(counts: Float[Tensor, "patterns y x"]) -> Num[Tensor, "patterns y x"]:
    """Return counts in the smallest type that holds all of them exactly.

    >>> [pack_counts(torch.tensor([[[count]]])).dtype for count in (255.0, 256.0, 65536.0, 0.5)]
    [torch.uint8, torch.uint16, torch.float32, torch.float32]
    """
    for dtype in PACKED_TYPES:
        packed = counts.to(dtype)
        if torch.equal(packed.float(), counts):
            return packed
    return counts


def move_batches(batches: Batches, device: torch.device) -> FloatBatches:
    """Move batches of counts to a device as float32, the next one while the device works on one.

    Args:
        batches: Slices of the patterns, and counts as a file has them.
        device: Device to move them to; batches that stay on the CPU are not read ahead.
    """
    if device.type != "cpu":
        yield from read_ahead(batches, device)
        return
    for part, counts in batches:
        yield part, _to_tensor(counts, np.float32)


def read_ahead(batches: Batches, device: torch.device) -> FloatBatches:
    """Move batches of counts to a device, the next one in a thread; see `move_batches`."""
    with ThreadPoolExecutor(1) as reader:
        copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # in torch
        pending = reader.submit(_load, batches, device, copies)
        while (loaded := pending.result()) is not None:
            pending = reader.submit(_load, batches, device, copies)
            yield loaded.part, loaded.receive().float()


class _Loaded(NamedTuple):
    """A batch whose copy to the device has begun."""

    part: slice
    counts: Tensor
    end: torch.cuda.Event | None
    """End of the copy."""

    def receive(self) -> Tensor:
        """Return the counts for kernels of the present stream, which wait for the copy; the host does not."""
        if self.end is not None:
            stream = torch.cuda.current_stream(self.counts.device)
            stream.wait_event(self.end)
            self.counts.record_stream(stream)
        return self.counts


def _load(batches: Batches, device: torch.device, copies: torch.cuda.Stream | None) -> _Loaded | None:
    """Read the next batch and begin its copy; None where there is none left."""
    if (batch := next(batches, None)) is None:
        return None
    part, counts = batch
    tensor = _to_tensor(counts, counts.dtype if counts.dtype in (np.uint8, np.uint16) else np.float32)
    if copies is None:
        return _Loaded(part, tensor.to(device), None)
    with torch.cuda.stream(copies):
        moved = tensor.pin_memory().to(device, non_blocking=True)
        return _Loaded(part, moved, copies.record_event())


def _to_tensor(counts: Num[np.ndarray, "patterns y x"], dtype: DTypeLike) -> Num[Tensor, "patterns y x"]:
    return torch.from_numpy(np.require(counts, dtype, ["C", "W"]))
