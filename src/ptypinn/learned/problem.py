"""Set up a scan for the learned solver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from ptypinn.data.frame import canvas_frame, canvas_positions
from ptypinn.data.scan import ScanData
from ptypinn.data.stack import PatternStack
from ptypinn.learned.rounds import LearnedSolver, State
from ptypinn.physics.forward import power
from ptypinn.physics.patches import split_positions
from ptypinn.solver.data_terms import DATA_TERMS
from ptypinn.solver.held_out import HeldOutPixels
from ptypinn.solver.modes import extend_modes
from ptypinn.solver.objective import Objective
from ptypinn.solver.preconditioner import Preconditioner, Smoothness
from ptypinn.solver.start import deflection_start, flux_start
from ptypinn.solver.unknowns import Unknowns

EXPECTED = Smoothness(0.5, 2.0, 0.02)
"""Expected spectrum of the object, as textured ones have it."""


@dataclass(frozen=True)
class LearnedOptions:
    """What the learned solver is asked to do."""

    refine_probe: bool = True
    """Solve for the probe too."""
    probe_modes: int | None = None
    """Incoherent modes to solve for; None keeps those of the probe."""
    loss: Literal["poisson", "amplitude"] = "amplitude"
    """Data term."""
    judged: bool = False
    """Leave the pixels out that judge the polishing, so that it can tell signal from noise."""


@dataclass(frozen=True)
class LearnedProblem:
    """A scan on its canvas, ready for the first round."""

    solver: LearnedSolver
    start: State
    origin: tuple[int, int]
    """Of the canvas, in the coordinates of the scan's positions."""
    extent: tuple[int, int]
    """Height and width of the canvas, pixels."""


def learned_problem(
    scan: ScanData, network: nn.Module | None, options: LearnedOptions, device: torch.device
) -> LearnedProblem:
    """Move a scan to the device and find the physical start.

    Args:
        scan: Scan with a calibrated probe.
        network: The correction; None for the physical steps alone.
        options: How to solve.
        device: Where to solve.
    """
    origin, extent = canvas_frame(scan)
    positions = torch.from_numpy(canvas_positions(scan))
    corners, shifts = (part.to(device) for part in split_positions(positions))
    probe = torch.from_numpy(scan.require_probe()).to(device)
    photons = float(power(probe))
    if options.refine_probe and options.probe_modes is not None:
        probe = extend_modes(probe, options.probe_modes)
    stack = PatternStack(scan, device, len(probe))
    moved = shifts if bool(shifts.abs().max() > 1e-4) else None
    held_out = HeldOutPixels(stack.good) if options.judged else None
    objective = Objective(stack, corners, DATA_TERMS[options.loss], probe, moved, held_out)
    starts = (Unknowns(make(stack, probe, corners, extent)) for make in (flux_start, deflection_start))
    start = min(starts, key=lambda at: objective(at).loss)
    preconditioner = Preconditioner(corners, extent, EXPECTED, scan.size)
    preconditioner.refresh(start, probe)
    solver = LearnedSolver(objective, preconditioner, photons, network)
    return LearnedProblem(
        solver, solver.begin(replace(start, probe=probe) if options.refine_probe else start), origin, extent
    )
