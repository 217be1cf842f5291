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

    def __post_init__(self) -> None:
        if not 0 < self.memory_gib < float("inf"):
            raise InputError("--memory_gib", "", str(self.memory_gib), "more than 0")
        for name in ("window_px", "halo_px"):
            value = getattr(self, name)
            if value is not None and value < SMALLEST_PX:
                raise InputError(f"--{name}", "", str(value), f"at least {SMALLEST_PX}")
