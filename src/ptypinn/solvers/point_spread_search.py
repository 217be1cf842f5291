"""Search for the point spread of a detector on some patterns around the middle of a scan.

Object and probe imitate most of a blur that is not part of the prediction. So the patterns are solved anew with every
point spread on trial; the Poisson deviance that is left has one minimum, within 0.02 px of the true one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import sum_deviance
from ptypinn.metrics.position_errors import measure_misfit
from ptypinn.solvers.position_geometry import distance_from_middle

if TYPE_CHECKING:
    from ptypinn.solvers.experiment_terms import Solver

CORE_PATTERNS = 64
"""Patterns around the middle that are solved."""
MIN_SPREAD_PX, MAX_SPREAD_PX = 0.2, 2.0
"""Bounds of the search: standard deviations, detector pixels."""
TOLERANCE_PX, MAX_TRIALS = 0.02, 9
"""Accuracy at which the search ends, and its largest number of solves."""


def search_point_spread(scan: ScanData, solver: Solver) -> tuple[float, float]:
    """Return the point spread, detector pixels, and the fraction of the misfit above counting noise that it explains.

    Args:
        scan: Scan with a calibrated probe.
        solver: Solves the patterns around the middle.
    """
    order = np.argsort(distance_from_middle(scan.positions_px), kind="stable")
    core = scan.subset(np.sort(order[:CORE_PATTERNS])).replace(truth=None)

    def deviance(spread_px: float) -> float:
        part = core.replace(point_spread_px=float(spread_px))
        recon = solver.solve(part)
        arrays = recon.object, recon.probe, recon.positions_px
        misfits[float(spread_px)] = measure_misfit(part, recon, batch=solver.batch, device=solver.device)
        return sum_deviance(part, *arrays, batch=solver.batch, device=solver.device)

    misfits = dict[float, float]()
    options = {"xatol": TOLERANCE_PX, "maxiter": MAX_TRIALS}
    best = float(minimize_scalar(deviance, bounds=(MIN_SPREAD_PX, MAX_SPREAD_PX), method="bounded", options=options).x)
    plain = solver.solve(core)
    before = measure_misfit(core, plain, batch=solver.batch, device=solver.device)
    return best, (before - misfits[best]) / max(before - 1, 1e-9)
