"""Choose where tensors live, and how many threads work on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from ptypinn.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device that an option names.

    Args:
        name: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: Where the device does not exist here.
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


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads while the context lasts.

    Args:
        count: Threads; None leaves their number as it is, which is all cores unless somebody changed it.

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


Share = TypeVar("Share")
Found = TypeVar("Found")


def map_threads(work: Callable[[Share], Found], shares: Sequence[Share]) -> list[Found]:
    """Do each share in a thread of its own, each computing with one CPU thread; results in the order of the shares."""
    if len(shares) == 1:
        return [work(shares[0])]
    with cpu_threads(1), ThreadPoolExecutor(len(shares), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, shares))
