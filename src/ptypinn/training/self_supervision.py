"""What a scan itself says about a correction, without any truth.

The physical passes of a solution leave some pixels of every pattern out. Counts of different pixels are independent, so
the likelihood of those pixels judges the corrected canvas without knowing the noise that the passes have fitted
(noise2noise; Lehtinen et al., ICML 2018). Whole patterns that nothing ever fits judge the network as a whole.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ptypinn.data.scan import ScanData
from ptypinn.models.canvas_features import CanvasMaps, change_of
from ptypinn.models.unrolled import Maps
from ptypinn.solvers.quasi_newton.data_terms import JUDGE
from ptypinn.solvers.quasi_newton.objective import HeldOutPixels
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.unrolled.loop import State, answered, corrected
from ptypinn.solvers.unrolled.problem import LearnedOptions, learned_problem, objective_of
from ptypinn.solvers.unrolled.solver import Solution, solution_of

Numbers = Int64[np.ndarray, " _"]


class FittedPixels(HeldOutPixels):
    """The pixels that `HeldOutPixels` leaves: an objective without them sees the held-out ones alone."""

    def __init__(self, good: Bool[Tensor, "y x"], period: int, numbers: Tensor) -> None:
        """Lay the lattices; arguments as those of `HeldOutPixels`."""
        super().__init__(good, period, numbers=numbers)
        held = torch.zeros(period, good.numel(), dtype=torch.bool, device=good.device)
        held.scatter_(1, self._pixels, True)
        order = torch.argsort(held.int(), dim=1, stable=True)  # of every lattice, the fitted pixels come first
        most, fitted = int((~held).sum(1).max()), ~held.gather(1, order)
        self._pixels = torch.where(fitted, order, order[:, :1])[:, :most]
        self._weights = (fitted & good.flatten()[order])[:, :most].float()


@dataclass(frozen=True)
class Verdict:
    """What the judging pixels say about a correction."""

    loss: float
    """Deviance of the corrected canvas per judging pixel."""
    slope: Float[Tensor, "1 output height width"]
    """Gradient by the network's answer, in units of the error that the answer's unit expects."""


@dataclass(frozen=True)
class Parts:
    """Which patterns do what."""

    fits: Numbers
    """Patterns that the physical passes fit."""
    validates: Numbers
    """Patterns that nothing ever fits."""


class SelfSupervision:
    """A scan that teaches the network.

    Args:
        scan: Scan with the probe to solve with; one that is only guessed has been found before (`solve.find_probe`).
        options: How to solve.
        parts: Which patterns fit, and which validate.
        period: One pixel in so many of every fitted pattern judges.
        device: Where to solve.
    """

    def __init__(
        self, scan: ScanData, options: LearnedOptions, parts: Parts, period: int, device: torch.device
    ) -> None:
        self.period, self._fits = period, torch.from_numpy(parts.fits).to(device)
        self._scan = scan.subset(parts.fits)
        self._problem = learned_problem(self._scan, None, options, device)
        self._whole = self._problem.solver.objective
        unseen = objective_of(scan.subset(parts.validates), self._whole.probe, options, self._problem.origin)
        self._validation = replace(unseen, term=JUDGE, held_out=None)
        self._judge = replace(self._whole, term=JUDGE)

    def begin(self, turn: int) -> State:
        """The start of a solution that leaves pixels out.

        Args:
            turn: Which pixels: they return after `period` turns.
        """
        good = self._whole.stack.good
        numbers = self._fits + turn
        self._problem.solver.objective = replace(self._whole, held_out=HeldOutPixels(good, self.period, numbers))
        self._judge = replace(self._judge, held_out=FittedPixels(good, self.period, numbers))
        return self._problem.start

    def physics(self, state: State) -> tuple[State, CanvasMaps]:
        """The physical passes of a round, and what the network sees after them."""
        return self._problem.solver.physics(state)

    def judge(self, state: State, seen: CanvasMaps, answer: Maps) -> tuple[State, Verdict]:
        """The state after a correction, and what the judging pixels say about it.

        Args:
            state: After the physical passes.
            seen: What the network saw.
            answer: What it answers.
        """
        with torch.enable_grad():
            answer = answer.detach().requires_grad_()
            change = change_of(answer, seen.unit)
        state = corrected(state, seen, answer.detach(), self._problem.solver.amplitude)
        here = self._judge(Unknowns(state.at.object))
        expected = (self._problem.solver.preconditioner.illumination * seen.unit.square()).sum() / self.period
        (slope,) = torch.autograd.grad(change, answer, here.gradient.object * (2 / expected))
        pixels = len(self._fits) * int(self._whole.stack.good.sum()) / self.period
        return state, Verdict(here.loss / pixels, slope)

    def solution(self, state: State) -> Solution:
        """A state on the host."""
        return solution_of(self._problem, self._scan, state)

    @torch.no_grad()
    def validate(self, network: nn.Module, rounds: int) -> float:
        """Deviance per pixel of the patterns that nothing fits, after so many rounds with a network."""
        solver, state = self._problem.solver, self._problem.start
        solver.objective = self._whole
        for _ in range(rounds):
            state, seen = solver.physics(state)
            state = corrected(state, seen, answered(network, seen.maps, state.rounds), solver.amplitude)
        patterns: Sized = self._validation.corners[0]
        pixels = len(patterns) * int(self._whole.stack.good.sum())
        return self._validation(Unknowns(state.at.object)).loss / pixels


def split_patterns(scan: ScanData, most: int, share: float, seed: int) -> Parts:
    """Draw the patterns that validate, and take the others, so many at most, nearest to the middle of the scan.

    Patterns at the edge of the scan are fitted, so that the canvas of the fitted patterns holds all of them.

    Args:
        scan: The scan.
        most: Most patterns to use.
        share: Share of them that validate.
        seed: Of the choice.
    """
    away = np.linalg.norm(scan.positions_px - np.median(scan.positions_px, 0), axis=1)
    used = np.sort(np.argsort(away, kind="stable")[:most])
    positions = scan.positions_px[used]
    edge = np.concatenate([positions.argmin(0), positions.argmax(0)])
    free = np.setdiff1d(np.arange(len(used)), edge)
    count = min(len(free), max(1, round(share * len(used))))
    chosen = np.random.default_rng(seed).choice(free, count, replace=False)
    return Parts(np.delete(used, chosen), np.sort(used[chosen]))
