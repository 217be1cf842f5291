"""Search for the point spread of a detector on some patterns around the middle of a scan.

Object and probe imitate most of a blur that is not part of the prediction. So the patterns are solved anew with every
point spread on trial; the Poisson deviance that is left has one minimum, within 0.02 px of the true one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import measure_misfit, sum_deviance
from ptypinn.solvers.position_geometry import distance_from_middle
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
from ptypinn.utils.progress import rename_stage

if TYPE_CHECKING:
    from ptypinn.solvers.term import Solver

CORE_PATTERNS, ITERATIONS = 64, 40
"""Patterns around the middle that are solved, and iterations for their object and probe."""
MIN_SPREAD_PX, MAX_SPREAD_PX = 0.2, 2.0
"""Bounds of the search: standard deviations, detector pixels."""
FIRST_SPREADS_PX, MIN_FIRST_GAIN = (0.3, 0.6, 1.2), 0.55
"""Point spreads that are tried first, and the fraction of the misfit that one of them has to explain: the nearer one of
any between the first and 1.9 pixels explains 0.6 or more of what the true one does."""
TOLERANCE_PX, MAX_TRIALS = 0.02, 7
"""Accuracy at which the search between its neighbours ends, and its largest number of solves."""


def search_point_spread(scan: ScanData, solver: Solver, *, forced: bool = False) -> tuple[float, float]:
    """Return the point spread, detector pixels, and the fraction of the misfit above counting noise that it explains.

    Where none of three explains much, the best of them is returned without a search.

    Args:
        scan: Scan with a calibrated probe.
        solver: Solves the patterns around the middle.
        forced: Search in any case.
    """
    trials = _Trials(scan, solver)
    best = min(range(len(FIRST_SPREADS_PX)), key=lambda number: trials.deviance(FIRST_SPREADS_PX[number]))
    spread = FIRST_SPREADS_PX[best]
    if forced or trials.gain(spread) >= MIN_FIRST_GAIN:
        edges = (MIN_SPREAD_PX, *FIRST_SPREADS_PX, MAX_SPREAD_PX)
        options = {"xatol": TOLERANCE_PX, "maxiter": MAX_TRIALS}
        bounds = edges[best], edges[best + 2]
        spread = float(minimize_scalar(trials.deviance, bounds=bounds, method="bounded", options=options).x)
    return spread, trials.gain(spread)


class _Trials:
    """Solves of the patterns around the middle of a scan, by their point spread."""

    def __init__(self, scan: ScanData, solver: Solver) -> None:
        order = np.argsort(distance_from_middle(scan.positions_px), kind="stable")
        self._core = scan.subset(np.sort(order[:CORE_PATTERNS])).replace(truth=None)
        self._solver, self._misfits = solver, dict[float | None, float]()

    def deviance(self, spread_px: float | None) -> float:
        """Return the Poisson deviance that a point spread leaves."""
        solver = self._solver
        part = self._core if spread_px is None else self._core.replace(point_spread_px=float(spread_px))
        options = QuasiNewtonOptions(ITERATIONS, refine_probe=solver.refines_probe)
        with torch.no_grad():
            result = solve_problem(
                QuasiNewtonProblem(part, options, solver.device), rename_stage(solver.progress, "point spread")
            )
        recon = result.reconstruction(part, {})
        self._misfits[spread_px] = measure_misfit(part, recon, batch=solver.batch, device=solver.device)
        arrays = recon.object, recon.probe, recon.positions_px
        return sum_deviance(part, *arrays, batch=solver.batch, device=solver.device)

    def gain(self, spread_px: float) -> float:
        """Return the fraction of the misfit above counting noise that a point spread explains, which was tried."""
        if None not in self._misfits:
            self.deviance(None)
        before = self._misfits[None]
        return (before - self._misfits[spread_px]) / max(before - 1, 1e-9)
