"""Energy that the processors of a machine have taken, from their own counters, where they can be read.

A counter is of a whole processor: what other programs do there is in it as well.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch

POWERCAP = Path("/sys/class/powercap")
"""Counters of the packages of the CPU on Linux (RAPL), microjoules."""


class Counter(NamedTuple):
    """The reading of one counter."""

    energy_J: float
    """Since a moment of its own."""
    range_J: float = float("inf")
    """Reading at which it begins at 0 again."""


def read_energy(device: torch.device, powercap: Path = POWERCAP) -> dict[str, Counter]:
    """Return the readings of the counters of a device by their names; none where none can be read.

    Args:
        device: The CPU: all its packages; or a GPU: that one, where the package `pynvml` is installed.
        powercap: Folder of the counters of the CPU.
    """
    if device.type == "cuda":
        return _read_gpu(device)
    counters = dict[str, Counter]()
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            if (folder / "name").read_text().startswith("package"):
                energy, limit = (int((folder / f"{name}energy{rest}_uj").read_text()) for name, rest in FILES)
                counters[folder.name] = Counter(1e-6 * energy, 1e-6 * limit)
        except (OSError, ValueError):  # for the superuser alone, or gone
            continue
    return counters


FILES = (("", ""), ("max_", "_range"))
"""Parts of the names of the files of a counter: its reading, and the largest one."""


def measure_spent(before: dict[str, Counter], after: dict[str, Counter]) -> float | None:
    """Return the energy between two readings, joules; None where none of the counters has both.

    >>> measure_spent({"package-0": Counter(9.0, 10.0)}, {"package-0": Counter(2.0, 10.0)})
    3.0
    """
    spent = [
        counter.energy_J - before[name].energy_J + (counter.range_J if counter.energy_J < before[name].energy_J else 0)
        for name, counter in after.items()
        if name in before
    ]
    return sum(spent) if spent else None


def _read_gpu(device: torch.device) -> dict[str, Counter]:
    if importlib.util.find_spec("pynvml") is None:
        return {}
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return {"gpu": Counter(1e-3 * nvml.nvmlDeviceGetTotalEnergyConsumption(handle))}
    except nvml.NVMLError:  # older cards have no counter
        return {}
