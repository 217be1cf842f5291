"""A scan, or a tile of one, set up for the unrolled solver: options, objective, preconditioner and start."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Complex64, Int64
from torch import Tensor, nn

from ptypinn.data.pattern_batches import FrameTerms, PatternBatches
from ptypinn.data.positions import canvas_frame
from ptypinn.data.scan import ScanData
from ptypinn.losses import find_likelihood
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import split_positions
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.quasi_newton.initial_object import dpc_start, flux_start
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.preconditioner import CAP, IlluminationStats, Preconditioner, Smoothness
from ptypinn.solvers.quasi_newton.problem import MIN_SHIFT_PX
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, extend_modes, mix_variation, start_frames
from ptypinn.solvers.unrolled.loop import Iterate, UnrolledSolver, rms_amplitude, with_amplitude_loss
from ptypinn.solvers.unrolled.rounds import PROBE_ROUNDS
from ptypinn.types import Probe

EXPECTED_SPECTRUM = Smoothness(0.5, 2.0, 0.02)
"""Expected spectrum of the object: that of textured ones."""
KNOWN_PROBE_CAP = 1600.0
"""Largest amplification of slow phases with a known probe and uniform illumination: of those that vary over 40
half-widths of the probe, so that a few passes suffice on much larger canvases. An unknown probe takes smaller steps."""
HELD_OUT_PERIOD = 50
"""One pixel in this many is held out: the choice is between few iterates, and each of them is lost to the fit."""


@dataclass(frozen=True)
class UnrolledOptions:
    """Options of the unrolled solver."""

    refine_probe: bool = True
    """Solve for the probe too, and for its variation where the scan has one."""
    probe_rounds: int = PROBE_ROUNDS
    """Rounds for object and probe together, where the probe is solved for, before those for the object."""
    end_stagnant: bool = False
    """End these where they hardly gain and leave much more than counting noise."""
    solve_flux: bool = False
    """Solve for the flux of every frame too."""
    solve_background: bool = False
    """Solve for the background too, from that of the scan or, without, from nearly nothing."""
    solve_beam: bool = False
    """Solve for the displacement of every pattern too, from that of the scan."""
    probe_modes: int | None = None
    """Incoherent modes to solve for; None for those of the probe."""
    loss: str = "poisson"
    """Name of the data term, after the first rounds on amplitudes."""
    hold_out: bool = False
    """Hold pixels out, which decide which round's result is returned, and what polishing gains."""
    final_rounds: int = 0
    """Rounds on all pixels after the best round on some."""
    bf16: bool = False
    """Let the network compute in bfloat16."""
    warm_start: bool = False
    """The start lies near the solution: no rounds on amplitudes first."""


@dataclass(frozen=True)
class ScanContext:
    """Properties of a whole scan that a tile of it needs, so that it solves as the whole canvas would."""

    origin: tuple[int, int]
    """Of the tile's canvas, in the coordinates of the scan's positions; a multiple of `models.unrolled.STRIDE` from the
    origin of the whole canvas."""
    start: Complex64[np.ndarray, "height width"]
    """Starting object on the tile's canvas, transmission."""
    stats: IlluminationStats
    """Of the whole scan."""
    amplitude: float
    """Overall amplitude of the whole start."""
    pattern_index: Int64[np.ndarray, " patterns"]
    """Index of every pattern of the tile in the scan."""


@dataclass(frozen=True)
class UnrolledProblem:
    """A scan on its canvas, ready for the first round."""

    solver: UnrolledSolver
    start: Iterate
    origin: tuple[int, int]
    """Of the canvas, in the coordinates of the scan's positions."""
    extent: tuple[int, int]
    """Height and width of the canvas, pixels."""

    def with_objective(self, objective: Objective) -> UnrolledProblem:
        """Return the same problem with another data term, such as one that holds out other pixels."""
        return replace(self, solver=self.solver.with_objective(objective))


def build_problem(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    device: torch.device,
    context: ScanContext | None = None,
    canvas: CanvasPart = WHOLE,
) -> UnrolledProblem:
    """Move a scan to the device and compute the physical start.

    Args:
        scan: Scan with a calibrated probe.
        network: The correction; None for the data steps alone.
        options: Options of the solver.
        device: Device to solve on.
        context: Of the scan that `scan` is a tile of; None where it is the whole.
        canvas: Rows of the canvas that this process solves, whose patterns `scan` has.
    """
    origin, extent = canvas.frame or (canvas_frame(scan) if context is None else (context.origin, context.start.shape))
    probe = torch.from_numpy(scan.require_probe()).to(device)
    photons = float(probe_photons(probe))
    if options.refine_probe and options.probe_modes is not None:
        scan, probe = _extend_probe(scan, probe, options.probe_modes)
    index = None if context is None else context.pattern_index
    objective = build_objective(scan, probe, options, origin, index, canvas)
    cap = CAP if options.refine_probe else KNOWN_PROBE_CAP
    preconditioner = Preconditioner(objective.corners, extent, EXPECTED_SPECTRUM, scan.size, cap, canvas=canvas)
    if context is None:
        start = _physical_start(objective, extent)
        preconditioner.refresh(start, probe)
        amplitude = rms_amplitude(start.object, preconditioner.illumination, canvas)
    else:
        start, amplitude = Unknowns(torch.from_numpy(context.start).to(device)), context.amplitude
        preconditioner.refresh(start, probe, context.stats)
    solver = UnrolledSolver(objective, preconditioner, photons, network, amplitude=amplitude, bf16=options.bf16)
    start = _add_terms(start, objective, preconditioner, options)
    iterate = Iterate(start)
    if options.warm_start:
        iterate = replace(iterate, rounds=iterate.schedule.amplitude_rounds)
    return UnrolledProblem(solver, iterate, origin, extent)


def _add_terms(
    start: Unknowns, objective: Objective, preconditioner: Preconditioner, options: UnrolledOptions
) -> Unknowns:
    """Return the start with those terms of the experiment that are solved for, and with the probe where it is."""
    flat = torch.zeros(objective.stack.scan.n_patterns, device=objective.probe.device)
    log_flux, beam_px = start_frames(objective.terms, flat)
    if options.solve_background:
        start = preconditioner.add_background(start, objective.stack, objective.terms.background)
    start = replace(
        start, log_flux=log_flux if options.solve_flux else None, beam_px=beam_px if options.solve_beam else None
    )
    if not options.refine_probe:
        return start
    variation = objective.terms.variation
    return replace(start, probe=objective.probe, variation=None if variation is None else variation.images)


def _extend_probe(scan: ScanData, probe: Probe, modes: int) -> tuple[ScanData, Complex[Tensor, "{modes} y x"]]:
    """Return the scan and the probe with so many modes; those that are new do not vary."""
    extended = extend_modes(probe, modes)
    if scan.probe_variation is not None:
        images = mix_variation(torch.from_numpy(scan.probe_variation).to(probe.device), probe, extended)
        scan = scan.replace(probe_variation=images.cpu().numpy())
    return scan, extended


def _physical_start(objective: Objective, extent: tuple[int, int]) -> Unknowns:
    """Return the start from the flux, or from flux and deflections, whichever explains the amplitudes better."""
    starts = (
        Unknowns(start(objective.stack, objective.probe, objective.corners, extent, objective.canvas))
        for start in (flux_start, dpc_start)
    )
    return min(starts, key=with_amplitude_loss(objective).loss)


def build_objective(
    scan: ScanData,
    probe: Probe,
    options: UnrolledOptions,
    origin: tuple[int, int],
    pattern_index: Int64[np.ndarray, " patterns"] | None = None,
    canvas: CanvasPart = WHOLE,
) -> Objective:
    """Build the data term of a scan, on the device of the probe.

    Args:
        scan: Counts and positions.
        probe: Modes, (mode, y, x), sqrt(photons).
        options: Name of the data term, and whether pixels are held out.
        origin: Of the canvas, in the coordinates of the scan's positions.
        pattern_index: Index of every pattern in the scan that this is a part of; None where it is the whole.
        canvas: Rows of the canvas that the patterns lie on.
    """
    positions = torch.from_numpy(scan.positions_px - np.asarray(origin, np.float64))
    corners, shifts = (part.to(probe.device) for part in split_positions(positions))
    stack = PatternBatches(scan, probe.device, len(probe))
    index = canvas.frames if pattern_index is None else torch.from_numpy(pattern_index).to(probe.device)
    held_out = HeldOutPixels(stack.good, HELD_OUT_PERIOD, index) if options.hold_out else None
    fractions = shifts if bool(canvas.reduce(shifts.abs().max(), "max") > MIN_SHIFT_PX) else None
    terms = FrameTerms.of(scan, probe.device)
    return Objective(stack, corners, find_likelihood(options.loss), probe, fractions, terms, held_out, canvas=canvas)
