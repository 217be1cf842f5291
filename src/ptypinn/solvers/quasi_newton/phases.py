"""Phases of a quasi-Newton solve: choice of the expected spectrum, object and probe, positions, and the finish."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ptypinn.solvers.quasi_newton.loop import LBFGSMemory, StopRule, Trace, minimise
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner, Smoothness
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, rescale_pair
from ptypinn.utils.progress import IterateCallback, Progress

FINISH_ITERATIONS = 3
"""Iterations on all pixels after a long solve."""
MAX_FRESH_FINISH = 30
"""Up to this many iterations, the finish on all pixels solves afresh for as long, so that noise stays out."""
EXPECTED_SPECTRA = (Smoothness(0.5, 2.0, 0.02), Smoothness(0.3, 3.0, 0.003))
"""Expected spectra that the held-out pixels choose from: textured and smooth objects."""
TRIAL_ITERATIONS = 16
"""Iterations of the trial of each spectrum."""
HELD_OUT_TOLERANCE = 2.5e-3
"""Held-out losses this close (relative) count as equal: smooth phases still gain where counting noise hides it."""
FIRST_ITERATIONS = 20
"""Iterations for object and probe before positions are solved for too: longer, and they fit the wrong positions."""
POSITION_MEMORY = 20
"""Steps in the quasi-Newton memory where positions are solved for, which trade off with object and probe."""
REFRESH_INTERVAL = 10
"""Iterations between updates of the preconditioner while the probe changes."""


def solve_problem(
    problem: QuasiNewtonProblem, progress: Progress, watch: IterateCallback[QuasiNewtonResult] | None = None
) -> QuasiNewtonResult:
    """Run all phases: object and probe, positions where asked for, and a last one on all pixels.

    Args:
        problem: The scan and the options.
        progress: Called after every iteration, as the stage `refine`.
        watch: Called after every iteration with a function that returns the result so far.
    """
    run = _Run(problem, progress, watch, EXPECTED_SPECTRA[0])
    start, budget, trace = problem.starting_point(), problem.options.iterations, run.trace
    if problem.options.refine_positions:
        first = min(budget // 2, FIRST_ITERATIONS)
        point = run.phase(start, first)
        point = run.phase(point, budget - first, positions=True)
    elif problem.holds_out and problem.from_scratch and budget > TRIAL_ITERATIONS:
        point = run.try_spectra(start)
        if trace.stopped != "held-out loss":
            point = run.phase(point, budget - TRIAL_ITERATIONS)
            trace.best_iteration += TRIAL_ITERATIONS
    else:
        point = run.phase(start, budget)
    if problem.holds_out and problem.from_scratch:
        point = run.finish(start, point)
    return problem.to_result(point, trace, run.held_out_before)


@dataclass
class _Run:
    """State of one solve."""

    problem: QuasiNewtonProblem
    progress: Progress
    watch: IterateCallback[QuasiNewtonResult] | None
    smoothness: Smoothness
    """Expected spectrum of the object."""
    trace: Trace = field(default_factory=Trace)
    iterations: int = 0
    """Iterations so far, trials included."""
    held_out_before: float = math.nan
    """Loss on the held-out pixels at the start."""

    def try_spectra(self, start: Unknowns) -> Unknowns:
        """Run a trial with every expected spectrum; go on with the one that predicts the held-out pixels best."""
        trials = []
        for smoothness in EXPECTED_SPECTRA:
            trace = Trace()
            trials.append((smoothness, trace, self.phase(start, TRIAL_ITERATIONS, smoothness=smoothness, trace=trace)))
        self.smoothness, best, point = min(trials, key=lambda trial: min(trial[1].held_out_loss, default=math.inf))
        self.trace.loss, self.trace.held_out_loss = best.loss, best.held_out_loss
        self.trace.stopped, self.trace.best_iteration = best.stopped, best.best_iteration
        self.trace.passes = sum(trace.passes for _, trace, _ in trials)
        return point

    def finish(self, start: Unknowns, point: Unknowns) -> Unknowns:
        """Take in the held-out pixels: afresh from the start after a short solve, by a few iterations otherwise."""
        fresh = self.trace.stopped == "held-out loss" and self.trace.best_iteration <= MAX_FRESH_FINISH
        solved = point
        point, iterations = (start, self.trace.best_iteration) if fresh else (point, FINISH_ITERATIONS)
        positions = self.problem.options.refine_positions
        if fresh and positions:
            point = replace(point, shifts=solved.shifts)
        return self.phase(point, iterations, positions=positions, all_pixels=True)

    def phase(
        self,
        point: Unknowns,
        iterations: int,
        *,
        positions: bool = False,
        all_pixels: bool = False,
        smoothness: Smoothness | None = None,
        trace: Trace | None = None,
    ) -> Unknowns:
        """Minimise the data term from a point; return the best point, its probe at the known power.

        Args:
            point: First point.
            iterations: Upper bound of the iterations.
            positions: Solve for the positions too.
            all_pixels: Hold no pixel out; the trace then keeps the stop and the best iteration of the phase before.
            smoothness: Expected spectrum; that of the run where None.
            trace: History to add to; that of the run where None.
        """
        problem, trace = self.problem, trace or self.trace
        smoothness = smoothness or self.smoothness
        preconditioner = Preconditioner(problem.corners, problem.extent, smoothness, problem.stack.scan.size)
        if positions and point.shifts is None:
            point = replace(point, shifts=problem.shifts)
        preconditioner.refresh(point, problem.probe if point.probe is None else point.probe)
        # From an initial reconstruction, the caller decides where to stop.
        as_good = HELD_OUT_TOLERANCE if problem.from_scratch else math.inf
        rule = StopRule(tolerance=problem.options.tolerance, as_good=as_good)
        objective = problem.objective(held_out=problem.holds_out and not all_pixels)
        memory, listener = self._memory(preconditioner, positions), self._listener(preconditioner, trace)
        best, own = minimise(objective, point, memory, iterations, rule, listener)
        if math.isnan(self.held_out_before) and own.held_out_loss:
            self.held_out_before = own.held_out_loss[0]
        if not all_pixels:
            trace.stopped, trace.best_iteration = own.stopped, own.best_iteration
        trace.passes += own.passes
        return rescale_pair(best, problem.photons)

    def _memory(self, preconditioner: Preconditioner, positions: bool) -> LBFGSMemory:
        return LBFGSMemory(preconditioner, POSITION_MEMORY) if positions else LBFGSMemory(preconditioner)

    def _listener(
        self, preconditioner: Preconditioner, trace: Trace
    ) -> Callable[[int, Unknowns, ObjectiveValue], None]:
        """Return the function that records an iteration, reports it, and refreshes the preconditioner."""

        def listen(number: int, point: Unknowns, value: ObjectiveValue) -> None:
            trace.loss.append(value.loss)
            if value.held_out_loss:
                trace.held_out_loss.append(value.held_out_loss)
            if point.probe is not None and number % REFRESH_INTERVAL == 0:
                preconditioner.refresh(point, point.probe)
            if self.watch:
                self.watch(lambda: self.problem.to_result(point, trace, self.held_out_before))
            self.iterations += 1
            self.progress(
                "refine", self.iterations, max(self.iterations, self.problem.options.iterations), loss=value.loss
            )

        return listen
