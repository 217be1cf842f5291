"""The solver's loop: quasi-Newton steps until the data say stop."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ptypinn.errors import InputError
from ptypinn.solvers.quasi_newton.objective import Evaluation
from ptypinn.solvers.quasi_newton.unknowns import Unknowns

Differentiable = Callable[[Unknowns], Evaluation]
ARMIJO = 1e-4
SMALLEST_STEP = 1e-3


@dataclass
class Trace:
    """What happened, per iteration."""

    loss: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    passes: int = 0
    best_iteration: int = 0
    stopped: str = "iterations"


@dataclass(frozen=True)
class StopRule:
    """When to stop before the iterations are used up."""

    patience: int = 6
    """Iterations without a held-out loss as good as the best: noise is being fitted."""
    tolerance: float = 1e-4
    """Relative gain of the loss over `window` iterations below which the solver has converged."""
    window: int = 5
    """Iterations over which the gain is taken."""
    as_good: float = 2.5e-3
    """Held-out losses this close (relative) count as equal."""

    def holds(self, trace: Trace) -> bool:
        """Whether the last held-out loss is as good as the best."""
        return trace.held_out_loss[-1] <= (1 + self.as_good) * min(trace.held_out_loss)

    def reason(self, trace: Trace) -> str | None:
        """Why to stop now, or None."""
        if trace.held_out_loss and len(trace.loss) - 1 - trace.best_iteration >= self.patience:
            return "held-out loss"
        if (
            len(trace.loss) > self.window
            and trace.loss[-1 - self.window] - trace.loss[-1] < self.tolerance * trace.loss[-1]
        ):
            return "converged"
        return None


def solve(
    objective: Differentiable,
    start: Unknowns,
    memory: LBFGSMemory,
    iterations: int,
    rule: StopRule,
    watch: Callable[[int, Unknowns, Evaluation], None] | None = None,
) -> tuple[Unknowns, Trace]:
    """Minimise the data term.

    Args:
        objective: Value and gradient.
        start: First point.
        memory: Quasi-Newton memory with its preconditioner.
        iterations: Most steps.
        rule: When to stop earlier.
        watch: Called after every step with its number, the point and its evaluation.

    Returns:
        The last point whose held-out loss is as good as the best, or the last point of all where nothing is held out,
        and what happened.
    """
    at, here = start, _finite(objective(start), 0)
    best, trace = at, Trace(passes=1)
    _record(trace, here, rule)
    for number in range(1, iterations + 1):
        moved = _step(objective, memory, at, here, trace)
        if moved is None:
            trace.stopped = "no descent"
            break
        at, here = moved[0], _finite(moved[1], number)
        _record(trace, here, rule)
        if trace.best_iteration == number or not trace.held_out_loss:
            best = at
        if watch:
            watch(number, at, here)
        if reason := rule.reason(trace):
            trace.stopped = reason
            break
    return best, trace


def _finite(here: Evaluation, number: int) -> Evaluation:
    if not math.isfinite(here.loss):
        found, expected = (
            f"a loss of {here.loss}",
            "a finite loss; are probe, start and counts finite and of sane size?",
        )
        raise InputError("refine", f"iteration {number}", found, expected)
    return here


def _record(trace: Trace, here: Evaluation, rule: StopRule) -> None:
    trace.loss.append(here.loss)
    if here.held_out_loss:
        trace.held_out_loss.append(here.held_out_loss)
        if rule.holds(trace):
            trace.best_iteration = len(trace.loss) - 1


def _step(
    objective: Differentiable, memory: LBFGSMemory, at: Unknowns, here: Evaluation, trace: Trace
) -> tuple[Unknowns, Evaluation] | None:
    """One accepted step, or None where not even the preconditioned gradient descends."""
    while True:
        direction = memory.direction(here.gradient, at)
        slope = 2 * here.gradient.dot(direction)
        found = _search(objective, at, here, direction, slope, trace) if slope < 0 else None
        if found is not None:
            there, value = found
            memory.update(there.minus(at), value.gradient.minus(here.gradient))
            return found
        if not memory.pairs:
            return None
        memory.clear()


def _search(
    objective: Differentiable, at: Unknowns, here: Evaluation, direction: Unknowns, slope: float, trace: Trace
) -> tuple[Unknowns, Evaluation] | None:
    """Backtrack from the full step by quadratic interpolation until the loss falls enough (Armijo)."""
    size = 1.0
    while size > SMALLEST_STEP:
        there = at.plus(direction, size)
        value = objective(there)
        trace.passes += 1
        if value.loss <= here.loss + ARMIJO * size * slope:
            return there, value
        curvature = value.loss - here.loss - size * slope
        size = max(0.1 * size, min(0.5 * size, -slope * size**2 / (2 * curvature)))
    return None


Precondition = Callable[[Unknowns, Unknowns], Unknowns]
"""(gradient, point) -> approximate inverse Hessian times gradient; symmetric and positive."""


class LBFGSMemory:
    """Curvature pairs of the last steps."""

    def __init__(self, precondition: Precondition, length: int = 10) -> None:
        self.precondition = precondition
        self.pairs: deque[tuple[Unknowns, Unknowns, float]] = deque(maxlen=length)

    def direction(self, gradient: Unknowns, at: Unknowns) -> Unknowns:
        """Quasi-Newton descent direction (two-loop recursion)."""
        q, factors = gradient, []
        for step, change, curvature in reversed(self.pairs):
            factor = step.dot(q) / curvature
            q = q.plus(change, -factor)
            factors.append(factor)
        z = self.precondition(q, at)
        if self.pairs:
            _, change, curvature = self.pairs[-1]
            z = z.scaled(curvature / change.dot(self.precondition(change, at)))
        for (step, change, curvature), factor in zip(self.pairs, reversed(factors), strict=True):
            z = z.plus(step, factor - change.dot(z) / curvature)
        return z.scaled(-1.0)

    def update(self, step: Unknowns, change: Unknowns) -> None:
        """Learn from a step and the change of the gradient over it; pairs without positive curvature are left out."""
        curvature = step.dot(change)
        if curvature > 1e-10 * change.dot(change) ** 0.5 * step.dot(step) ** 0.5:
            self.pairs.append((step, change, curvature))

    def clear(self) -> None:
        """Forget all pairs."""
        self.pairs.clear()
