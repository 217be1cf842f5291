"""Solves of the patterns around the middle of a scan, with one term of the experiment or another.

They take a fraction of the time of the whole scan, and tell terms apart that explain much of each other's misfit, where
the counts of these patterns suffice. Object and probe imitate most of what is not part of a prediction, so that every
term is solved for anew.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex64

from ptypinn.data.reconstruction import Reconstruction, SolverResult
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import measure_misfit, sum_deviance
from ptypinn.solvers.position_geometry import select_middle

if TYPE_CHECKING:
    from ptypinn.solvers.term import Solver

CORE_PATTERNS, ITERATIONS = 64, 40
"""Patterns around the middle that are solved, and iterations for their object and probe."""
CORE_MODES, MODE_ITERATIONS = 3, 80
"""Incoherent modes that are tried, and iterations for them to start from."""
MIN_CORE_MISFIT = 1.1
"""Amplitude residual over that of counting noise from which they tell terms apart."""
MIN_MODES_GAIN = 0.6
"""Fraction of the misfit above counting noise that modes explain: 0.64 or more with several modes, motion, a point
spread or a background, up to 0.54 with other terms."""

Modes = Complex64[np.ndarray, "_ y x"]
"""Modes of a probe, of any number."""


class CoreFit(NamedTuple):
    """Agreement of a solve with the counts."""

    misfit: float
    """Amplitude residual over that of counting noise."""
    deviance: float
    """Poisson deviance, summed."""


class CoreGain(NamedTuple):
    """What a term explains of the misfit of a solve without it."""

    fraction: float
    """Of the misfit above counting noise."""
    deviance: float
    """Fall of the Poisson deviance."""

    @classmethod
    def between(cls, before: CoreFit, after: CoreFit) -> CoreGain:
        """Return the gain from one solve to another.

        >>> CoreGain.between(CoreFit(2.0, 50.0), CoreFit(1.25, 20.0))
        CoreGain(fraction=0.75, deviance=30.0)
        """
        fraction = (before.misfit - after.misfit) / max(before.misfit - 1, 1e-9)
        return cls(fraction, before.deviance - after.deviance)


class CoreTrials:
    """Solves of the patterns around the middle of a scan; each is done once, when it is asked for.

    Args:
        scan: Scan with a calibrated probe, and the terms that are given.
        solver: Solver of scans.
    """

    def __init__(self, scan: ScanData, solver: Solver) -> None:
        self._core = scan.subset(select_middle(scan.positions_px, CORE_PATTERNS)).replace(truth=None)
        self._solver, self._spreads = solver, dict[float, CoreFit]()

    @property
    def is_conclusive(self) -> bool:
        """True if these patterns show that something is unexplained."""
        return self.plain.misfit >= MIN_CORE_MISFIT

    @cached_property
    def plain(self) -> CoreFit:
        """Fit without a further term."""
        return self._iterate(self._core)

    @cached_property
    def modes(self) -> CoreGain:
        """What further incoherent modes explain."""
        return CoreGain.between(self.plain, self._iterate(self._core, CORE_MODES))

    @property
    def has_modes(self) -> bool:
        """True if modes explain as much as where there are several, motion, or what they imitate well."""
        return self.is_conclusive and self.modes.fraction >= MIN_MODES_GAIN

    @cached_property
    def background(self) -> CoreGain:
        """What a background explains."""
        before, after = (self._solver.solve(self._core, unknown) for unknown in ("", "background"))
        return CoreGain.between(self._fit(before), self._fit(after))

    def spread(self, spread_px: float) -> CoreGain:
        """Return what a point spread explains.

        Args:
            spread_px: Its standard deviation, detector pixels.
        """
        if spread_px not in self._spreads:
            self._spreads[spread_px] = self._iterate(self._core.replace(point_spread_px=float(spread_px)))
        return CoreGain.between(self.plain, self._spreads[spread_px])

    def find_modes(self, probe: Modes) -> Modes:
        """Solve for modes of the probe, to start with: they gain their power slowly, and here for little time.

        Args:
            probe: Probe of the whole scan without them, (mode, y, x), sqrt(photons).
        """
        return self._solve(self._core.replace(probe=probe), MODE_ITERATIONS, CORE_MODES).probe

    def _iterate(self, core: ScanData, modes: int | None = None) -> CoreFit:
        return self._fit(self._solve(core, ITERATIONS, modes).reconstruction(core, {}))

    def _solve(self, core: ScanData, iterations: int, modes: int | None) -> SolverResult:
        from ptypinn.solvers.quasi_newton.phases import solve_problem
        from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
        from ptypinn.utils.progress import rename_stage

        options = QuasiNewtonOptions(iterations, probe_modes=modes, refine_probe=self._solver.refines_probe)
        with torch.no_grad():
            problem = QuasiNewtonProblem(core, options, self._solver.device)
            return solve_problem(problem, rename_stage(self._solver.progress, "middle of the scan"))

    def _fit(self, recon: Reconstruction) -> CoreFit:
        part, batch, device = recon.scan_part(self._core), self._solver.batch, self._solver.device
        arrays = recon.sample, recon.probe, recon.positions_px
        misfit = measure_misfit(part, recon, batch=batch, device=device)
        return CoreFit(misfit, sum_deviance(part, *arrays, batch=batch, device=device))
