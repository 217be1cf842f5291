"""Self-supervised score of a correction, from held-out pixels of the scan itself, without a truth.

The physical passes of a solution leave some pixels of every pattern out. Counts of different pixels are independent, so
the likelihood of those pixels scores the corrected canvas independently of the noise that the passes have fitted
(noise2noise; Lehtinen et al., ICML 2018). Validation patterns, which are never fitted, score the network as a whole.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ptypinn.data.scan import ScanData
from ptypinn.losses import HELD_OUT_DEVIANCE
from ptypinn.models.blocks import Maps
from ptypinn.models.unrolled import CanvasFeatures, to_object_update
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.unrolled.loop import Iterate, apply_correction, apply_network
from ptypinn.solvers.unrolled.problem import UnrolledOptions, build_objective, build_problem
from ptypinn.solvers.unrolled.solver import UnrolledResult, to_result

Numbers = Int64[np.ndarray, " _"]


class FittedPixels(HeldOutPixels):
    """The complement of `HeldOutPixels`: an objective without these pixels covers the held-out ones alone."""

    def __init__(self, good: Bool[Tensor, "y x"], period: int, pattern_index: Tensor) -> None:
        """Build the lattices; arguments as those of `HeldOutPixels`."""
        super().__init__(good, period, pattern_index=pattern_index)
        held = torch.zeros(period, good.numel(), dtype=torch.bool, device=good.device)
        held.scatter_(1, self._pixels, True)
        order = torch.argsort(held.int(), dim=1, stable=True)  # of every lattice, the fitted pixels come first
        width, fitted = int((~held).sum(1).max()), ~held.gather(1, order)
        self._pixels = torch.where(fitted, order, order[:, :1])[:, :width]
        self._weights = (fitted & good.flatten()[order])[:, :width].float()


@dataclass(frozen=True)
class HeldOutScore:
    """Score of a correction on held-out pixels."""

    loss: float
    """Deviance of the corrected canvas per held-out pixel."""
    gradient: Float[Tensor, "1 output height width"]
    """Gradient by the network's output, relative to the error that its unit predicts."""


@dataclass(frozen=True)
class PatternSplit:
    """Split of the patterns into training and validation."""

    train: Numbers
    """Patterns that the physical passes fit."""
    val: Numbers
    """Patterns that are never fitted."""


class SelfSupervision:
    """Self-supervision of the network by a scan.

    Args:
        scan: Scan with the probe to solve with; a guessed probe is refined before (`solver.find_probe`).
        options: Options of the solver.
        parts: Training and validation patterns.
        period: One pixel in so many of every training pattern is held out.
        device: Device of the solver.
    """

    def __init__(
        self, scan: ScanData, options: UnrolledOptions, parts: PatternSplit, period: int, device: torch.device
    ) -> None:
        self.period, self._fits = period, torch.from_numpy(parts.train).to(device)
        self._scan = scan.subset(parts.train)
        self._problem = build_problem(self._scan, None, options, device)
        self._whole = self._problem.solver.objective
        unseen = build_objective(scan.subset(parts.val), self._whole.probe, options, self._problem.origin)
        self._validation = replace(unseen, likelihood=HELD_OUT_DEVIANCE, held_out=None)
        self._held_out = replace(self._whole, likelihood=HELD_OUT_DEVIANCE)

    def begin(self, turn: int) -> Iterate:
        """Start a solution with other held-out pixels.

        Args:
            turn: Number of the choice of pixels, which repeats after `period` turns.
        """
        good = self._whole.stack.good
        pattern_index = self._fits + turn
        objective = replace(self._whole, held_out=HeldOutPixels(good, self.period, pattern_index))
        self._problem = self._problem.with_objective(objective)
        self._held_out = replace(self._held_out, held_out=FittedPixels(good, self.period, pattern_index))
        return self._problem.start

    def physics(self, state: Iterate) -> tuple[Iterate, CanvasFeatures]:
        """Run the physical passes of a round and compute the network's input."""
        return self._problem.solver.data_steps(state)

    def score_correction(
        self, state: Iterate, features: CanvasFeatures, correction: Maps
    ) -> tuple[Iterate, HeldOutScore]:
        """Apply a correction and score it on the held-out pixels.

        Args:
            state: State after the physical passes.
            features: Input of the network.
            correction: Output of the network.
        """
        with torch.enable_grad():
            correction = correction.detach().requires_grad_()
            change = to_object_update(correction, features.unit)
        state = apply_correction(state, features, correction.detach(), self._problem.solver.amplitude)
        evaluation = self._held_out(Unknowns(state.point.object))
        expected = (self._problem.solver.preconditioner.illumination * features.unit.square()).sum() / self.period
        (gradient,) = torch.autograd.grad(change, correction, evaluation.gradient.object * (2 / expected))
        pixels = len(self._fits) * int(self._whole.stack.good.sum()) / self.period
        return state, HeldOutScore(float(evaluation.loss) / pixels, gradient)

    def solution(self, state: Iterate) -> UnrolledResult:
        """Return a state on the host."""
        return to_result(self._problem, self._scan, state)

    @torch.no_grad()
    def validate(self, network: nn.Module, rounds: int) -> float:
        """Return the deviance per pixel of the validation patterns after so many rounds with a network."""
        solver, state = self._problem.solver.with_objective(self._whole), self._problem.start
        for _ in range(rounds):
            state, features = solver.data_steps(state)
            state = apply_correction(
                state, features, apply_network(network, features.maps, state.rounds), solver.amplitude
            )
        patterns: Sized = self._validation.corners[0]
        pixels = len(patterns) * int(self._whole.stack.good.sum())
        return float(self._validation(Unknowns(state.point.object)).loss) / pixels


def split_patterns(scan: ScanData, max_patterns: int, fraction: float, seed: int) -> PatternSplit:
    """Split the patterns nearest to the middle of the scan into training and validation.

    Patterns at the edge of the scan are fitted, so that the canvas of the fitted patterns holds all of them.

    Args:
        scan: The scan.
        max_patterns: Maximum number of patterns to use.
        fraction: Fraction of them for validation.
        seed: Seed of the choice.
    """
    away = np.linalg.norm(scan.positions_px - np.median(scan.positions_px, 0), axis=1)
    used = np.sort(np.argsort(away, kind="stable")[:max_patterns])
    positions = scan.positions_px[used]
    edge = np.concatenate([positions.argmin(0), positions.argmax(0)])
    free = np.setdiff1d(np.arange(len(used)), edge)
    count = min(len(free), max(1, round(fraction * len(used))))
    chosen = np.random.default_rng(seed).choice(free, count, replace=False)
    return PatternSplit(np.delete(used, chosen), np.sort(used[chosen]))
