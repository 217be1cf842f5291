"""Set up a scan for the learned solver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex64, Int64
from torch import nn

from ptypinn.data.canvas import canvas_frame
from ptypinn.data.pattern_batches import PatternStack
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import split_positions
from ptypinn.solvers.quasi_newton.data_terms import DATA_TERMS
from ptypinn.solvers.quasi_newton.initial_object import dpc_start, flux_start
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.quasi_newton.preconditioner import CAP, IlluminationStats, Preconditioner, Smoothness
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, extend_modes
from ptypinn.solvers.unrolled.loop import Iterate, UnrolledSolver, with_amplitude_loss
from ptypinn.solvers.unrolled.round_schedule import PROBE_ROUNDS
from ptypinn.types import Probe

EXPECTED_SPECTRUM = Smoothness(0.5, 2.0, 0.02)
"""Expected spectrum of the object, as textured ones have it."""
KNOWN_PROBE_CAP = 1600.0
"""Largest amplification of slow phases with a known probe and even light: of those that vary over 40 half-widths of
the probe, so that they are found in a few passes on much larger canvases. An unknown probe takes steadier steps."""
HELD_OUT_PERIOD = 50
"""One pixel in so many is held out: the judge decides between few states, and every pixel held out is light lost."""


@dataclass(frozen=True)
class UnrolledOptions:
    """What the learned solver is asked to do."""

    refine_probe: bool = True
    """Solve for the probe too."""
    probe_rounds: int = PROBE_ROUNDS
    """Rounds that find the probe where it is solved for, before those for the object."""
    probe_modes: int | None = None
    """Incoherent modes to solve for; None keeps those of the probe."""
    loss: Literal["poisson", "amplitude"] = "poisson"
    """Data term, after the first rounds on amplitudes."""
    judged: bool = False
    """Hold pixels out that tell signal from noise: the best round is kept, and polishing knows what it gains."""
    closing: int = 0
    """Rounds on all pixels after the best round on some."""
    half: bool = False
    """Let the network compute in bfloat16."""
    near: bool = False
    """The start lies near the solution: no rounds on amplitudes first."""


@dataclass(frozen=True)
class ScanContext:
    """What a window of a scan takes from the whole, so that it does what the whole canvas does there."""

    origin: tuple[int, int]
    """Of the window's canvas, in the coordinates of the scan's positions; a multiple of `models.unrolled.STRIDE` from
    the origin of the whole canvas."""
    start: Complex64[np.ndarray, "height width"]
    """Where to start on the window's canvas, transmission."""
    levels: IlluminationStats
    """Of the whole scan."""
    amplitude: float
    """Overall amplitude of the whole start."""
    numbers: Int64[np.ndarray, " patterns"]
    """Place of every pattern of the window in the scan."""


@dataclass(frozen=True)
class UnrolledProblem:
    """A scan on its canvas, ready for the first round."""

    solver: UnrolledSolver
    start: Iterate
    origin: tuple[int, int]
    """Of the canvas, in the coordinates of the scan's positions."""
    extent: tuple[int, int]
    """Height and width of the canvas, pixels."""


def build_problem(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    device: torch.device,
    whole: ScanContext | None = None,
) -> UnrolledProblem:
    """Move a scan to the device and find the physical start.

    Args:
        scan: Scan with a calibrated probe.
        network: The correction; None for the physical steps alone.
        options: How to solve.
        device: Where to solve.
        whole: Of the scan that `scan` is a window of, where it is one.
    """
    origin, extent = canvas_frame(scan) if whole is None else (whole.origin, whole.start.shape)
    probe = torch.from_numpy(scan.require_probe()).to(device)
    photons = float(probe_photons(probe))
    if options.refine_probe and options.probe_modes is not None:
        probe = extend_modes(probe, options.probe_modes)
    objective = build_objective(scan, probe, options, origin, None if whole is None else whole.numbers)
    stack, corners = objective.stack, objective.corners
    cap = CAP if options.refine_probe else KNOWN_PROBE_CAP
    preconditioner = Preconditioner(corners, extent, EXPECTED_SPECTRUM, scan.size, cap)
    solver = UnrolledSolver(objective, preconditioner, photons, network, half=options.half)
    if whole is None:
        first = with_amplitude_loss(objective)
        starts = (Unknowns(make(stack, probe, corners, extent)) for make in (flux_start, dpc_start))
        start = min(starts, key=first.loss)
        preconditioner.refresh(start, probe)
    else:
        start = Unknowns(torch.from_numpy(whole.start).to(device))
        preconditioner.refresh(start, probe, whole.levels)
    begun = replace(start, probe=probe) if options.refine_probe else start
    state = solver.begin(begun, None if whole is None else whole.amplitude)
    if options.near:
        state = replace(state, rounds=solver.pace_at(state).steady_rounds)
    return UnrolledProblem(solver, state, origin, extent)


def build_objective(
    scan: ScanData,
    probe: Probe,
    options: UnrolledOptions,
    origin: tuple[int, int],
    numbers: Int64[np.ndarray, " patterns"] | None = None,
) -> Objective:
    """The data term of a scan, on the device of the probe.

    Args:
        scan: Where counts and positions come from.
        probe: Modes, (mode, y, x), sqrt(photons).
        options: Which data term.
        origin: Of the canvas, in the coordinates of the scan's positions.
        numbers: Place of every pattern in a scan that this is a part of; None where it is the whole.
    """
    positions = torch.from_numpy(scan.positions_px - np.asarray(origin, np.float64))
    corners, shifts = (part.to(probe.device) for part in split_positions(positions))
    stack = PatternStack(scan, probe.device, len(probe))
    places = None if numbers is None else torch.from_numpy(numbers).to(probe.device)
    held_out = HeldOutPixels(stack.good, HELD_OUT_PERIOD, places) if options.judged else None
    moved = shifts if bool(shifts.abs().max() > 1e-4) else None
    return Objective(stack, corners, DATA_TERMS[options.loss], probe, moved, held_out)
