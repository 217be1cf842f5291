"""Quasi-Newton solves of scans that the network was not trained for, with trials of terms of the experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.shared import option_name, show_value
from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.solvers.experiment import Finding
from ptypinn.solvers.probe_terms import ModesTerm
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.solvers.scan_terms import PositionsTerm
from ptypinn.solvers.term import Term
from ptypinn.utils.progress import Progress, map_callback

MODES = 3
"""Modes of the probe that are tried."""
TERM_ITERATIONS = 60
"""Iterations with a term of the experiment."""
MIN_GAIN = 0.1
"""Smallest fraction of the misfit above counting noise that a term has to explain."""
MAX_NOISE_MISFIT = 1.5
"""Misfit up to which iterations expect the spectrum of the object that the counts show: above, it is not counting noise
that is to be kept out."""
TOLERANCE = 3e-5
"""Gain of the loss over five iterations below which a solve has converged."""

ToReconstruction = Callable[[ScanData, QuasiNewtonResult], Reconstruction]


@dataclass(frozen=True)
class IterativeSolver:
    """The quasi-Newton solver with the options of one call of `reconstruct`."""

    config: ReconstructConfig
    device: torch.device
    progress: Progress
    watch: SnapshotCallback | None
    to_reconstruction: ToReconstruction
    """Makes a reconstruction of a scan of the result of a solve."""
    depth_precision: float | None = None
    """Slices are of phase alone, with this precision of their changes along depth; None for complex ones."""

    def solve(
        self,
        scan: ScanData,
        iterations: int,
        initial: Reconstruction | None = None,
        *,
        hold_probe: bool = False,
        positions: bool = False,
        modes: int | None = None,
        prior: bool = False,
        held_out_period: int | None = None,
    ) -> Reconstruction:
        """Solve a scan from its start, or from a reconstruction.

        Args:
            scan: The scan, with a calibrated probe and its terms.
            iterations: Maximum number of iterations.
            initial: Reconstruction to start from.
            hold_probe: Take the probe as it is.
            positions: Solve for the positions too.
            modes: Modes of the probe; those that the options ask for where None.
            prior: Expect the spectrum of the object that the counts show.
            held_out_period: One pixel in this many is held out; none where None.
        """
        options = QuasiNewtonOptions(
            iterations=iterations,
            probe_modes=modes or self.config.probe_modes,
            refine_probe=self.config.refine_probe and not hold_probe,
            refine_positions=positions,
            loss=self.config.loss,
            prior=prior,
            tolerance=TOLERANCE,
            depth_precision=self.depth_precision,
        )
        finish = partial(self.to_reconstruction, scan)
        with torch.no_grad():
            problem = QuasiNewtonProblem(scan, options, self.device, initial, held_out_period=held_out_period)
            return finish(solve_problem(problem, self.progress, map_callback(self.watch, finish)))

    def measure_misfit(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the amplitude residual over the one that counting noise explains."""
        arrays = recon.sample, recon.probe, recon.positions_px
        return compute_data_fit(recon.scan_part(scan), *arrays, batch=self.config.batch_size, device=self.device).misfit


def solve_terms(scan: ScanData, recon: Reconstruction, solver: IterativeSolver) -> Reconstruction:
    """Solve for positions and further modes; take them in where they explain enough, and record both.

    Args:
        scan: The scan.
        recon: Its reconstruction as an ideal experiment.
        solver: The solver.
    """
    names, forced = solver.config.solved_terms(), solver.config.forced_terms()
    trials: list[tuple[Term, dict[str, Any]]] = [(PositionsTerm(), {"positions": True})]
    if solver.config.refine_probe:
        trials.append((ModesTerm(), {"modes": MODES}))
    findings, taken = dict[str, Finding](), dict[str, Any]()
    before = solver.measure_misfit(scan, recon)
    for term, options in trials:
        if term.name not in names or (before < term.min_misfit and term.name not in forced):
            continue
        solved = {**taken, **options}
        trial = solver.solve(recon.scan_part(scan), TERM_ITERATIONS, recon, **solved)
        if "positions" in solved:
            trial = replace(trial, provenance=record_experiment(trial, {"positions": {"corrected": True}}))
        after = solver.measure_misfit(scan, trial)
        size, details = term.measure(scan, trial), term.describe(scan, trial)
        findings[term.name] = Finding(size, 0.0, before, after, MIN_GAIN, details)
        if findings[term.name].is_corrected or term.name in forced:
            recon, before, taken = trial, after, solved
    records = {name: finding.to_record(taken=name in taken) for name, finding in findings.items()}
    return replace(recon, provenance=record_experiment(recon, records)) if records else recon


def refuse_options(config: ReconstructConfig, names: Sequence[str], terms: Sequence[str], expected: str) -> None:
    """Raise `InputError` for options that nothing reads.

    Args:
        config: The options.
        names: Names of those that must have their defaults.
        terms: Names of terms of the experiment that must not be asked for.
        expected: Description of what reads them.
    """
    values = {name: getattr(config, name) for name in names}
    values |= {name: value for name in terms if (value := getattr(config, name)) == "solve"}
    for name, value in values.items():
        if value:
            raise InputError(option_name(name), "", show_value(value), expected)
