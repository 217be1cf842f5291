"""More rounds must not make it worse: pixels that nothing fitted say which round was the best."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ptypinn.learned.rounds import State
from ptypinn.learned.usual import FEWEST

PATIENCE = 6
"""Rounds without a better state, after which none is to be expected."""


class Judge:
    """Keeps the states that end with that of least held-out loss from round `FEWEST` on, and the last one before it.

    With few counts, chance would decide among the first rounds.
    """

    def __init__(self) -> None:
        self.best, self.least, self.history = list[State](), math.inf, list[float]()

    def look(self, states: Iterable[State], held_out_loss: float) -> None:
        """Take notice of a state, which ends some that follow each other, and of its loss on the held-out pixels."""
        states = list(states)
        self.history.append(held_out_loss)
        if states[-1].rounds < FEWEST:
            self.best = states
        elif held_out_loss < self.least:
            self.best, self.least = states, held_out_loss

    def gives_up(self, state: State) -> bool:
        """Whether to stop at a state."""
        return state.rounds - self.best[-1].rounds >= PATIENCE
