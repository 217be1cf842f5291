"""Evidence that positions are off: what a small move of every pattern explains, object and probe as they are."""

from __future__ import annotations

from dataclasses import replace

import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.solvers.quasi_newton.phases import EXPECTED_SPECTRUM
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem

STEP = 0.5
"""Fraction of the step to the minimum that the mean curvature of all patterns predicts: single ones may be curved more.
"""


def measure_position_gain(scan: ScanData, recon: Reconstruction, misfit: float, device: torch.device) -> float:
    """Return the fraction of what is unexplained that one step of all positions against their gradient explains.

    It costs two passes over the data: the gradient, and the loss after the step.

    Args:
        scan: The patterns of the reconstruction.
        recon: Object, probe and positions.
        misfit: Amplitude residual over that of counting noise.
        device: Device to compute on.
    """
    options = QuasiNewtonOptions(1, refine_positions=True, refine_variation=False)
    with torch.no_grad():
        problem = QuasiNewtonProblem(scan.replace(probe=recon.probe), options, device, recon)
        shifts = problem.shifts
        point = replace(problem.starting_point(), shifts=shifts)
        preconditioner = Preconditioner(problem.corners, problem.extent, EXPECTED_SPECTRUM, scan.size)
        preconditioner.refresh(point, problem.probe if point.probe is None else point.probe)
        objective = problem.objective(held_out=False)
        value = objective(point)
        assert shifts is not None
        assert value.gradient.shifts is not None
        moved = replace(point, shifts=shifts - STEP * preconditioner.frames.shift_steps(value.gradient.shifts))
        after = objective.loss(moved)
    before = float(value.loss)
    excess = before * (1 - min(1.0, 1 / misfit))
    return (before - after) / excess if excess > 0 else 0.0
