"""Reconstruct a thick sample of atoms by slices of phase alone: focus of the probe, equal slices, then their changes.

Electrons are scattered many times over in a crystal of some nanometres, so a thin sample is no start: its probe and its
object have explained what depth has done. The start is vacuum behind the probe of the scan, once its focus is found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64

from ptypinn._version import __version__
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.beam_centre import move_beam_behind, record_experiment
from ptypinn.data.beam_survey import BeamSurvey
from ptypinn.data.calibration import calibrate_probe, mean_photons, take_background_out
from ptypinn.data.depth import (
    SLICES,
    compute_gaps,
    describe_stack,
    flat_stack,
    measure_spacing,
    measure_tilt,
    restack,
)
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.solvers.iterative import MAX_NOISE_MISFIT, IterativeSolver, refuse_options
from ptypinn.solvers.iterative_terms import deduct_background, list_slow_terms, solve_terms
from ptypinn.solvers.multislice import require_thick_options
from ptypinn.solvers.postprocess import finalise
from ptypinn.solvers.probe_search import start_lens
from ptypinn.solvers.quasi_newton.problem import POSITION_MARGIN, QuasiNewtonResult
from ptypinn.solvers.short_solves import move_focus
from ptypinn.solvers.slice_search import StackChoice
from ptypinn.solvers.thickness_search import find_focus, find_thickness
from ptypinn.solvers.tilt_search import find_tilt
from ptypinn.solvers.unrolled.stack_tiles import plan_stack, solve_stack_tiled
from ptypinn.solvers.unrolled.tiled import plan_jobs
from ptypinn.utils.device import pick_device
from ptypinn.utils.progress import Progress, rename_stage

ROUNDS = ("rounds", "probe_rounds")
"""Options of the network's rounds."""
EQUAL = math.inf
"""Precision along depth of equal slices."""
HELD_ITERATIONS, EQUAL_ITERATIONS = 30, 45
"""Iterations for equal slices, behind the probe as it is and with the probe."""
MAX_ALIGNMENTS = 4
"""Maximum number of times that tilt and focus are searched in turn, as each moves the other."""
MIN_TILT_GAIN = 0.01
"""Smallest relative fall of the deviance of held-out pixels for which a tilt is taken in, and no less than its root."""
VARIATIONS, CHANGE_ITERATIONS = (0.03, 0.1, 0.3, 1.0), 25
"""Changes along depth that are tried, over the standard deviation of the phases, and iterations with each."""
LAST_ITERATIONS = 40
"""Iterations at the end, which take in the pixels that were held out, and expect the spectrum that the counts show."""
HELD_OUT_PERIOD = 50
"""One pixel in this many is held out, to choose the changes along depth by."""
MIN_CHANGE_RAD = 1e-5
"""Changes along depth below this are none, radians."""
MIN_LIGHT = 0.3
"""Illumination over its maximum from which phases count."""
MIN_GAIN = 0.002
"""Smallest relative fall of the deviance of held-out pixels for which slices are let change more."""


def reconstruct_phase_stack(
    scan: ScanData,
    config: ReconstructConfig,
    progress: Progress,
    watch: SnapshotCallback | None = None,
    beam: BeamSurvey | None = None,
    *,
    folder: Path | None = None,
) -> Reconstruction | None:
    """Reconstruct a thick sample of atoms.

    Args:
        scan: Far-field scan; a probe that it has may be out of focus, and a lens takes its place where it has none.
        config: Options of the reconstruction; those of rounds belong to the network.
        progress: Called after every iteration, or every tile.
        watch: Called after both with a function that returns the reconstruction so far.
        beam: The beam that the patterns show; None where they have not been looked at.
        folder: Folder for finished tiles until all are done; None for a temporary one.

    Returns:
        The reconstruction; None for a sample that is found to be thinner than two slices.

    Raises:
        InputError: For options that nothing reads, spacings that patterns do not sample, and slices beyond the memory.
    """
    require_thick_options(scan, config)
    refuse_options(config, ROUNDS, (), "slices that are not of phase alone: --slice-transmission complex")
    device = pick_device(config.device)
    if scan.probe is None or config.probe_model != "auto":
        scan = start_lens(scan, config, device, progress, beam)
    scan, offset = move_beam_behind(calibrate_probe(scan))
    plan_stack(scan, config, 2 if config.slices == "auto" else config.slices)
    choice = (run := _Run(config, device, progress, watch)).choose_stack(scan)
    if choice.slices == 1:
        return None
    scan, recon = run.solve_all(scan, choice, folder)
    if offset.distance_px:
        recon = replace(recon, provenance=record_experiment(recon, {**offset.to_record(), "ramp_in": "beam"}))
    scale, batch = config.prediction_scale, config.batch_size
    return finalise(recon, scan, device=device, batch=batch, match_flux=True, prediction_scale=scale)


def solve_phase_stack(
    scan: ScanData,
    start: Reconstruction | None,
    choice: StackChoice,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None = None,
) -> tuple[ScanData, Reconstruction]:
    """Solve a thick sample of atoms, or a tile of one, for probe and slices.

    Args:
        scan: Far-field scan with a calibrated probe.
        start: Vacuum on the canvas to solve on; None for that of the scan.
        choice: Number and spacing of the slices.
        config: Options of the reconstruction.
        device: Device to compute on.
        progress: Called after every iteration.
        watch: Called after every iteration with a function that returns the reconstruction so far.

    Returns:
        The scan, without a background that was found, and the reconstruction.
    """
    return _Run(config, device, progress, watch).solve(scan, choice, start)


@dataclass(frozen=True)
class _Run:
    """Solves of one call."""

    config: ReconstructConfig
    device: torch.device
    progress: Progress
    watch: SnapshotCallback | None
    solved: ReconstructConfig | None = None
    """Options that are solved with, where not those of the call."""

    @property
    def options(self) -> ReconstructConfig:
        """Options that are solved with."""
        return self.solved or self.config

    @property
    def moves_focus(self) -> bool:
        """True if the focus of the probe is open."""
        return self.config.refine_probe and self.config.assume != "ideal"

    @property
    def finds_tilt(self) -> bool:
        """True if the tilt of the sample is open."""
        return self.config.sample_tilt_mrad == "auto" and self.config.assume != "ideal"

    @property
    def may_hold_probe(self) -> bool:
        """True unless options ask for modes or a variation of the probe."""
        return self.config.probe_modes in (None, 1) and self.config.probe_variation != "solve"

    def choose_stack(self, scan: ScanData) -> StackChoice:
        """Return number and spacing of the slices."""
        config = self.config
        if config.slices != "auto" and config.spacings_m is not None:
            return StackChoice(np.resize(compute_gaps(scan, config.spacings_m), config.slices - 1))
        dimmed, solver = _dim_probe(scan), self.solver(EQUAL)
        thickness = find_thickness(dimmed, solver, self.progress, moves_focus=self.moves_focus)
        slices, spacing = thickness.slices, thickness.spacing
        if config.slices != "auto":
            spacing, slices = spacing * slices / config.slices, config.slices
        elif config.spacings_m is not None and slices > 1:
            depth, spacing = spacing * slices, 1 / float(compute_gaps(scan, config.spacings_m)[0])
            slices = max(1, round(depth / spacing))
        gaps = np.full(slices - 1, 1 / spacing)
        record: dict[str, Any] = {"chosen": config.slices == "auto"}
        if (lengths := measure_spacing(scan, gaps)) and config.spacings_m is None:
            record["spacing_uncertainty_m"] = lengths[0] * thickness.relative_error
        return StackChoice(gaps, record)

    def solve_all(self, scan: ScanData, choice: StackChoice, folder: Path | None) -> tuple[ScanData, Reconstruction]:
        """Solve a scan, in tiles where the memory demands it; arguments and results are those of `solve`."""
        if len(plan_stack(scan, self.config, choice.slices).tiles) == 1:
            return self.solve(scan, choice, None)
        options = choice, self.config, self.device, self.progress, self.watch
        jobs = plan_jobs(self.config)
        return solve_stack_tiled(solve_phase_stack, scan, None, *options, jobs=jobs, folder=folder)

    def solve(
        self, scan: ScanData, choice: StackChoice, start: Reconstruction | None
    ) -> tuple[ScanData, Reconstruction]:
        """Solve for probe and slices: equal ones first, which then may change along depth.

        Args:
            scan: Scan with a calibrated probe.
            choice: Number and spacing of the slices.
            start: Vacuum on the canvas to solve on; None for that of the scan.

        Returns:
            The scan, without a background that was found, and the reconstruction.
        """
        part = _dim_probe(scan.replace(gap_fresnel_numbers=choice.gap_fresnel_numbers))
        part, run, recon, error = self.solve_aligned(part, start)
        recon, variation, deviances = run.let_change(part, recon)
        solver = run.solver(_depth_precision(recon, variation))
        recon = solve_terms(part, recon, solver)
        if recon.background is not None and not run.options.refine_probe:  # a free one has given up these photons
            part, factor = take_background_out(part, recon.background)
            recon = replace(recon, probe=recon.probe * np.float32(factor))
        part = recon.scan_part(part)
        prior = solver.measure_misfit(part, recon) < MAX_NOISE_MISFIT
        last = solver.iterate(part, LAST_ITERATIONS, recon, unknowns=list_slow_terms(recon), prior=prior)
        record = {
            **describe_stack(part, choice.gap_fresnel_numbers),
            **error,
            **choice.record,
            "transmission": "phase",
            "depth_variation": variation,
            "depth_deviance": deviances,
            "holds_probe": run is not self,
        }
        scan, _ = deduct_background(scan, recon)
        factor = float(np.sqrt(_power(scan.require_probe()) / _power(last.probe)))
        return scan, replace(last, provenance={**recon.provenance, SLICES: record}).scale_probe(factor)

    def solve_aligned(
        self, part: ScanData, start: Reconstruction | None
    ) -> tuple[ScanData, _Run, Reconstruction, dict[str, float]]:
        """Find focus of the probe and tilt of the sample, as far as they are open, and solve for equal slices.

        A tilt that lets short solves of equal slices explain more may be none: slices that differ lie beside each other
        as well. So it has to predict held-out pixels of the whole scan better.

        Returns:
            The scan with focus and tilt, the run to go on with, the reconstruction, and the uncertainty of the tilt for
            the record of the stack, if one was found.
        """
        if self.moves_focus:
            part = move_focus(part, find_focus(part, self.solver(EQUAL), self.progress))
        run, recon = self.solve_equal(part, start)
        if not self.finds_tilt:
            return part, run, recon, {}
        tilted, error = self.find_tilt_and_focus(part)
        if tilted.sample_tilt is None:
            return part, run, recon, {}
        leaning, other = self.solve_equal(tilted, start)
        before, after = _held_out(recon), _held_out(other)
        if before - after < max(MIN_TILT_GAIN * before, before**0.5):
            return part, run, recon, {}
        spread = measure_tilt(part, [error])
        return tilted, leaning, other, {} if spread is None else {"tilt_uncertainty_mrad": spread[0]}

    def find_tilt_and_focus(self, part: ScanData) -> tuple[ScanData, float]:
        """Return the scan with the tilt of the sample and the focus behind it, and the standard error of the tilt."""
        solver = self.solver(EQUAL)
        for _ in range(MAX_ALIGNMENTS):
            before = part.sample_tilt
            part, error = find_tilt(part, solver, self.progress)
            tilt = part.sample_tilt
            if tilt is None or (before is not None and np.hypot(*(tilt - before)) < error):
                break
            if self.moves_focus:
                part = move_focus(part, find_focus(part, solver, self.progress, is_near=True))
        return part, error

    def solve_equal(self, part: ScanData, start: Reconstruction | None) -> tuple[_Run, Reconstruction]:
        """Solve for equal slices, first behind the probe as it is.

        Returns:
            The run to go on with, which holds the probe where a free one predicts held-out pixels worse, and the
            reconstruction.
        """
        equal, vacuum = self.solver(EQUAL), flat_stack(part, int(POSITION_MARGIN * part.size))
        if start is not None:
            gaps = part.gap_fresnel_numbers
            assert gaps is not None
            vacuum = replace(start, slices=restack(start.object, len(gaps) + 1), gap_fresnel_numbers=gaps)
        vacuum = replace(vacuum, probe=part.require_probe())
        held = equal.iterate(part, HELD_ITERATIONS, vacuum, hold_probe=True, held_out_period=HELD_OUT_PERIOD)
        if not self.config.refine_probe:
            return self, held
        free = equal.iterate(part, EQUAL_ITERATIONS, held, held_out_period=HELD_OUT_PERIOD)
        if self.may_hold_probe and _held_out(free) >= _held_out(held):
            return replace(self, solved=_hold_probe(self.config)), held
        return self, free

    def solver(self, precision: float) -> IterativeSolver:
        """Return the solver of slices whose changes along depth have a precision."""
        return IterativeSolver(
            self.options,
            self.device,
            rename_stage(self.progress, "slices"),
            self.watch,
            self._to_reconstruction,
            depth_precision=precision,
        )

    def let_change(self, part: ScanData, recon: Reconstruction) -> tuple[Reconstruction, float, list[float]]:
        """Let slices differ ever more while held-out pixels are predicted better.

        Returns:
            The best reconstruction, its changes along depth over the standard deviation of the phases, and the
            deviances of held-out pixels.
        """
        best, deviances = 0.0, [_held_out(recon)]
        option = self.config.depth_variation
        is_open = option == "auto"
        for variation in VARIATIONS if option == "auto" else [option] * (option > 0):
            solver = self.solver(_depth_precision(recon, variation))
            trial = solver.iterate(part, CHANGE_ITERATIONS, recon, held_out_period=HELD_OUT_PERIOD)
            deviances.append(_held_out(trial))
            if is_open and deviances[-2] - deviances[-1] < MIN_GAIN * deviances[-2]:
                break
            recon, best = trial, variation
        return recon, best, deviances

    def _to_reconstruction(self, scan: ScanData, result: QuasiNewtonResult) -> Reconstruction:
        record: Mapping[str, Any] = {
            "stage": "reconstruct",
            "solver": "multislice",
            "version": __version__,
            "config": asdict(self.config),
        }
        return result.reconstruction(scan, {**record, **result.notes})


def _hold_probe(config: ReconstructConfig) -> ReconstructConfig:
    """Return options that take the probe as it is: where light is scarce, a free one fits noise."""
    return replace(config, refine_probe=False, probe_rounds=None, probe_modes=None, probe_variation="auto")


def _depth_precision(recon: Reconstruction, variation: float) -> float:
    """Return the precision of changes along depth, 1 / rad^2.

    Args:
        recon: Reconstruction with slices.
        variation: Standard deviation of these changes over that of the phases, where the scan has light.
    """
    assert recon.slices is not None
    lit = recon.illumination > MIN_LIGHT * recon.illumination.max()
    changes = variation * float(np.angle(recon.slices[:, lit]).std())
    return 1 / (2 * changes**2) if changes > MIN_CHANGE_RAD else EQUAL


def _held_out(recon: Reconstruction) -> float:
    """Return the deviance of held-out pixels after the last iteration; infinite where not even the first descends."""
    return recon.history.get("held_out_loss", [math.inf])[-1]


def _dim_probe(scan: ScanData) -> ScanData:
    """Return a scan whose probe has the counts of the mean pattern: slices of phase alone stop no electrons.

    Those that miss the detector are part of the transmission in the end.
    """
    probe = scan.require_probe()
    factor = np.sqrt(mean_photons(scan) / _power(probe))
    return scan.replace(probe=(probe * factor).astype(np.complex64))


def _power(probe: Complex64[np.ndarray, "mode y x"]) -> float:
    """Return the electrons of a probe over all modes."""
    return float(np.square(np.abs(probe)).sum(dtype=np.float64))
