"""More rounds must not make it worse: pixels that nothing fitted say which round was the best."""

from __future__ import annotations

import math

from ptypinn.learned.rounds import State
from ptypinn.learned.usual import FEWEST

PATIENCE = 6
"""Rounds without a better state, after which none is to be expected."""


class Judge:
    """Keeps the state of least held-out loss from round `FEWEST` on, and the last one before it.

    With few counts, chance would decide among the first rounds.
    """

    def __init__(self, start: State) -> None:
        self.best, self.least, self.history = start, math.inf, list[float]()

    def look(self, state: State, held_out_loss: float) -> None:
        """Take notice of a state and of its loss on the held-out pixels."""
        self.history.append(held_out_loss)
        if state.rounds < FEWEST:
            self.best = state
        elif held_out_loss < self.least:
            self.best, self.least = state, held_out_loss

    def gives_up(self, state: State) -> bool:
        """Whether to stop at a state."""
        return state.rounds - self.best.rounds >= PATIENCE
