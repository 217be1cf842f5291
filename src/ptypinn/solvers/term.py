"""What the terms of an experiment have in common: evidence, solve, size, and the state that they are tried in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import compute_data_fit, sum_deviance
from ptypinn.solvers.core_trials import CORE_PATTERNS, WIDE_PIXELS, CoreTrials
from ptypinn.utils.progress import Progress

if TYPE_CHECKING:
    from ptypinn.solvers.positions import PositionEstimate

MIN_GAIN = 0.3
"""Smallest fraction of the misfit above counting noise that a term has to explain."""
FAINT_GAIN = -0.5
"""The same where held-out pixels have decided: the object of a faint scan has fitted noise in place of the term, and
the misfit may rise by this."""
MAX_CANVAS_PX = 2**22
"""Largest canvas on which positions are solved for: the solver holds forty of it in memory."""

WHOLE_TERMS = ("positions", "probe_variation")
"""Terms that are solved for on canvases up to that."""


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

    def solve(
        self, scan: ScanData, unknown: str = "", *, hold_probe: bool = False, is_draft: bool = False
    ) -> Reconstruction:
        """Solve a scan.

        Args:
            scan: The scan, with the terms that are given.
            unknown: Name of a term to solve for as well.
            hold_probe: Take the probe of the scan as it is.
            is_draft: Solve by few rounds, for a start that other unknowns are solved for from.
        """


@dataclass(frozen=True)
class State:
    """A scan with the terms that were taken in so far; what is measured of it is measured once."""

    scan: ScanData
    """The patterns of the reconstruction, with its terms."""
    recon: Reconstruction
    """Their reconstruction."""
    solver: Solver
    """Solves the scan again, with terms."""
    names: tuple[str, ...] = ()
    """Names of the terms that may be solved for and are not taken in."""

    @cached_property
    def misfit(self) -> float:
        """Amplitude residual over the one that counting noise explains."""
        return fit_misfit(self.scan, self.recon, self.solver)

    @cached_property
    def unexplained(self) -> float:
        """Log-likelihood that is missing to a fit that leaves counting noise alone."""
        arrays = self.recon.sample, self.recon.probe, self.recon.positions_px
        missing = sum_deviance(self.scan, *arrays, batch=self.solver.batch, device=self.solver.device)
        return missing * (1 - min(1.0, 1 / self.misfit))

    @cached_property
    def core(self) -> CoreTrials:
        """Solves of the patterns around the middle."""
        return CoreTrials(self.scan, self.solver, self.recon.probe)

    @cached_property
    def wide(self) -> CoreTrials:
        """Solves of more patterns, where the counts of those around the middle do not tell terms apart."""
        patterns = WIDE_PIXELS // self.scan.size**2
        if patterns <= CORE_PATTERNS:
            return self.core
        return CoreTrials(self.scan.replace(probe=self.recon.probe), self.solver, self.recon.probe, patterns)

    @property
    def is_faint(self) -> bool:
        """True if only held-out pixels of many patterns tell terms of the probe apart."""
        return not self.core.is_conclusive and self.wide.reaches_noise


def fit_misfit(scan: ScanData, recon: Reconstruction, solver: Solver) -> float:
    """Return the amplitude residual of a reconstruction over the one that counting noise explains."""
    arrays = recon.sample, recon.probe, recon.positions_px
    return compute_data_fit(recon.scan_part(scan), *arrays, batch=solver.batch, device=solver.device).misfit


@dataclass(frozen=True)
class Evidence:
    """Evidence of a term in what an ideal solve has left unexplained."""

    significance: float
    """Gain of log-likelihood on what the term was not fitted to, over its standard error."""
    proposes: bool
    """True if the term is worth a solve."""
    min_rival_misfit: float = 0.0
    """Misfit that the term leaves from which terms that might explain as much are solved for too; infinite where they
    were found to explain less."""
    min_gain: float | None = None
    """Smallest fraction of the misfit above counting noise that the term has to explain, where not that of the term."""
    estimate: PositionEstimate | None = None
    """First estimate of the positions, to go on from."""
    beam_px: np.ndarray | None = None
    """First estimate of the beam, detector pixels."""
    spread_px: float | None = None
    """Estimate of the point spread, detector pixels."""
    start: Reconstruction | None = None
    """Reconstruction with the term, to go on from."""


@runtime_checkable
class Term(Protocol):
    """A term of the experiment, as `solve_experiment` tries it."""

    name: str
    min_gain: float
    """Smallest fraction of the misfit above counting noise that the term has to explain."""
    min_misfit: float
    """Amplitude residual over that of counting noise from which it is looked for."""

    def weigh(self, state: State) -> Evidence:
        """Return the evidence of the term in what a reconstruction leaves unexplained, for little work."""

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve the scan with the term, from cheap trials to the result; each has to explain enough for the next."""

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the size of the term in a reconstruction that has it."""

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return what else is worth recording about the term."""
