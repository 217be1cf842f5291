"""A scan set up for the quasi-Newton solver: unknowns, starting point, objective, and the result on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.data.pattern_batches import FrameTerms, PatternBatches
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.reconstruction import Reconstruction, SolverResult
from ptypinn.data.scan import ScanData
from ptypinn.losses import find_likelihood
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import compute_illumination, split_positions
from ptypinn.physics.probe_variation import Images
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.quasi_newton.initial_object import dpc_start, flux_start
from ptypinn.solvers.quasi_newton.loop import Trace
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.unknowns import (
    Unknowns,
    extend_modes,
    frames_to_host,
    mix_variation,
    orthogonalise_modes,
    start_frames,
)
from ptypinn.types import Probe

MAX_OVERHANG_PX = 0.49
"""Refined positions may leave the canvas by this, pixels: less than rounding takes back."""
POSITION_MARGIN = 1 / 8
"""Margin of the canvas where positions are solved for, over the edge of a pattern: those at the rim may lie outside."""
MIN_SHIFT_PX = 1e-4
"""Sub-pixel shifts below this everywhere are left out of the model."""


@dataclass(frozen=True)
class QuasiNewtonOptions:
    """Options of a solve, under the names that `config.RefineConfig` explains to users."""

    iterations: int
    """Upper bound of the iterations before the finish."""
    probe_modes: int | None = None
    """Incoherent modes to solve for; None for those of the probe."""
    refine_probe: bool = True
    """Solve for the probe."""
    refine_variation: bool = True
    """Solve for the variation of the probe with it, where the scan has one."""
    refine_positions: bool = False
    """Solve for the positions, once object and probe have settled."""
    solve_flux: bool = False
    """Solve for the flux of every frame, from that of the scan."""
    solve_background: bool = False
    """Solve for the background, from that of the scan or, without one, from nearly nothing."""
    solve_beam: bool = False
    """Solve for the displacement of every pattern, from that of the scan."""
    slow_moves: bool = False
    """Limit moves of the positions to the functions of time that the probe varies with, from the first iteration on."""
    loss: str = "poisson"
    """Name of the data term."""
    prior: bool = False
    """Expect an object of the power spectrum that the counts show, so that noise stays out of it."""
    tolerance: float = 1e-4
    """Relative gain below which the solver has converged."""
    depth_precision: float | None = None
    """Slices are of phase alone, their changes along depth of this precision (`PhaseSlices`); complex where None."""


@dataclass(frozen=True)
class QuasiNewtonResult(SolverResult):
    """Result of the quasi-Newton solver, or of another one in its place, on the host."""

    notes: dict[str, Any] = field(default_factory=dict)
    """Record of the solve: passes over the data, reason of the stop, best iteration."""
    held_out_before: float = math.nan
    """Loss on the held-out pixels at the start; NaN where none are held out."""


class QuasiNewtonProblem:
    """One scan on its canvas, on the device; nothing in it changes while it is solved.

    Args:
        scan: Scan with a calibrated probe.
        options: Options of the solve.
        device: Device to solve on.
        initial: Reconstruction of this scan to start from: its canvas, positions, object and probe.
        held_out_period: One pixel in this many is held out, for the caller to decide by; none where None.
    """

    def __init__(
        self,
        scan: ScanData,
        options: QuasiNewtonOptions,
        device: torch.device,
        initial: Reconstruction | None = None,
        *,
        held_out_period: int | None = None,
    ) -> None:
        self.options, self.device = options, device
        if initial is None:
            margin = int(POSITION_MARGIN * scan.size) if options.refine_positions else 0
            (self.origin, self.extent), positions = canvas_frame(scan, margin), canvas_positions(scan, margin)
        else:
            (self.origin, self.extent), positions = (initial.origin_px, initial.object.shape), initial.positions_px
        self.corners, shifts = (part.to(device) for part in split_positions(torch.from_numpy(positions)))
        self.shifts = shifts if options.refine_positions or bool(shifts.abs().max() > MIN_SHIFT_PX) else None
        scan_probe = torch.from_numpy(scan.require_probe()).to(device)
        self.photons = float(probe_photons(scan_probe))
        probe = scan_probe if initial is None else torch.from_numpy(initial.probe).to(device)
        modes = options.probe_modes if options.refine_probe else None
        self.probe = probe if modes is None else extend_modes(probe, modes)
        self.terms = FrameTerms.of(scan, device)
        if self.terms.variation is not None:
            images = mix_variation(self.terms.variation.images, probe, self.probe)
            self.terms = replace(self.terms, variation=self.terms.variation._replace(images=images))
        self.stack = PatternBatches(scan, device, len(self.probe) * self.terms.model.slices)
        self.initial_object = None if initial is None else torch.from_numpy(initial.sample).to(device)
        self.period = held_out_period

    @property
    def holds_out(self) -> bool:
        """True if some pixels are held out."""
        return self.period is not None

    @property
    def from_scratch(self) -> bool:
        """True if the solver starts from the data, rather than from a reconstruction."""
        return self.initial_object is None

    def starting_point(self) -> Unknowns:
        """Return the initial reconstruction or, without one, the physical start of smaller loss."""
        options, variation = self.options, self.terms.variation
        probe = self.probe if options.refine_probe else None
        varies = options.refine_probe and options.refine_variation
        images = variation.images if varies and variation is not None else None
        if self.initial_object is not None:
            point = Unknowns(self.initial_object, probe, variation=images)
        else:
            starts = [
                Unknowns(start(self.stack, self.probe, self.corners, self.extent), probe, variation=images)
                for start in (flux_start, dpc_start)
            ]
            point = min(starts, key=self.objective(held_out=False).loss)
        return self._with_frames(point)

    def _with_frames(self, point: Unknowns) -> Unknowns:
        """Add the flux and the beam that are solved for, from those of the scan."""
        zeros = torch.zeros(self.stack.scan.n_patterns, device=self.device)
        log_flux, beam_px = start_frames(self.terms, zeros)
        options = self.options
        point = replace(point, log_flux=log_flux) if options.solve_flux else point
        return replace(point, beam_px=beam_px) if options.solve_beam else point

    def objective(self, *, held_out: bool) -> Objective:
        """Return the data term, on all pixels or without the held-out ones."""
        pixels = HeldOutPixels(self.stack.good, self.period) if held_out and self.period else None
        likelihood = find_likelihood(self.options.loss)
        return Objective(self.stack, self.corners, likelihood, self.probe, self.shifts, self.terms, pixels)

    def to_result(self, point: Unknowns, trace: Trace, held_out_before: float = math.nan) -> QuasiNewtonResult:
        """Bring a point to the host.

        Args:
            point: Object, and probe and shifts where they are solved for.
            trace: History of the solve so far.
            held_out_before: Loss on the held-out pixels at the start.
        """
        probe, images = self._probe_waves(point)
        modes = orthogonalise_modes(probe)
        images = None if images is None else mix_variation(images, probe, modes)
        probe = modes
        shifts = self.shifts if point.shifts is None else point.shifts
        positions = self.corners[0].double() if shifts is None else self.corners[0] + shifts.double()
        if point.shifts is not None:
            positions = self._clamp_to_canvas(positions, probe.shape[-1])
        thick = point.object.ndim == 3
        return QuasiNewtonResult(
            object=(point.object.prod(0) if thick else point.object).cpu().numpy(),
            slices=point.object.cpu().numpy() if thick else None,
            probe=probe.cpu().numpy(),
            positions_px=positions.cpu().numpy(),
            origin_px=self.origin,
            illumination=compute_illumination(probe, self.corners, *self.extent).cpu().numpy(),
            history={"loss": trace.loss} | ({"held_out_loss": trace.held_out_loss} if trace.held_out_loss else {}),
            probe_variation=None if images is None else images.cpu().numpy(),
            **frames_to_host(point),
            notes={"passes": trace.passes, "stopped": trace.stopped},
            held_out_before=held_out_before,
        )

    def illumination(self, point: Unknowns) -> Float[Tensor, "height width"]:
        """Return the photons that the probe of a point puts on every object pixel."""
        return compute_illumination(self._probe_waves(point)[0], self.corners, *self.extent)

    def _probe_waves(self, point: Unknowns) -> tuple[Probe, Images | None]:
        """Return the modes of the probe at a point, and the images that frames add to them."""
        held = None if self.terms.variation is None else self.terms.variation.images
        probe = self.probe if point.probe is None else point.probe
        return probe, held if point.variation is None else point.variation

    def _clamp_to_canvas(self, positions: Tensor, size: int) -> Tensor:
        """Bound refined positions to where their patch, cut at the nearest whole pixel, still lies on the canvas."""
        room = torch.tensor(self.extent, dtype=positions.dtype, device=positions.device) - size
        return torch.minimum(positions.clamp(min=-MAX_OVERHANG_PX), room + MAX_OVERHANG_PX)
