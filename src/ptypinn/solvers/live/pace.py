"""Pace of a scan in progress: how many rounds the time allows, and for which patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ptypinn.solvers.live.windows import Cost

Mode = Literal["full", "fewer rounds", "subsampled"]
FIRST_ROUNDS = 6
"""Rounds in which new patterns enter the picture. Measured on a structured object at 1e6 photons per pattern, from its
physical start: with 6 rounds the error is 1.17 times that of 13, with 5 rounds 1.33, with 4 rounds 2.3. Neighbours
that come later bring further rounds."""
MIN_ROUNDS = 3
"""Fewest rounds in which new patterns enter, before some of them have to wait."""
MAX_OVERRUN = 2.0
"""Factor by which a step may take longer than it is given, before some patterns have to wait."""
START_COST = Cost(1.5e-4, 1.2e-6)
"""Time of a round before one was timed, for patterns of 64 x 64 pixels."""
MEMORY = 0.8
"""Weight of the rounds before in the mean time of a round."""

MODE_TEXT: dict[Mode, str] = {
    "full": "Every pattern enters the picture with all its rounds.",
    "fewer rounds": "Patterns come faster than full quality allows: they enter the picture with fewer rounds.",
    "subsampled": "Patterns come faster than they can be solved: some of them, evenly over the area, enter the picture "
    "first, and the others when there is time.",
}
"""Sentence for people on every mode."""


@dataclass(frozen=True)
class Plan:
    """Work for the new patterns of one step."""

    rounds: int
    share: float
    """Share of the patterns that enter now."""

    @property
    def mode(self) -> Mode:
        """Quality of the patterns that enter."""
        if self.share < 1:
            return "subsampled"
        return "full" if self.rounds >= FIRST_ROUNDS else "fewer rounds"


def plan_rounds(round_s: float, budget_s: float) -> Plan:
    """Return the rounds, and the share of the new patterns, that a time allows.

    Args:
        round_s: Time of one round with all of them.
        budget_s: Time for all rounds.

    >>> plan_rounds(0.1, 1.0).mode, plan_rounds(0.1, 0.45), round(plan_rounds(0.1, 0.075).share, 9)
    ('full', Plan(rounds=4, share=1.0), 0.5)
    """
    rounds = int(min(FIRST_ROUNDS, budget_s / max(round_s, 1e-12)))
    if rounds >= MIN_ROUNDS:
        return Plan(rounds, 1.0)
    return Plan(MIN_ROUNDS, min(1.0, MAX_OVERRUN * budget_s / (MIN_ROUNDS * round_s)))


class Stopwatch:
    """Mean time of a round per pattern and per pixel, from the rounds so far."""

    def __init__(self, cost: Cost | None) -> None:
        """Start.

        Args:
            cost: Time of a round that is taken whatever rounds take, so that the same calls give the same results;
                None to measure it.
        """
        self.cost, self._fixed = cost or START_COST, cost is not None

    def record(self, patterns: int, pixels: int, rounds: int, elapsed_s: float) -> None:
        """Take in the time of some rounds: the measured cost scales both parts alike."""
        if self._fixed or not rounds:
            return
        factor = elapsed_s / (rounds * self.cost.round_s(patterns, pixels))
        factor = MEMORY + (1 - MEMORY) * float(np.clip(factor, 0.1, 10.0))
        self.cost = Cost(self.cost.pattern_s * factor, self.cost.pixel_s * factor)
