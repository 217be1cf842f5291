"""Polish: quasi-Newton iterations recover what the rounds have missed, rounds remove the noise that those fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.solvers.quasi_newton.phases import FINISH_ITERATIONS, solve_problem
from ptypinn.solvers.quasi_newton.preconditioner import compute_illumination_stats
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.solvers.unrolled.loop import rms_amplitude
from ptypinn.solvers.unrolled.problem import HELD_OUT_PERIOD, ScanContext, UnrolledOptions
from ptypinn.solvers.unrolled.solver import UnrolledResult, solve_scan
from ptypinn.utils.progress import Progress, map_callback

MAX_CYCLE = 15
"""Upper bound of the quasi-Newton iterations before rounds remove the noise that they have fitted."""
MIN_GAIN, MIN_GAIN_ABSOLUTE = 2e-3, 3.0
"""A cycle that gains less than this fraction of the held-out loss, or less than this, is undone, and the last: chance
may gain as much. The loss is a log-likelihood."""
TOLERANCE = 1e-4
"""The iterations of a cycle end where the data term gains less over five of them."""
CLEANING_ROUNDS = 2
"""Rounds at the end of a cycle."""
FINAL_ROUNDS = 1
"""Rounds on all pixels after those without the held-out ones."""


def polish(
    reconstruction: Reconstruction,
    scan: ScanData,
    network: UnrolledCorrection,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None = None,
) -> Reconstruction:
    """Run quasi-Newton iterations on the likelihood of the counts, in cycles; held-out pixels decide when to stop.

    Args:
        reconstruction: Result of the unrolled solver, which has not fitted the held-out pixels.
        scan: The scan.
        network: Of the unrolled solver.
        config: Upper bound of the iterations, and the unknowns.
        device: Device to solve on.
        progress: Called after every iteration, as the stage `polish`.
        watch: Called after every iteration and round.
    """
    run = _Run(scan, network, config, device, progress, watch)
    stopped, min_loss, clean = "iterations", math.nan, True
    for iterations in split_into_cycles(config.polish or 0):
        rough, loss_before = run.iterate(reconstruction, iterations, HELD_OUT_PERIOD)
        min_loss = loss_before if math.isnan(min_loss) else min_loss
        cleaned = run.rounds(rough, CLEANING_ROUNDS, hold_out=True)
        held_out = cleaned.history["held_out_loss"]  # before the first of the rounds, ..., after the last
        gain = 1 - min(held_out[0], held_out[-1]) / min_loss
        if not gain >= max(MIN_GAIN, MIN_GAIN_ABSOLUTE / min_loss):
            stopped = "held-out loss"
            break
        clean, min_loss, run.cycles = held_out[-1] <= held_out[0], (1 - gain) * min_loss, run.cycles + 1
        reconstruction = replace(rough, object=cleaned.object) if clean else rough
    reconstruction = run.finish(reconstruction, clean)
    history = {**reconstruction.history, **{f"polish_{name}": values for name, values in run.history.items()}}
    provenance = {**reconstruction.provenance, "polish": run.record(stopped)}
    return replace(reconstruction, history=history, provenance=provenance)


@dataclass
class _Run:
    """State of one polish."""

    scan: ScanData
    network: UnrolledCorrection
    config: ReconstructConfig
    device: torch.device
    progress: Progress
    watch: SnapshotCallback | None
    iterations: int = 0
    passes: int = 0
    cycles: int = 0
    """Cycles that gained."""
    history: dict[str, list[float]] = field(default_factory=dict)

    def finish(self, reconstruction: Reconstruction, clean: bool) -> Reconstruction:
        """Take in the pixels that were held out, in the way that these found better.

        Rounds are averaged with what they began with, as `solve_scan` averages its last ones.
        """
        if clean:
            final = self.rounds(reconstruction, FINAL_ROUNDS, hold_out=False)
            return replace(reconstruction, object=(reconstruction.object + final.object) / 2)
        return self.iterate(reconstruction, FINISH_ITERATIONS, None)[0]

    def iterate(
        self, reconstruction: Reconstruction, iterations: int, period: int | None
    ) -> tuple[Reconstruction, float]:
        """Run quasi-Newton iterations; return the result, and the loss on the held-out pixels before them."""
        config = self.config
        options = QuasiNewtonOptions(
            iterations=iterations,
            probe_modes=config.probe_modes,
            refine_probe=config.refine_probe,
            refine_positions=config.refine_positions,
            loss="poisson",
            tolerance=TOLERANCE,
        )
        scan = self.scan.replace(probe_variation=reconstruction.probe_variation)
        problem = QuasiNewtonProblem(scan, options, self.device, reconstruction, held_out_period=period)
        to_reconstruction = partial(_with_result, reconstruction)
        with torch.no_grad():
            result = solve_problem(problem, self._offset_progress(), map_callback(self.watch, to_reconstruction))
        self.passes += result.notes["passes"]
        for name, values in result.history.items():
            self.history.setdefault(name, []).extend(values)
        return to_reconstruction(result), result.held_out_before

    def rounds(self, reconstruction: Reconstruction, rounds: int, *, hold_out: bool) -> UnrolledResult:
        """Run rounds of the unrolled solver from a reconstruction, with its probe and its positions held."""
        options = UnrolledOptions(
            refine_probe=False,
            loss=self.config.loss,
            hold_out=hold_out,
            bf16=self.config.precision == "bf16",
            warm_start=True,
        )
        positions = reconstruction.positions_px + np.asarray(reconstruction.origin_px, float)
        images = reconstruction.probe_variation
        scan = self.scan.replace(probe=reconstruction.probe, probe_variation=images, positions_px=positions)

        def to_reconstruction(result: UnrolledResult) -> Reconstruction:
            return replace(reconstruction, object=result.object)

        watch, context = map_callback(self.watch, to_reconstruction), _scan_context(reconstruction)
        result = solve_scan(scan, self.network, options, rounds, self.device, context=context, watch=watch)
        self.passes += result.passes
        return result

    def record(self, stopped: str) -> dict[str, Any]:
        """Return the record of the polish for the provenance."""
        return {"iterations": self.iterations, "cycles_kept": self.cycles, "stopped": stopped, "passes": self.passes}

    def _offset_progress(self) -> Callable[..., None]:
        before = self.iterations

        def report(stage: str, done: int, total: int, /, **figures: float) -> None:
            self.iterations = before + done
            self.progress("polish", self.iterations, max(self.iterations, self.config.polish or 0), **figures)

        return report


def _scan_context(reconstruction: Reconstruction) -> ScanContext:
    """Return a reconstruction as the start of rounds on its canvas."""
    illumination, canvas = torch.from_numpy(reconstruction.illumination), torch.from_numpy(reconstruction.object)
    brightest = float((np.abs(reconstruction.probe) ** 2).sum(0).max())
    return ScanContext(
        origin=reconstruction.origin_px,
        start=reconstruction.object,
        stats=compute_illumination_stats(illumination, canvas, brightest),
        amplitude=rms_amplitude(canvas, illumination),
        pattern_index=np.arange(len(reconstruction.positions_px)),
    )


def _with_result(reconstruction: Reconstruction, result: QuasiNewtonResult) -> Reconstruction:
    """Return a reconstruction with the arrays of quasi-Newton iterations."""
    return replace(
        reconstruction,
        object=result.object,
        illumination=result.illumination,
        probe=result.probe,
        positions_px=result.positions_px,
        probe_variation=result.probe_variation,
    )


def split_into_cycles(iterations: int) -> list[int]:
    """Split iterations evenly into the smallest number of cycles of at most `MAX_CYCLE`.

    >>> split_into_cycles(20)
    [10, 10]
    """
    number = -(-iterations // MAX_CYCLE)
    return [len(part) for part in np.array_split(np.arange(iterations), number)]
