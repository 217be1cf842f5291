"""Positions that settle along a valley: rounds of the network and iterations for the positions take turns.

Scales and shear of the positions, and drifts, trade off with the defocus of the probe and a warp of the object, so that
iterations for all of them follow the valley slowly. What they have of the probe, a few rounds correct, because the
network expects an object without the warp; from there the positions go on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.position_errors import measure_position_errors
from ptypinn.solvers.joint_solve import add_margin, solve_jointly
from ptypinn.solvers.term import Solver
from ptypinn.utils.progress import rename_stage

MAX_CYCLES, ITERATIONS = 6, 80
"""Most turns, and iterations for object, probe and positions in each."""
SETTLED_CHANGE = 3e-4
"""Change of scales or shear in a turn below which positions have settled."""
MARGIN_PX = 4
"""Margin of the canvas for positions that move, pixels."""


class SettledPositions(NamedTuple):
    """Scan with positions that have settled."""

    scan: ScanData
    """The scan with positions, probe and its variation."""
    change: float
    """Change of scales or shear in the last turn."""


def settle_positions(scan: ScanData, solver: Solver) -> SettledPositions:
    """Solve for the positions until scales and shear settle; the mean move is 0.

    Args:
        scan: Scan with positions that are nearly right, and the terms that were taken in.
        solver: Solver of scans.
    """
    scan, change = scan.replace(truth=None), float("inf")
    for _ in range(MAX_CYCLES):
        solved = _solve_positions(scan, solver.solve(scan, is_draft=True), solver)
        change = measure_position_errors(scan.positions_px, solved.positions_px).max_stretch
        scan = solved
        if change < SETTLED_CHANGE:
            break
    return SettledPositions(scan, change)


def _solve_positions(scan: ScanData, recon: Reconstruction, solver: Solver) -> ScanData:
    """Return a scan with the positions and the probe of iterations from a reconstruction."""
    start, progress = add_margin(recon, MARGIN_PX), rename_stage(solver.progress, "positions")
    refine_probe = solver.refines_probe
    solved = solve_jointly(
        scan, start, solver.device, progress, iterations=ITERATIONS, refine_probe=refine_probe, moves="free"
    )
    moves = solved.positions_px + np.asarray(solved.origin_px, float) - scan.positions_px
    places: Float64[np.ndarray, "patterns 2"] = scan.positions_px + moves - moves.mean(0)
    return scan.replace(positions_px=places, probe=solved.probe, probe_variation=solved.probe_variation)
