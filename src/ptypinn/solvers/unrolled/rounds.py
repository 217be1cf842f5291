"""Number of rounds, the higher the dose the more, and selection of the round whose result is returned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.scan import ScanData
from ptypinn.physics.patches import compute_illumination, downsample_probe, split_positions
from ptypinn.solvers.quasi_newton.preconditioner import mean_illumination
from ptypinn.solvers.unrolled.loop import Iterate

PROBE_ROUNDS = 36
"""Rounds that solve for object and probe together, to find the probe."""
PROBE_WINDOW, MIN_PROBE_WINDOWS, MIN_PROBE_GAIN = 5, 4, 0.04
"""Rounds for object and probe between looks at their gain, the fewest times as many, and the relative gain below
which they have stagnated."""
MAX_PROBE_MISFIT = 1.3
"""Amplitude residual over that of counting noise above which rounds that have stagnated end: what they leave is another
fault of the experiment, which is solved for from there. Below it, further rounds still refine the probe."""
MIN_ROUNDS, MAX_ROUNDS = 6, 20
"""Rounds with a known probe: at low dose, and at high dose."""
LOW_DOSE, GROWTH_EXPONENT = 100.0, 0.15
"""Photons per object pixel up to which `MIN_ROUNDS` suffice, and the power of the dose with which their number grows.
Measured on structured objects: with 100 photons per pixel errors are least after 4 to 10 rounds and then rise, with 1e4
after 11 to 20, with 1e5 they still fall after 17."""
BLURRED_FACTOR = 2
"""Factor on the rounds at high dose where patterns are blurred, which hides detail. Measured at 1e6 photons per
pattern: errors fall by 6 to 12 % with twice the rounds, by 1 % more with three times; at 1e4 and 1e5 they do not
change."""
HIGH_DOSE = 5000.0
"""Photons per object pixel from which a mean over many rounds lags behind more than it gains."""
PATIENCE = 6
"""Rounds without a better iterate, after which none is to be expected."""


def default_rounds(dose: float, *, blurred: bool = False) -> int:
    """Return the default number of rounds for the object.

    Args:
        dose: Mean photons per object pixel, from `estimate_dose`.
        blurred: The patterns are sums over incoherent modes, or blurred by the detector.

    >>> [default_rounds(dose) for dose in (10.0, 100.0, 1e4, 1e6)]
    [6, 6, 12, 20]
    """
    dose = dose if dose > LOW_DOSE else LOW_DOSE
    rounds = int(min(MAX_ROUNDS, np.rint(MIN_ROUNDS * (dose / LOW_DOSE) ** GROWTH_EXPONENT)))
    return BLURRED_FACTOR * rounds if blurred and dose >= HIGH_DOSE else rounds


def estimate_dose(scan: ScanData) -> float:
    """Return the mean photons per object pixel over the interior of a scan; of a large canvas on a coarser grid.

    Args:
        scan: Scan with a calibrated probe; its counts are not read.
    """
    _, extent = canvas_frame(scan)
    corners, _ = split_positions(torch.from_numpy(canvas_positions(scan)))
    probe, corners, extent, factor = downsample_probe(torch.from_numpy(scan.require_probe()), corners, extent)
    return float(mean_illumination(compute_illumination(probe, corners, *extent))) / factor**2


def count_averaged_rounds(dose: float) -> int:
    """Return the number of last rounds whose objects are averaged for the result.

    Fitted noise, and errors of the network, whose input is oriented otherwise in every round, average out (Polyak and
    Juditsky, SIAM J. Control Optim. 30 (1992) 838); at high dose, rounds still gain. Measured on structured objects:
    from 100 to 1,000 photons per pixel the mean of three has about 1 % less error than the last; with 1e5 it has 2 %
    more.

    Args:
        dose: Mean photons per object pixel.

    >>> count_averaged_rounds(500.0), count_averaged_rounds(1e5)
    (3, 2)
    """
    return 3 if dose < HIGH_DOSE else 2


def have_stagnated(losses: Sequence[float]) -> bool:
    """Return True if rounds for object and probe hardly gain, looked at once in `PROBE_WINDOW` rounds.

    Args:
        losses: Loss of every round so far.

    >>> have_stagnated([2.0] * 20), have_stagnated([2.0] * 21), have_stagnated([2.0**-n for n in range(20)])
    (True, False, False)
    """
    if len(losses) % PROBE_WINDOW or len(losses) < MIN_PROBE_WINDOWS * PROBE_WINDOW:
        return False
    return losses[-1 - PROBE_WINDOW] - losses[-1] < MIN_PROBE_GAIN * losses[-1]


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
