"""What the solvers are asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SolverOptions:
    """Options of a solve; `config.RefineConfig` explains them to users."""

    iterations: int
    """Most iterations before the finish."""
    probe_modes: int | None
    """Incoherent modes to solve for; None keeps those of the probe."""
    refine_probe: bool
    """Solve for the probe."""
    refine_positions: bool
    """Solve for the positions, once object and probe have settled."""
    loss: Literal["poisson", "amplitude"]
    """Data term."""
    early_stop: bool
    """Hold pixels out to see when noise is being fitted."""
    tolerance: float
    """Relative gain below which the solver has converged."""
