"""What the terms of an experiment have in common: evidence, solve, size, and the solver that they are tried with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.utils.progress import Progress

if TYPE_CHECKING:
    from ptypinn.solvers.positions import PositionEstimate

MIN_SIGNIFICANCE = 4.0
"""Gain of log-likelihood over its standard error from which a term is not due to chance."""
MIN_MISFIT = 1.04
"""Amplitude residual over that of counting noise from which detector or positions may be to blame: up to 1.03 on scans
without faults."""
MIN_GAIN = 0.3
"""Smallest fraction of the misfit above counting noise that a term has to explain."""
MAX_CANVAS_PX = 2**22
"""Largest canvas on which positions are solved for: the solver holds forty of it in memory."""


@runtime_checkable
class Solver(Protocol):
    """Solver of scans, with the options of the run."""

    @property
    def batch(self) -> int:
        """Patterns in memory at once."""

    @property
    def device(self) -> torch.device:
        """Device to compute on."""

    @property
    def refines_probe(self) -> bool:
        """True if the probe is solved for as well."""

    @property
    def progress(self) -> Progress:
        """Called after every step."""

    def solve(self, scan: ScanData, unknown: str = "", *, hold_probe: bool = False) -> Reconstruction:
        """Solve a scan.

        Args:
            scan: The scan, with the terms that are given.
            unknown: Name of a term to solve for as well.
            hold_probe: Take the probe of the scan as it is.
        """


@dataclass(frozen=True)
class Evidence:
    """Evidence of a term in what an ideal solve has left unexplained."""

    significance: float
    """Gain of log-likelihood on what the term was not fitted to, over its standard error."""
    proposes: bool
    """True if the term is worth a solve."""
    estimate: PositionEstimate | None = None
    """First estimate of the positions, to go on from."""
    beam_px: np.ndarray | None = None
    """First estimate of the beam, detector pixels."""
    spread_px: float | None = None
    """Estimate of the point spread, detector pixels."""


@runtime_checkable
class Term(Protocol):
    """A term of the experiment, as `solve_experiment` tries it."""

    name: str
    min_gain: float
    """Smallest fraction of the misfit above counting noise that the term has to explain."""
    min_misfit: float
    """Amplitude residual over that of counting noise from which it is looked for."""

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Return the evidence of the term in what a reconstruction leaves unexplained, for little work."""

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve the scan with the term, from cheap trials to the result; each has to explain enough for the next."""

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the size of the term in a reconstruction that has it."""

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return what else is worth recording about the term."""
