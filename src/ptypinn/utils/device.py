"""Choose the device of tensors, and the number of CPU threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from ptypinn.errors import InputError
from ptypinn.types import Scalar


def pick_device(name: str) -> torch.device:
    """Return the device that an option names.

    Args:
        name: `auto` (CUDA where available), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: Where this machine has no such device.

    Examples:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError("--device", "", repr(name), "auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise InputError("--device", "", repr(name), "a CUDA device that this machine has")
    return device


def has_bfloat16_units(device: torch.device) -> bool:
    """Return True for a CPU with matrix units for bfloat16 (AMX), which convolve about twice as fast as in float32."""
    list_capabilities = getattr(torch.cpu, "get_capabilities", None)  # missing in earlier versions of torch
    return device.type == "cpu" and list_capabilities is not None and bool(list_capabilities().get("amx_bf16"))


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Set the number of CPU threads of PyTorch inside a context.

    Args:
        count: Number of threads; None does not change it (the default of PyTorch is all cores).

    Raises:
        InputError: Where the number is below 1.
    """
    if count is not None and count < 1:
        raise InputError("--threads", "", str(count), "at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def read_scalars(*values: Scalar) -> list[float]:
    """Return numbers, some of which a device may still be computing, with one wait for all of them.

    >>> read_scalars(2.0, torch.ones((), dtype=torch.float64))
    [2.0, 1.0]
    """
    read = iter(torch.stack(waiting).tolist() if (waiting := [v for v in values if isinstance(v, Tensor)]) else ())
    return [next(read) if isinstance(value, Tensor) else value for value in values]


Item = TypeVar("Item")
Result = TypeVar("Result")


def map_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to every item in a thread of its own, with one CPU thread each; return the results in order.

    Examples:
        >>> map_threads(abs, [-1, 2, -3])
        [1, 2, 3]
    """
    if len(items) == 1:
        return [function(items[0])]
    with cpu_threads(1), ThreadPoolExecutor(len(items), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(function, items))
