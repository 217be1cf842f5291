"""Configuration of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class DemoConfig:
    """How large a scan the demonstration simulates, and how long the learned solver works on it."""

    object_size: int = 256
    """Height and width of the simulated object, pixels."""
    size: int = 64
    """Edge N of patterns and probe, pixels."""
    photons: float = 1e6
    """Photons per pattern through vacuum."""
    overlap: float = 0.7
    """Linear overlap of neighbouring positions."""
    rounds: int | None = None
    """Rounds of the learned solver, each two passes over the data and one correction by the network; as many as usual
    for the light where not given."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int = 1
    """CPU threads; arrays this small gain little from more, and lose much where other programs need the cores."""
    seed: int = 1
    """Seed of everything random."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError("--threads", "", str(self.threads), "at least 1")
        if self.object_size < self.size:
            raise InputError("--object_size", "", str(self.object_size), f"at least --size ({self.size})")
