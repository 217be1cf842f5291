"""Reconstruct a scan with the unrolled solver, polish it where asked for, and finalise the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64

from ptypinn._version import __version__
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.beam_centre import (
    drop_false_offset,
    estimate_ramp,
    flatten_curvature,
    move_ramp_behind,
    move_ramp_to_probe,
    restore_ramp,
)
from ptypinn.data.beam_survey import BeamSurvey
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.descan import follows_disk
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.metrics.misfit_causes import record_unsought
from ptypinn.models.model_file import Weights
from ptypinn.solvers.core_trials import CORE_MODES
from ptypinn.solvers.experiment import deduct_background, solve_experiment
from ptypinn.solvers.multislice import find_stack, record_stack, require_thick_options, solve_stack
from ptypinn.solvers.postprocess import finalise
from ptypinn.solvers.probe_terms import MODE_ROUNDS
from ptypinn.solvers.slice_search import StackChoice
from ptypinn.solvers.term import MAX_CANVAS_PX, WHOLE_TERMS
from ptypinn.solvers.unrolled.polish import FINAL_ROUNDS, polish
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rounds import PROBE_ROUNDS, default_rounds, estimate_dose
from ptypinn.solvers.unrolled.solver import UnrolledResult
from ptypinn.solvers.unrolled.stack_tiles import plan_stack, solve_stack_tiled
from ptypinn.solvers.unrolled.tiled import plan_jobs, solve_tiled
from ptypinn.utils.device import pick_device
from ptypinn.utils.progress import Progress, map_callback

POLISH = 45
"""Iterations of polishing where terms of the experiment were taken in."""
DEEP_TERMS = frozenset({"modes", "positions", "probe_variation"})
"""Terms that leave much unexplained until they are solved for, so that first rounds which stagnate may end."""
DRAFT_PROBE_ROUNDS, DRAFT_ROUNDS = 12, 6
"""Rounds of a draft, for the probe and for the object."""


def reconstruct_unrolled(
    scan: ScanData,
    weights: Weights,
    config: ReconstructConfig,
    progress: Progress,
    *,
    folder: Path | None = None,
    watch: SnapshotCallback | None = None,
    beam: BeamSurvey | None = None,
    solved_probe: Complex64[np.ndarray, "mode y x"] | None = None,
) -> Reconstruction:
    """Solve a scan by rounds of the unrolled solver.

    Args:
        scan: Far-field scan; its probe may be a rough guess, and one is found where it has none.
        weights: The network.
        config: Options of the reconstruction.
        progress: Called after every round or tile, and every iteration of polishing.
        folder: Folder for finished tiles until all are done; None for a temporary one.
        watch: Called after every round, every iteration, and every tile but the last.
        beam: The beam that the patterns show; None where they have not been looked at.
        solved_probe: Probe that was solved for on this scan before, with the ramp of its patterns, of any power: the
            first rounds hold it. The probe of the scan gives its place and its power.

    Raises:
        InputError: Where lengths of the probe are given that need an object pixel or a wavelength, and there is none.
    """
    device, names = pick_device(config.device), _open_terms(scan, config)
    if config.slices != 1:
        require_thick_options(scan, config)
    if scan.probe is None or (config.probe_model != "auto" and solved_probe is None):
        from ptypinn.solvers.probe_search import start_probe

        scan = start_probe(scan, config, device, progress, beam)
    scan = calibrate_probe(scan)
    if config.slices != 1:
        plan_stack(scan, config, 2 if config.slices == "auto" else config.slices)
    offset = estimate_ramp(scan)
    settle = partial(restore_ramp, offset=offset, probe_solved=config.refine_probe)
    centred = move_ramp_to_probe(scan, offset)
    run = _Run(
        weights,
        config,
        centred.require_probe(),
        device,
        progress,
        folder,
        map_callback(watch, settle),
        hold_out=bool(config.polish),
    )
    choice = None
    if config.slices != 1:
        behind, draft = move_ramp_behind(*_flatten_draft(scan, run.solve(centred, is_draft=True), config), offset)
        choice = find_stack(behind, draft, config, device, progress)
        if choice.slices > 1:
            behind, thick = _solve_thick(behind, draft, choice, run, watch)
            return _finish(thick, behind, weights, config, device)
    reconstruction = run.solve(centred) if solved_probe is None else run.solve_from(solved_probe, centred)
    if config.refine_probe and follows_disk(reconstruction.provenance):
        reconstruction = flatten_curvature(reconstruction)
    trials = replace(run, hold_out=run.hold_out or config.polish is None)
    reconstruction = solve_experiment(centred, reconstruction, trials, names, config.forced_terms())
    scan, centred, reconstruction = deduct_background(scan, centred, reconstruction)
    centred, config = reconstruction.scan_part(centred), _with_polish(config, reconstruction)
    if config.polish:
        reconstruction = polish(reconstruction, centred, weights.network, config, device, progress, run.watch)
    finished = _finish(drop_false_offset(settle(reconstruction), scan), scan, weights, config, device)
    return finished if choice is None else record_stack(finished, scan, choice)


def _flatten_draft(scan: ScanData, draft: Reconstruction, config: ReconstructConfig) -> tuple[ScanData, Reconstruction]:
    """Return a draft without the curved phase that an error of a disk's motion makes, and the scan with its motion."""
    if not (config.refine_probe and follows_disk(draft.provenance)):
        return scan, draft
    flat = flatten_curvature(draft)
    return scan.replace(beam_px=flat.beam_px), flat


def _solve_thick(
    scan: ScanData, draft: Reconstruction, choice: StackChoice, run: _Run, watch: SnapshotCallback | None
) -> tuple[ScanData, Reconstruction]:
    """Solve a thick sample, in tiles where the memory demands it."""
    options = choice, run.config, run.device, run.progress, watch
    if len(plan_stack(scan, run.config, choice.slices).tiles) == 1:
        return solve_stack(scan, draft, *options)
    jobs, folder = plan_jobs(run.config), run.folder
    return solve_stack_tiled(solve_stack, scan, draft, *options, jobs=jobs, folder=folder)


def _finish(
    recon: Reconstruction, scan: ScanData, weights: Weights, config: ReconstructConfig, device: torch.device
) -> Reconstruction:
    """Scale the object, and add data fit, uncertainty and ledger."""
    if recon.slices is None and recon.object.size > MAX_CANVAS_PX:
        recon = record_unsought(recon, [name for name in WHOLE_TERMS if name in config.solved_terms()])
    return finalise(
        recon,
        scan,
        device=device,
        batch=config.batch_size,
        match_flux=True,
        prediction_scale=config.prediction_scale,
        model_card=weights.card,
    )


@dataclass(frozen=True)
class _Run:
    """The unrolled solver with the options of one call: the solver that terms of the experiment are tried with."""

    weights: Weights
    config: ReconstructConfig
    probe: Complex64[np.ndarray, "mode y x"]
    """Probe to start from, with the ramp of the patterns."""
    device: torch.device
    progress: Progress
    folder: Path | None
    watch: SnapshotCallback | None
    hold_out: bool = False
    """Hold out pixels for iterations that follow to decide by."""

    @property
    def batch(self) -> int:
        """Patterns in memory at once."""
        return self.config.batch_size

    @property
    def refines_probe(self) -> bool:
        """True if the probe is solved for as well."""
        return self.config.refine_probe

    def solve(
        self, scan: ScanData, unknown: str = "", *, hold_probe: bool = False, is_draft: bool = False
    ) -> Reconstruction:
        """Run the rounds, in tiles where the memory demands it; as `experiment.Solver` has it.

        A probe that was solved for is aligned with the one to start from.
        """
        config = self._choose_options(unknown, hold_probe, is_draft)
        if scan.probe is not self.probe and scan.beam_px is None:
            from ptypinn.solvers.joint_solve import align_probe

            scan = align_probe(scan, self.probe)
        modes = config.probe_modes or len(scan.require_probe())
        default = default_rounds(estimate_dose(scan), blurred=modes > 1 or _is_blurred(scan))
        rounds = config.rounds or default
        to_reconstruction = partial(_to_reconstruction, scan, config, self.weights, rounds)
        options = _unrolled_options(config, hold_out=self.hold_out or rounds > default, final=not self.hold_out)
        result = solve_tiled(
            scan,
            self.weights.network,
            replace(
                options,
                solve_flux=unknown == "flux",
                solve_background=unknown == "background",
                solve_beam=unknown == "beam",
            ),
            rounds,
            self.device,
            tiling=config,
            jobs=plan_jobs(config),
            folder=self.folder,
            progress=self.progress,
            watch=map_callback(self.watch, to_reconstruction),
        )
        return to_reconstruction(result)

    def solve_from(self, probe: Complex64[np.ndarray, "mode y x"], scan: ScanData) -> Reconstruction:
        """Run the rounds for the object with a probe that was solved for before; both where it has too few modes.

        Args:
            probe: The probe, of any power.
            scan: The scan with the probe to start from.
        """
        if self.config.probe_modes not in (None, len(probe)):
            return self.solve(scan)
        factor = np.sqrt((np.abs(self.probe) ** 2).sum() / (np.abs(probe) ** 2).sum())
        held = self.solve(scan.replace(probe=(factor * probe).astype(np.complex64)), hold_probe=True)
        return replace(held, provenance={**held.provenance, "config": asdict(self.config)})

    def _choose_options(self, unknown: str, hold_probe: bool, is_draft: bool) -> ReconstructConfig:
        """Return the options of one solve."""
        config = self.config
        if is_draft:
            probe_rounds = DRAFT_PROBE_ROUNDS if config.refine_probe else None
            config = replace(config, probe_rounds=probe_rounds, rounds=DRAFT_ROUNDS)
        if unknown == "modes":
            config = replace(config, probe_modes=CORE_MODES, probe_rounds=config.probe_rounds or MODE_ROUNDS)
        if hold_probe:
            config = replace(config, refine_probe=False, probe_rounds=None, probe_modes=None, probe_variation="auto")
        return config


def _open_terms(scan: ScanData, config: ReconstructConfig) -> tuple[str, ...]:
    """Return the names of the terms that may be solved for: not of a point spread that is known."""
    if scan.mtf is None:
        return config.solved_terms()
    if config.point_spread == "solve":
        raise InputError("--point-spread", "", "solve together with --mtf", "one of the two")
    return tuple(name for name in config.solved_terms() if name != "point_spread")


def _is_blurred(scan: ScanData) -> bool:
    """Return True if the detector is known to blur."""
    return scan.point_spread_px is not None or scan.mtf is not None


def _with_polish(config: ReconstructConfig, recon: Reconstruction) -> ReconstructConfig:
    """Return options with a number of iterations, where it is left open, that suits what was found."""
    if config.polish is not None or config.probe_rounds or config.rounds:
        return config
    corrected = any(recon.has_solved(name) for name in config.solved_terms())
    useful = corrected and "held_out_loss" in recon.history and recon.object.size <= MAX_CANVAS_PX
    return replace(config, polish=POLISH if useful else 0)


def _unrolled_options(config: ReconstructConfig, *, hold_out: bool, final: bool) -> UnrolledOptions:
    return UnrolledOptions(
        refine_probe=config.refine_probe,
        probe_rounds=config.probe_rounds or PROBE_ROUNDS,
        end_stagnant=not config.probe_rounds and not DEEP_TERMS.isdisjoint(config.solved_terms()),
        probe_modes=config.probe_modes,
        loss=config.loss,
        hold_out=hold_out,
        final_rounds=FINAL_ROUNDS if hold_out and final else 0,
        bf16=config.precision == "bf16",
    )


def _to_reconstruction(
    scan: ScanData, config: ReconstructConfig, weights: Weights, rounds: int, result: UnrolledResult
) -> Reconstruction:
    record = {
        "stage": "reconstruct",
        "solver": "unrolled",
        "version": __version__,
        "config": asdict(config),
        "model": {"file": weights.source, "sha256": weights.digest, "card": weights.shorten_card()},
        "rounds": rounds,
        "passes": result.passes,
    }
    return result.reconstruction(scan, record)
