"""Find the tilt of a sample of atoms against the beam, from short solves of a part of a scan.

Behind a tilt the columns of atoms lean, and equal slices at the wrong tilt blur each other: solves of few iterations
explain the counts ever better towards the right one, from about a resolution's width of leaning columns on.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from ptypinn.data.scan import ScanData
from ptypinn.data.validation import leaves_array
from ptypinn.solvers.iterative import IterativeSolver
from ptypinn.solvers.short_solves import FINE, WIDE, Effort, ShortSolves, Tilt, measure_aperture
from ptypinn.utils.progress import Progress, silent

STEP_RAD = 2.5
"""Phase at the rim of the beam, between the faces of the sample, by which neighbouring tilts on trial differ."""
FINE_STEP = 0.5
"""Step around the best tilt, over that of the way there."""
REACH, MAX_MOVES = 2.0, 6
"""Longest move at a time, in steps, and the largest number of moves."""
TRIALS = 20
"""Solves that a search takes, about."""
UNSETTLED = 0.15
"""Error that short solves leave along either axis, in steps: up to 0.23 on simulated crystals."""
MIN_TILT = 2.0
"""Smallest tilt that is taken in, over its error."""

MANY = 1e30
"""Loss behind a tilt that the patterns are too small for."""
Place = Float64[np.ndarray, " 2"]


def find_tilt(scan: ScanData, solver: IterativeSolver, progress: Progress = silent) -> tuple[ScanData, float]:
    """Find the tilt of a sample.

    Args:
        scan: Scan with a probe in focus, with the gaps between slices, and with a tilt that is nearly right if it has
            one.
        solver: Solver of equal slices of phase alone.
        progress: Called after every solve.

    Returns:
        The scan with the tilt, without one where it is too small to be told, and the standard error of the tilt along
        either axis, cycles per object pixel.
    """
    gaps = scan.gap_fresnel_numbers
    assert gaps is not None
    step = STEP_RAD / (2 * np.pi * np.sqrt(measure_aperture(scan)) * float(np.sum(1 / gaps)))
    solves = ShortSolves(scan.replace(truth=None), solver, progress, "tilt", TRIALS)
    place = _descend(solves, np.zeros(2), step, WIDE) if scan.sample_tilt is None else scan.sample_tilt
    place = _descend(solves, place, FINE_STEP * step, FINE)
    error = UNSETTLED * step
    return scan.replace(sample_tilt=place if np.hypot(*place) > MIN_TILT * error else None), error


def _descend(solves: ShortSolves, place: Place, step: float, effort: Effort) -> Place:
    """Move to the lowest point of the paraboloid around a place, until that is near the place."""
    for _ in range(MAX_MOVES):
        move = _lowest_point(solves, place, step, effort)
        place = place + step * move
        if np.hypot(*move) < 1:
            break
    return place


def _lowest_point(solves: ShortSolves, place: Place, step: float, effort: Effort) -> Place:
    """Return the way from a place to the lowest point of a paraboloid through the losses around it, in steps.

    At most `REACH` steps; along the slope where losses curve upwards nowhere or only along one axis.
    """
    gaps = solves.scan.gap_fresnel_numbers
    assert gaps is not None

    def measure(y: int, x: int) -> float:
        tilt = place + step * np.array([y, x])
        if leaves_array(tilt, gaps, solves.scan.size):
            return MANY
        return solves.measure(gaps, 0.0, effort, Tilt(*tilt.tolist()))

    middle, ends = measure(0, 0), [[measure(-1, 0), measure(1, 0)], [measure(0, -1), measure(0, 1)]]
    slope = np.array([(after - before) / 2 for before, after in ends])
    curves = [before + after - 2 * middle for before, after in ends]
    y, x = (-1 if value > 0 else 1 for value in slope)
    mixed = y * x * (measure(y, x) - middle - y * slope[0] - x * slope[1] - sum(curves) / 2)
    values, axes = np.linalg.eigh(np.array([[curves[0], mixed], [mixed, curves[1]]]))
    least = float(np.hypot(*slope)) / REACH
    move = -axes @ ((axes.T @ slope) / np.maximum(values, max(least, 1e-30)))
    return np.asarray(move / max(1.0, float(np.hypot(*move)) / REACH))
