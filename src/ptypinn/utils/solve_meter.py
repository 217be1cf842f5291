"""Time, work, memory and energy of a solve.

The solvers count their Fourier transforms, two per pattern and mode in every pass; they are compared with the time that
as many transforms take alone, which no solver of this kind can be faster than.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from ptypinn.utils.energy import measure_spent, read_energy

BOUND_PIXELS = 2**17, 2**24
"""Pixels that are transformed at once to measure the bound, on the CPU, where they fit its cache, and on a GPU."""
BOUND_REPEATS = 5
"""Times that the bound is measured; the shortest counts."""


class SolveMeter:
    """Counter of what a solve does, from its creation on.

    Args:
        device: Device that it runs on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.is_whole = device, True
        self._transforms, self._evaluations = Counter[int](), 0.0
        self._energy = read_energy(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def count(self, patterns: int, transforms: int, size: int, share: float) -> None:
        """Count a pass; see `count_pass`."""
        self._transforms[size] += patterns * transforms
        self._evaluations += patterns * share

    def add(self, other: SolveMeter) -> None:
        """Add what another one has counted."""
        self._transforms.update(other._transforms)
        self._evaluations += other._evaluations
        self.is_whole &= other.is_whole

    def record(self, patterns: int) -> dict[str, Any]:
        """Return the record of the solve so far, by names with units; what cannot be measured is left out.

        Args:
            patterns: Number of patterns of the scan.
        """
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        wall_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        energy_J, threads = measure_spent(self._energy, read_energy(self.device)), torch.get_num_threads()
        bound_s = sum(number * transform_s(size, self.device) for size, number in self._transforms.items())
        busy_s = cpu_s if self.device.type == "cpu" else wall_s
        record = {
            "device": describe_device(self.device),
            "threads": threads if self.device.type == "cpu" else None,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "patterns_per_s": patterns / wall_s,
            "passes": self._evaluations / patterns if bound_s and self.is_whole else None,
            "fft_bound_share": bound_s / busy_s if bound_s and self.is_whole else None,
            "peak_memory_bytes": peak_memory(self.device),
            "energy_J": energy_J,
        }
        return {name: value for name, value in record.items() if value is not None}


_METER: ContextVar[SolveMeter | None] = ContextVar("meter", default=None)


@contextlib.contextmanager
def measure_solve(device: torch.device) -> Iterator[SolveMeter]:
    """Measure what happens inside a context; a solve inside another one is a part of it."""
    meter, outer = SolveMeter(device), _METER.get()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)
        if outer is not None:
            outer.add(meter)


def count_pass(patterns: int, transforms: int, size: int, share: float = 1.0) -> None:
    """Count a pass over patterns in a solve that is measured, if one is.

    Args:
        patterns: Number of patterns.
        transforms: Fourier transforms that each of them needs at least.
        size: Edge of a pattern, pixels.
        share: Part of a whole pass, which takes loss and gradient.
    """
    if (meter := _METER.get()) is not None:
        meter.count(patterns, transforms, size, share)


def mark_uncounted() -> None:
    """Mark a solve that is measured, if one is, as one with work in other processes, which is not counted."""
    if (meter := _METER.get()) is not None:
        meter.is_whole = False


def transform_s(size: int, device: torch.device) -> float:
    """Return the time of one Fourier transform of a pattern, of many at once, seconds; on one thread of the CPU.

    Args:
        size: Edge of the pattern, pixels.
        device: Device to measure on.
    """
    pixels = BOUND_PIXELS[device.type == "cuda"]
    waves = torch.zeros((max(1, pixels // size**2), size, size), dtype=torch.complex64, device=device)
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    shortest, threads = math.inf, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(BOUND_REPEATS):
            started = clock()
            torch.fft.ifft2(torch.fft.fft2(waves, norm="ortho"), norm="ortho")
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            shortest = min(shortest, clock() - started)
    finally:
        torch.set_num_threads(threads)
    return shortest / (2 * len(waves))


def describe_device(device: torch.device) -> str:
    """Return the name of a device: of the GPU, or of the processor with its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def peak_memory(device: torch.device) -> int | None:
    """Return the largest memory so far, bytes: of a GPU since a solve began, else of this process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
