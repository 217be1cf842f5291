"""Configuration of the iterative solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class RefineConfig:
    """How the iterative solver runs."""

    iterations: int = 100
    """Most iterations, each about one pass over the data, before a short finish; the solver stops earlier when it
    starts to fit noise or no longer gains."""
    probe_modes: int | None = None
    """Incoherent probe modes to solve for; a probe with fewer is extended; as many as the probe has by default."""
    refine_probe: bool = True
    """Solve for the probe too, with its power held at the known photons per pattern."""
    refine_positions: bool = False
    """Solve for the scan positions too, once object and probe have settled."""
    loss: str = "poisson"
    """Noise model of the counts: poisson (their likelihood) or amplitude (variance-stabilised), or another one that is
    registered in `ptypinn.losses`."""
    early_stop: bool = True
    """Hold out one pixel in twenty to see when noise is being fitted, stop there, and finish on all pixels; not from a
    given start, which has seen them all."""
    tolerance: float = 1e-4
    """Stop when the loss gains less than this share over five iterations."""
    engine: Literal["native", "ptychi"] = "native"
    """Solver: ours, or LSQ-ML of the ptychi package (an extra)."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int | None = None
    """CPU threads; all cores where not given."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError("--iterations", "", str(self.iterations), "at least 1")
        if self.probe_modes is not None and self.probe_modes < 1:
            raise InputError("--probe_modes", "", str(self.probe_modes), "at least 1")
        if not self.tolerance >= 0:
            raise InputError("--tolerance", "", str(self.tolerance), "a number of at least 0")
        if self.engine == "ptychi" and self.refine_positions:
            raise InputError("--refine_positions", "", "true with --engine ptychi", "false, or --engine native")
