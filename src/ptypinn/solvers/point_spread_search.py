"""Search for the point spread of a detector on some patterns around the middle of a scan.

The Poisson deviance that solves with ever other point spreads leave has one minimum, within 0.02 px of the true one.
Where solves end in noise, that of held-out pixels takes its place: sharper patterns leave room for more noise.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from ptypinn.solvers.core_trials import CoreGain, CoreTrials

MIN_SPREAD_PX, MAX_SPREAD_PX = 0.2, 2.0
"""Bounds of the search: standard deviations, detector pixels."""
FIRST_SPREADS_PX, MIN_FIRST_GAIN = (0.3, 0.6, 1.2), 0.55
"""Point spreads that are tried first, and the fraction of the misfit that one of them has to explain: the nearer one of
any between the first and 1.9 pixels explains 0.6 or more of what the true one does."""
MIN_SHARE_OF_MODES = 0.88
"""Smallest fall of the deviance over that by incoherent modes, which explain as much of a point spread: 0.96 or more
where there is one, 0.8 on a scan with several modes."""
MIN_EXPECTED_SHARE = 0.85
"""The same of what a parabola through the first three expects between them: 0.97 or more where there is one, 0.8 on a
scan with several modes."""
TOLERANCE_PX, MAX_TRIALS = 0.02, 7
"""Accuracy at which the search between its neighbours ends, and its largest number of solves."""


def search_point_spread(core: CoreTrials, *, rivals: bool = False, forced: bool = False) -> tuple[float, CoreGain]:
    """Return the point spread, detector pixels, and what it explains.

    Where none of three explains much, or one between them less than modes, the best of them is returned without a
    further search.

    Args:
        core: Solves of the patterns around the middle.
        rivals: Compare with incoherent modes.
        forced: Search in any case.
    """

    def deviance(spread_px: float) -> float:
        return -core.weigh(core.spread(float(spread_px)))

    first = [deviance(spread) for spread in FIRST_SPREADS_PX]
    best = int(np.argmin(first))
    spread = FIRST_SPREADS_PX[best]
    if not forced:
        if core.spread(spread).fraction < MIN_FIRST_GAIN:
            return spread, core.spread(spread)
        vertex, expected = _vertex(first)
        if rivals and core.has_modes and -expected < MIN_EXPECTED_SHARE * core.weigh(core.modes):
            return spread, core.spread(spread)._replace(fraction=0.0)
        spread = min(spread, vertex, key=deviance)
        if rivals and core.has_modes and -deviance(spread) < MIN_SHARE_OF_MODES * core.weigh(core.modes):
            return spread, core.spread(spread)._replace(fraction=0.0)
    edges = (MIN_SPREAD_PX, *FIRST_SPREADS_PX, MAX_SPREAD_PX)
    options = {"xatol": TOLERANCE_PX, "maxiter": MAX_TRIALS}
    solved = minimize_scalar(deviance, bounds=(edges[best], edges[best + 2]), method="bounded", options=options)
    spread = min(spread, float(solved.x), key=deviance)
    return spread, core.spread(spread)


def _vertex(deviances: list[float]) -> tuple[float, float]:
    """Return where the parabola through the deviances of `FIRST_SPREADS_PX`, in logarithms, is least, and its value.

    Args:
        deviances: Of the three.
    """
    below, middle, above = deviances
    bend = below - 2 * middle + above
    steps = (below - above) / (2 * bend) if bend > 0 else 0.0
    place = float(np.clip(FIRST_SPREADS_PX[1] * 2**steps, MIN_SPREAD_PX, MAX_SPREAD_PX))
    steps = float(np.log2(place / FIRST_SPREADS_PX[1]))
    return place, min(*deviances, middle + steps * (above - below) / 2 + steps**2 * bend / 2)
