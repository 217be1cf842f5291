"""Configuration of the windows that a large scan is solved in."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError

SMALLEST_PX = 16
"""Smallest window and halo: the network works on tiles of so many pixels."""


@dataclass(frozen=True)
class WindowOptions:
    """How a scan is cut into windows that are solved one by one, or side by side."""

    memory_gib: float = 4.0
    """Memory that one process may take, GiB; a scan that needs more is solved in windows that overlap."""
    window_px: int | None = None
    """Edge of the windows, object pixels, without their overlap; as large as the memory allows by default."""
    halo_px: int | None = None
    """Object pixels that are solved around every window and dropped, so that neighbours agree; by default 20 times the
    rms half-width of the probe, and at least the edge of a pattern."""
    workers: int = 0
    """Processes that solve windows side by side, each in `memory_gib`; 0 solves one after the other."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, to solve windows on its cluster; needs the extra `dask`."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError("--workers", "", str(self.workers), "at least 0")
        if self.scheduler and self.workers:
            raise InputError("--workers", "", f"{self.workers} together with --scheduler", "one of them")
        if not 0 < self.memory_gib < float("inf"):
            raise InputError("--memory_gib", "", str(self.memory_gib), "more than 0")
        for name in ("window_px", "halo_px"):
            value = getattr(self, name)
            if value is not None and value < SMALLEST_PX:
                raise InputError(f"--{name}", "", str(value), f"at least {SMALLEST_PX}")
