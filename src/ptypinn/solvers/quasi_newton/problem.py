"""Set up a scan for the solver, run its phases, and bring the result back to the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from ptypinn.data.canvas import canvas_frame, canvas_positions
from ptypinn.data.pattern_batches import PatternStack
from ptypinn.data.reconstruction import Reconstruction, Solved
from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import power
from ptypinn.physics.illumination import illumination_of
from ptypinn.physics.patches import split_positions
from ptypinn.solvers.quasi_newton.data_terms import DATA_TERMS
from ptypinn.solvers.quasi_newton.initial_object import deflection_start, flux_start
from ptypinn.solvers.quasi_newton.loop import LBFGSMemory, StopRule, Trace, solve
from ptypinn.solvers.quasi_newton.objective import PERIOD, Evaluation, HeldOutPixels, Objective
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner, Smoothness
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, extend_modes, hold_power, orthogonalise
from ptypinn.utils.progress import Progress, WatchOf

FINISH = 3
"""Iterations on all pixels after a long solve."""
SHORT = 30
"""Up to so many iterations, the finish on all pixels solves afresh for as long, so that noise stays out."""
EXPECTED = (Smoothness(0.5, 2.0, 0.02), Smoothness(0.3, 3.0, 0.003))
"""Expected spectra that the held-out pixels choose from: textured and smooth objects."""
TRIAL = 16
"""Iterations of each trial."""
AS_GOOD = 2.5e-3
"""Held-out losses this close (relative) count as equal: smooth phases still gain where counting noise hides it."""
OFF_CANVAS = 0.49
"""Refined positions may leave the canvas by so much, pixels: less than rounding takes back."""
REFRESH = 10
"""Iterations between updates of the preconditioner while the probe changes."""


@dataclass(frozen=True)
class Result(Solved):
    """What the iterative solver found."""

    notes: dict[str, Any] = field(default_factory=dict)
    held_out_before: float = math.nan
    """Loss on the held-out pixels at the start; NaN where none are held out."""


class Problem:
    """One scan, ready to be solved."""

    def __init__(
        self,
        scan: ScanData,
        options: SolverOptions,
        device: torch.device,
        start: Reconstruction | None = None,
        *,
        held_out_period: int | None = None,
    ) -> None:
        """Move the scan to the device.

        Args:
            scan: Scan with a calibrated probe.
            options: How to solve.
            device: Where to solve.
            start: Reconstruction of this scan to start from: its canvas, positions, object and probe.
            held_out_period: With a start, one pixel in so many is held out for the caller to judge by; none where
                None. Without one, the solver stops by one in `solver.held_out.PERIOD`.
        """
        self.options, self.device = options, device
        if start is None:
            (self.origin, self.extent), positions = canvas_frame(scan), canvas_positions(scan)
        else:
            (self.origin, self.extent), positions = (start.origin_px, start.object.shape), start.positions_px
        self.corners, shifts = (part.to(device) for part in split_positions(torch.from_numpy(positions)))
        self.shifts = shifts if options.refine_positions or bool(shifts.abs().max() > 1e-4) else None
        guess = torch.from_numpy(scan.require_probe()).to(device)
        self.photons = float(power(guess))
        known = guess if start is None else torch.from_numpy(start.probe).to(device)
        wanted = options.probe_modes if options.refine_probe else None
        self.probe = known if wanted is None else extend_modes(known, wanted)
        self.stack = PatternStack(scan, device, len(self.probe))
        self.start = None if start is None else torch.from_numpy(start.object).to(device)
        self.period = PERIOD if start is None else held_out_period
        self.judges = options.early_stop and self.period is not None

    def solve(self, progress: Progress, watch: WatchOf[Result] | None = None) -> Result:
        """Run all phases: object and probe, positions where asked, and from an own start the finish on all pixels.

        Args:
            progress: Told about every iteration.
            watch: Called after every iteration.
        """
        trace, start, budget = Trace(), self._begin(), self.options.iterations
        self.watch, self.smoothness, self.done, self.before = watch, EXPECTED[0], 0, list[float]()
        if self.options.refine_positions:
            start = self._phase(start, budget // 2, trace, progress, positions=False)
            at = self._phase(start, budget - budget // 2, trace, progress, positions=True)
        elif self.judges and self.start is None and budget > TRIAL:
            at = self._try_out(start, trace, progress)
            if trace.stopped != "held-out loss":
                at = self._phase(at, budget - TRIAL, trace, progress, positions=False)
                trace.best_iteration += TRIAL
        else:
            at = self._phase(start, budget, trace, progress, positions=False)
        if self.judges and self.start is None:
            afresh = trace.stopped == "held-out loss" and trace.best_iteration <= SHORT
            at, iterations = (start, trace.best_iteration) if afresh else (at, FINISH)
            at = self._phase(at, iterations, trace, progress, positions=self.options.refine_positions, finish=True)
        return self._result(at, trace)

    def _try_out(self, start: Unknowns, trace: Trace, progress: Progress) -> Unknowns:
        """Solve a little with every expected spectrum; go on with the one that predicts the held-out pixels best."""
        trials = []
        for smoothness in EXPECTED:
            self.smoothness, own = smoothness, Trace()
            trials.append((smoothness, own, self._phase(start, TRIAL, own, progress, positions=False)))
        self.smoothness, best, at = min(trials, key=lambda trial: min(trial[1].held_out_loss, default=math.inf))
        trace.loss, trace.held_out_loss = best.loss, best.held_out_loss
        trace.stopped, trace.best_iteration = best.stopped, best.best_iteration
        trace.passes = sum(own.passes for _, own, _ in trials)
        return at

    def _begin(self) -> Unknowns:
        probe = self.probe if self.options.refine_probe else None
        if self.start is not None:
            return Unknowns(self.start, probe)
        choices = [
            Unknowns(make(self.stack, self.probe, self.corners, self.extent), probe)
            for make in (flux_start, deflection_start)
        ]
        return min(choices, key=self._objective(held_out=False).loss)

    def _phase(
        self, at: Unknowns, iterations: int, trace: Trace, progress: Progress, *, positions: bool, finish: bool = False
    ) -> Unknowns:
        preconditioner = Preconditioner(self.corners, self.extent, self.smoothness, self.stack.scan.size)
        if positions and at.shifts is None:
            at = replace(at, shifts=self.shifts)
        preconditioner.refresh(at, self.probe if at.probe is None else at.probe)
        as_good = AS_GOOD if self.start is None else math.inf  # of a given start, the caller judges the end
        rule = StopRule(tolerance=self.options.tolerance, as_good=as_good)
        watch = self._watch(preconditioner, trace, progress)
        objective = self._objective(held_out=self.judges and not finish)
        best, found = solve(objective, at, LBFGSMemory(preconditioner), iterations, rule, watch)
        self.before = self.before or found.held_out_loss[:1]
        if not finish:
            trace.stopped, trace.best_iteration = found.stopped, found.best_iteration
        trace.passes += found.passes
        return hold_power(best, self.photons)

    def _watch(
        self, preconditioner: Preconditioner, trace: Trace, progress: Progress
    ) -> Callable[[int, Unknowns, Evaluation], None]:
        def watch(number: int, at: Unknowns, here: Evaluation) -> None:
            trace.loss.append(here.loss)
            if here.held_out_loss:
                trace.held_out_loss.append(here.held_out_loss)
            if at.probe is not None and number % REFRESH == 0:
                preconditioner.refresh(at, at.probe)
            if self.watch:
                self.watch(lambda: self._result(at, trace))
            self.done += 1
            progress("refine", self.done, max(self.done, self.options.iterations), loss=here.loss)

        return watch

    def _objective(self, held_out: bool) -> Objective:
        pixels = HeldOutPixels(self.stack.good, self.period) if held_out and self.period else None
        term = DATA_TERMS[self.options.loss]
        return Objective(self.stack, self.corners, term, self.probe, self.shifts, pixels)

    def _result(self, at: Unknowns, trace: Trace) -> Result:
        probe = orthogonalise(self.probe if at.probe is None else at.probe)
        shifts = self.shifts if at.shifts is None else at.shifts
        positions = self.corners[0].double() if shifts is None else self.corners[0] + shifts.double()
        if at.shifts is not None:
            positions = self._on_canvas(positions, probe.shape[-1])
        return Result(
            object=at.object.cpu().numpy(),
            probe=probe.cpu().numpy(),
            positions_px=positions.cpu().numpy(),
            origin_px=self.origin,
            illumination=illumination_of(probe, self.corners, *self.extent).cpu().numpy(),
            history={"loss": trace.loss} | ({"held_out_loss": trace.held_out_loss} if trace.held_out_loss else {}),
            notes={"passes": trace.passes, "stopped": trace.stopped, "best_iteration": trace.best_iteration},
            held_out_before=self.before[0] if self.before else math.nan,
        )

    def _on_canvas(self, positions: torch.Tensor, size: int) -> torch.Tensor:
        """Bound refined positions to where their patch, cut at the nearest whole pixel, still lies on the canvas."""
        room = torch.tensor(self.extent, dtype=positions.dtype, device=positions.device) - size
        return torch.minimum(positions.clamp(min=-OFF_CANVAS), room + OFF_CANVAS)


@dataclass(frozen=True)
class SolverOptions:
    """Options of a solve; `config.RefineConfig` explains them to users."""

    iterations: int
    """Most iterations before the finish."""
    probe_modes: int | None
    """Incoherent modes to solve for; None keeps those of the probe."""
    refine_probe: bool
    """Solve for the probe."""
    refine_positions: bool
    """Solve for the positions, once object and probe have settled."""
    loss: Literal["poisson", "amplitude"]
    """Data term."""
    early_stop: bool
    """Hold pixels out to see when noise is being fitted."""
    tolerance: float
    """Relative gain below which the solver has converged."""
