"""L-BFGS steps with a line search, until the loss hardly falls any more."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ptypinn.errors import InputError
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.types import Scalar

Differentiable = Callable[[Unknowns], ObjectiveValue]
ARMIJO = 1e-4
MIN_STEP = 1e-3


@dataclass
class Trace:
    """History of a minimisation, per iteration."""

    loss: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    passes: int = 0
    """Passes over the data."""
    stopped: str = "iterations"
    """Reason of the stop."""


@dataclass(frozen=True)
class StopRule:
    """Rule to stop before the iterations are used up: the loss hardly falls any more."""

    tolerance: float = 1e-4
    """Relative gain of the loss over `window` iterations below which the solver has converged."""
    window: int = 5
    """Iterations over which the gain is taken."""

    def has_converged(self, trace: Trace) -> bool:
        """Return True if the loss gains less than the tolerance."""
        if len(trace.loss) <= self.window:
            return False
        return trace.loss[-1 - self.window] - trace.loss[-1] < self.tolerance * trace.loss[-1]


def minimise(
    objective: Differentiable,
    start: Unknowns,
    memory: LBFGSMemory,
    iterations: int,
    rule: StopRule,
    listener: Callable[[int, Unknowns, ObjectiveValue], None] | None = None,
    project: Callable[[Unknowns], Unknowns] | None = None,
) -> tuple[Unknowns, Trace]:
    """Minimise an objective.

    Args:
        objective: Value and gradient.
        start: First point.
        memory: Quasi-Newton memory with its preconditioner.
        iterations: Upper bound of the steps.
        rule: Rule to stop earlier.
        listener: Called after every step with its number, the point and its value.
        project: Returns the nearest point within bounds; None where there are none.

    Returns:
        The last point, and the history.
    """
    point, value = start, _require_finite(objective(start).read_losses(), 0)
    trace = Trace(passes=1)
    _record(trace, value)
    for number in range(1, iterations + 1):
        step = _step(objective, memory, point, value, trace, project)
        if step is None:
            trace.stopped = "no descent"
            break
        point, value = step[0], _require_finite(step[1], number)
        _record(trace, value)
        if listener:
            listener(number, point, value)
        if rule.has_converged(trace):
            trace.stopped = "converged"
            break
    return point, trace


def _require_finite(value: ObjectiveValue, number: int) -> ObjectiveValue:
    if not math.isfinite(value.loss):
        expected = "a finite loss; are probe, start and counts finite and of sane size?"
        raise InputError("refine", f"iteration {number}", f"a loss of {value.loss}", expected)
    return value


def _record(trace: Trace, value: ObjectiveValue) -> None:
    trace.loss.append(float(value.loss))
    if value.held_out_loss:
        trace.held_out_loss.append(float(value.held_out_loss))


def _step(
    objective: Differentiable,
    memory: LBFGSMemory,
    point: Unknowns,
    value: ObjectiveValue,
    trace: Trace,
    project: Callable[[Unknowns], Unknowns] | None,
) -> tuple[Unknowns, ObjectiveValue] | None:
    """Take one accepted step; None where not even the preconditioned gradient descends."""
    while True:
        direction = memory.direction(value.gradient, point)
        slope = 2 * float(value.gradient.dot(direction))
        step = _line_search(objective, point, value, direction, slope, trace, project) if slope < 0 else None
        if step is not None:
            next_point, next_value = step
            memory.update(next_point.minus(point), next_value.gradient.minus(value.gradient))
            return step
        if not memory.pairs:
            return None
        memory.clear()


def _line_search(
    objective: Differentiable,
    point: Unknowns,
    value: ObjectiveValue,
    direction: Unknowns,
    slope: float,
    trace: Trace,
    project: Callable[[Unknowns], Unknowns] | None,
) -> tuple[Unknowns, ObjectiveValue] | None:
    """Backtrack from the full step by quadratic interpolation until the loss falls enough (Armijo)."""
    size = 1.0
    while size > MIN_STEP:
        trial = point.plus(direction, size)
        trial = trial if project is None else project(trial)
        trial_value = objective(trial).read_losses()
        trace.passes += 1
        loss, loss_before = float(trial_value.loss), float(value.loss)
        if loss <= loss_before + ARMIJO * size * slope:
            return trial, trial_value
        curvature = loss - loss_before - size * slope
        size = max(0.1 * size, min(0.5 * size, -slope * size**2 / (2 * curvature)))
    return None


Precondition = Callable[[Unknowns, Unknowns], Unknowns]
"""(gradient, point) -> approximate inverse Hessian times gradient; symmetric and positive."""


class LBFGSMemory:
    """Quasi-Newton memory: curvature pairs of the last steps, and the preconditioner."""

    def __init__(self, precondition: Precondition, length: int = 10) -> None:
        self.precondition = precondition
        self.pairs: deque[tuple[Unknowns, Unknowns, Scalar]] = deque(maxlen=length)

    def direction(self, gradient: Unknowns, point: Unknowns) -> Unknowns:
        """Return the quasi-Newton descent direction (two-loop recursion); nothing in it waits for the device."""
        q, factors = gradient, []
        for step, change, curvature in reversed(self.pairs):
            factor = step.dot(q) / curvature
            q = q.plus(change, -factor)
            factors.append(factor)
        z = self.precondition(q, point)
        if self.pairs:
            _, change, curvature = self.pairs[-1]
            z = z.scaled(curvature / change.dot(self.precondition(change, point)))
        for (step, change, curvature), factor in zip(self.pairs, reversed(factors), strict=True):
            z = z.plus(step, factor - change.dot(z) / curvature)
        return z.scaled(-1.0)

    def update(self, step: Unknowns, change: Unknowns) -> None:
        """Add a step and the change of the gradient over it; pairs without positive curvature are left out."""
        curvature = step.dot(change)
        if curvature > 1e-10 * change.dot(change) ** 0.5 * step.dot(step) ** 0.5:
            self.pairs.append((step, change, curvature))

    def clear(self) -> None:
        """Forget all pairs."""
        self.pairs.clear()
