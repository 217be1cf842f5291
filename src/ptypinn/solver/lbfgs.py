"""Limited-memory BFGS with a preconditioner that may change between iterations.

Library optimisers take no operator as the initial inverse Hessian, which is where the physics enters here, and none
works on complex blocks without copies. The recursion is Nocedal and Wright, Numerical Optimization, algorithm 7.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ptypinn.solver.unknowns import Unknowns

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
