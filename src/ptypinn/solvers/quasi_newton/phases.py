"""Phases of a quasi-Newton solve: object and probe, positions, and both again with a prior of the object."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from ptypinn.solvers.quasi_newton.loop import Differentiable, LBFGSMemory, StopRule, Trace, minimise
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.phase_slices import PhaseSlices, estimate_stack_prior
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner, Smoothness
from ptypinn.solvers.quasi_newton.prior import ObjectPrior, RegularisedObjective, estimate_prior
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, centre_flux, rescale_pair
from ptypinn.solvers.quasi_newton.variation_steps import VariationObjective
from ptypinn.utils.progress import IterateCallback, Progress

FINISH_ITERATIONS = 3
"""Iterations that take in pixels that were held out."""
EXPECTED_SPECTRUM = Smoothness(0.5, 2.0, 0.02)
"""Expected spectrum of the object, for the steps alone: that of textured ones."""
FIRST_ITERATIONS = 16
"""Iterations from which the spectrum of the object is estimated."""
FIRST_PRIOR_FRACTION = 0.6
"""Fraction of the iterations that are left for the first prior; the rest are for the one that follows from it."""
BEFORE_POSITIONS = 20
"""Iterations for object and probe before positions are solved for too, from scratch: longer, and they fit the wrong
positions."""
POSITION_FRACTION = 0.5
"""Fraction of the iterations that are left for object, probe and positions without a prior, where one follows."""
MEMORY, POSITION_MEMORY = 10, 20
"""Steps in the quasi-Newton memory; more where positions are solved for, which trade off with object and probe."""
REFRESH_INTERVAL = 10
"""Iterations between updates of the preconditioner while the probe changes."""


def solve_problem(
    problem: QuasiNewtonProblem, progress: Progress, watch: IterateCallback[QuasiNewtonResult] | None = None
) -> QuasiNewtonResult:
    """Run all phases: object and probe, positions where asked for, and with a prior where that is asked for.

    Args:
        problem: The scan and the options.
        progress: Called after every iteration, as the stage `refine`.
        watch: Called after every iteration with a function that returns the result so far.
    """
    run, options = _Run(problem, progress, watch), problem.options
    point, budget = problem.starting_point(), options.iterations
    if options.refine_positions:
        first = min(budget // 2, BEFORE_POSITIONS) if problem.from_scratch else 0
        point = run.phase(point, first)
        left = budget - first
        point = run.phase(point, math.ceil(POSITION_FRACTION * left) if options.prior else left, positions=True)
    elif not options.prior:
        point = run.phase(point, budget)
    elif problem.from_scratch:
        point = run.phase(point, min(budget, FIRST_ITERATIONS))
    if options.prior:
        point = run.solve_with_prior(point)
    return problem.to_result(point, run.trace, run.held_out_before)


@dataclass
class _Run:
    """State of one solve."""

    problem: QuasiNewtonProblem
    progress: Progress
    watch: IterateCallback[QuasiNewtonResult] | None
    trace: Trace = field(default_factory=Trace)
    prior: ObjectPrior | None = None
    iterations: int = 0
    """Iterations so far."""
    held_out_before: float = math.nan
    """Loss on the held-out pixels at the start."""

    def solve_with_prior(self, point: Unknowns) -> Unknowns:
        """Solve with the prior that a point shows, and with the one that follows from the result."""
        options = self.problem.options
        for fraction in (FIRST_PRIOR_FRACTION, 1.0):
            left = options.iterations - self.iterations
            if left > 0:
                estimate = estimate_prior if options.depth_precision is None else estimate_stack_prior
                self.prior = estimate(point.object, self.problem.illumination(point), self.prior)
                point = self.phase(point, math.ceil(fraction * left), positions=options.refine_positions)
        return point

    def phase(self, point: Unknowns, iterations: int, *, positions: bool = False) -> Unknowns:
        """Minimise the data term, with the prior where there is one, from a point; return the last, at the known power.

        Args:
            point: First point.
            iterations: Upper bound of the iterations.
            positions: Solve for the positions too.
        """
        problem = self.problem
        scan = problem.stack.scan
        number = None if positions else scan.fresnel_number  # moves and slow phases do not go together
        is_mixed = scan.gap_fresnel_numbers is not None and problem.options.depth_precision is None
        gaps = 1 / torch.from_numpy(scan.gap_fresnel_numbers).to(problem.device) if is_mixed else None
        y, x = (0.0, 0.0) if scan.sample_tilt is None else scan.sample_tilt.tolist()
        preconditioner = Preconditioner(
            problem.corners,
            problem.extent,
            EXPECTED_SPECTRUM,
            scan.size,
            fresnel_number=number,
            gaps=gaps,
            tilt=(y, x),
            gains_modes=scan.fresnel_number is not None,
        )
        if problem.options.slow_moves and problem.terms.variation is not None:
            preconditioner.frames.slow = problem.terms.variation.weights / len(problem.terms.variation.weights) ** 0.5
        if positions and point.shifts is None:
            point = replace(point, shifts=problem.shifts)
        preconditioner.refresh(point, problem.probe if point.probe is None else point.probe)
        if problem.options.solve_background:
            point = preconditioner.add_background(point, problem.stack, problem.terms.background)
        last, own = self._minimise(self._objective(point, preconditioner), point, preconditioner, iterations)
        if math.isnan(self.held_out_before) and own.held_out_loss:
            self.held_out_before = own.held_out_loss[0]
        self.trace.stopped = own.stopped
        self.trace.passes += own.passes
        if problem.options.depth_precision is not None:
            return last  # slices of phase alone have no amplitude that would take up a factor
        return rescale_pair(centre_flux(last), problem.photons)

    def _minimise(
        self, objective: Differentiable, point: Unknowns, preconditioner: Preconditioner, iterations: int
    ) -> tuple[Unknowns, Trace]:
        """Minimise over transmissions, or over the phases of slices."""
        options, listener = self.problem.options, self._listener(preconditioner)
        rule = StopRule(tolerance=options.tolerance)
        memory = MEMORY if point.shifts is None else POSITION_MEMORY
        project = None if preconditioner.background is None else preconditioner.background.project
        if options.depth_precision is None or point.object.ndim == 2:
            steps = LBFGSMemory(preconditioner, memory)
            return minimise(objective, point, steps, iterations, rule, listener, project)
        space = PhaseSlices(objective, preconditioner, options.depth_precision)

        def listen(number: int, at: Unknowns, value: ObjectiveValue) -> None:
            listener(number, space.leave(at), value)

        steps = LBFGSMemory(space.precondition, memory)
        last, trace = minimise(space, space.enter(point), steps, iterations, rule, listen, project)
        return space.leave(last), trace

    def _objective(self, point: Unknowns, preconditioner: Preconditioner) -> Differentiable:
        objective: Differentiable = self.problem.objective(held_out=self.problem.holds_out)
        if self.prior is not None:
            objective = RegularisedObjective(objective, self.prior)
        if point.variation is None or point.probe is None:
            return objective
        return VariationObjective(objective, point.probe, preconditioner.probe_curvature)

    def _listener(self, preconditioner: Preconditioner) -> Callable[[int, Unknowns, ObjectiveValue], None]:
        """Return the function that records an iteration, reports it, and refreshes the preconditioner."""
        trace = self.trace

        def listen(number: int, point: Unknowns, value: ObjectiveValue) -> None:
            trace.loss.append(float(value.loss))
            if value.held_out_loss:
                trace.held_out_loss.append(float(value.held_out_loss))
            if point.probe is not None and number % REFRESH_INTERVAL == 0:
                preconditioner.refresh(point, point.probe)
            if self.watch:
                self.watch(lambda: self.problem.to_result(point, trace, self.held_out_before))
            self.iterations += 1
            self.progress(
                "refine", self.iterations, max(self.iterations, self.problem.options.iterations), loss=trace.loss[-1]
            )

        return listen
