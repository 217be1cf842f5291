"""Go on from the learned solver's result: the iterative solver finds what is missing, rounds take its noise away."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.solvers.quasi_newton.preconditioner import compute_illumination_stats
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.solvers.quasi_newton.phases import FINISH_ITERATIONS
from ptypinn.solvers.unrolled.loop import rms_amplitude
from ptypinn.solvers.unrolled.problem import HELD_OUT_PERIOD, ScanContext, UnrolledOptions
from ptypinn.solvers.unrolled.solver import UnrolledResult, solve_scan
from ptypinn.utils.progress import Progress, Watch, relayed

MAX_CYCLE = 15
"""Most iterations of the quasi-Newton solver before rounds of the learned one take away the noise they have fitted."""
MIN_GAIN, MIN_GAIN_ABSOLUTE = 2e-3, 3.0
"""A cycle that gains less than this share of the held-out loss, or less than this, is undone, and the last: chance may
gain as much. The loss is a log-likelihood."""
TOLERANCE = 1e-4
"""A cycle's iterations end where the data term gains less over five of them."""
CLEANING_ROUNDS = 2
"""Rounds that end a cycle."""
FINAL_ROUNDS = 1
"""Rounds on all pixels after those that some were held out of."""


class Polisher:
    """Quasi-Newton iterations on the likelihood of the counts, in cycles that held-out pixels judge.

    Args:
        scan: The scan.
        network: Of the learned solver.
        config: How many iterations, and what they solve for.
        device: Where to solve.
        progress: Told about every iteration.
        watch: Called after every iteration and round.
    """

    def __init__(
        self,
        scan: ScanData,
        network: UnrolledCorrection,
        config: ReconstructConfig,
        device: torch.device,
        progress: Progress,
        watch: Watch | None,
    ) -> None:
        self.scan, self.network, self.config, self.device = scan, network, config, device
        self.progress, self.watch = progress, watch
        self.done, self.passes, self.kept, self.history = 0, 0, 0, dict[str, list[float]]()

    def __call__(self, found: Reconstruction) -> Reconstruction:
        """Polish the learned solver's result, which has not seen the held-out pixels."""
        stopped, least, clean = "iterations", math.nan, True
        for iterations in split_into_cycles(self.config.polish):
            rough, before = self._iterate(found, iterations, HELD_OUT_PERIOD)
            least = before if math.isnan(least) else least
            cleaned = self._rounds(rough, CLEANING_ROUNDS, judged=True)
            held_out = cleaned.history["held_out_loss"]  # before the first of the rounds, ..., after the last
            gain = 1 - min(held_out[0], held_out[-1]) / least
            if not gain >= max(MIN_GAIN, MIN_GAIN_ABSOLUTE / least):
                stopped = "held-out loss"
                break
            clean, least, self.kept = held_out[-1] <= held_out[0], (1 - gain) * least, self.kept + 1
            found = replace(rough, object=cleaned.object) if clean else rough
        found = self._closed(found, clean)
        history = {**found.history, **{f"polish_{name}": values for name, values in self.history.items()}}
        return replace(found, history=history, provenance={**found.provenance, "polish": self._notes(stopped)})

    def _closed(self, found: Reconstruction, clean: bool) -> Reconstruction:
        """Take in the pixels that were held out, in the way that these found better.

        Rounds are averaged with what they began with, as `solve_scan` averages its last ones.
        """
        if clean:
            closed = self._rounds(found, FINAL_ROUNDS, judged=False)
            return replace(found, object=(found.object + closed.object) / 2)
        return self._iterate(found, FINISH_ITERATIONS, None)[0]

    def _iterate(self, found: Reconstruction, iterations: int, period: int | None) -> tuple[Reconstruction, float]:
        """What so many iterations make of a reconstruction, and its loss on the held-out pixels before them."""
        config, before = self.config, self.done
        options = QuasiNewtonOptions(
            iterations=iterations,
            probe_modes=config.probe_modes,
            refine_probe=config.refine_probe,
            refine_positions=config.refine_positions,
            loss="poisson",
            early_stop=True,
            tolerance=TOLERANCE,
        )

        def report(stage: str, done: int, total: int, /, **figures: float) -> None:
            self.done = before + done
            self.progress("polish", self.done, max(self.done, config.polish), **figures)

        problem, made = QuasiNewtonProblem(self.scan, options, self.device, found, held_out_period=period), partial(_rough, found)
        with torch.no_grad():
            result = problem.solve(report, relayed(self.watch, made))
        self.passes += result.notes["passes"]
        for name, values in result.history.items():
            self.history.setdefault(name, []).extend(values)
        return made(result), result.held_out_before

    def _rounds(self, found: Reconstruction, rounds: int, *, judged: bool) -> UnrolledResult:
        """Rounds from a reconstruction, with the probe and the positions that are found."""
        options = UnrolledOptions(
            refine_probe=False,
            loss=self.config.loss,
            judged=judged,
            half=self.config.precision == "bf16",
            near=True,
        )
        known = self.scan.replace(
            probe=found.probe, positions_px=found.positions_px + np.asarray(found.origin_px, float)
        )
        light, canvas = torch.from_numpy(found.illumination), torch.from_numpy(found.object)
        brightest = float((np.abs(found.probe) ** 2).sum(0).max())
        start = ScanContext(
            found.origin_px,
            found.object,
            compute_illumination_stats(light, canvas, brightest),
            rms_amplitude(canvas, light),
            np.arange(self.scan.n_patterns),
        )

        def closed(solution: UnrolledResult) -> Reconstruction:
            return replace(found, object=solution.object)

        seen = relayed(self.watch, closed)
        solution = solve_scan(known, self.network, options, rounds, self.device, whole=start, watch=seen)
        self.passes += solution.passes
        return solution

    def _notes(self, stopped: str) -> dict[str, Any]:
        return {
            "iterations": self.done,
            "cycles_kept": self.kept,
            "stopped": stopped,
            "passes": self.passes,
        }


def _rough(found: Reconstruction, result: QuasiNewtonResult) -> Reconstruction:
    """A reconstruction with what iterations have made of it."""
    return replace(
        found,
        object=result.object,
        illumination=result.illumination,
        probe=result.probe,
        positions_px=result.positions_px,
    )


def split_into_cycles(iterations: int) -> list[int]:
    """Iterations dealt out evenly to as few cycles as they fit."""
    number = -(-iterations // MAX_CYCLE)
    return [len(part) for part in np.array_split(np.arange(iterations), number)]
