"""Selection of the round whose result is returned, by the loss on pixels that no round fits."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ptypinn.solvers.unrolled.loop import Iterate
from ptypinn.solvers.unrolled.round_schedule import MIN_ROUNDS

PATIENCE = 6
"""Rounds without a better iterate, after which none is to be expected."""


class HeldOutSelector:
    """Select the iterate of least held-out loss from round `MIN_ROUNDS` on, with those before it; or the last before.

    With few counts, chance would decide among the first rounds.

    >>> from ptypinn.solvers.quasi_newton.unknowns import Unknowns
    >>> import torch
    >>> point, selector = Unknowns(torch.ones(2, 2) + 0j), HeldOutSelector()
    >>> for rounds, loss in enumerate([9.0, 3.0, 5.0, 4.0], MIN_ROUNDS):
    ...     selector.update([Iterate(point, rounds=rounds)], loss)
    >>> selector.best[-1].rounds - MIN_ROUNDS, selector.history
    (1, [9.0, 3.0, 5.0, 4.0])
    """

    def __init__(self) -> None:
        self.best, self.history = list[Iterate](), list[float]()
        self._min_loss = math.inf

    def update(self, iterates: Iterable[Iterate], held_out_loss: float) -> None:
        """Compare an iterate with the best so far.

        Args:
            iterates: The iterate, after some that led to it.
            held_out_loss: Its loss on the held-out pixels.
        """
        iterates = list(iterates)
        self.history.append(held_out_loss)
        if iterates[-1].rounds < MIN_ROUNDS:
            self.best = iterates
        elif held_out_loss < self._min_loss:
            self.best, self._min_loss = iterates, held_out_loss

    def should_stop(self, iterate: Iterate) -> bool:
        """Return True if the best iterate lies `PATIENCE` rounds back."""
        return iterate.rounds - self.best[-1].rounds >= PATIENCE
