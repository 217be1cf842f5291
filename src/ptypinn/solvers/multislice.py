"""Reconstruct a thick sample as a stack of slices, from the reconstruction of a thin one.

The slices share the transmission of the thin one at first; coarse stacks come before finer ones, so that what is far
apart along the beam separates before what is near.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.depth import SLICES, compute_gaps, describe_stack, restack
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.solvers.iterative import MAX_NOISE_MISFIT, IterativeSolver, refuse_options
from ptypinn.solvers.iterative_terms import deduct_background, list_slow_terms, solve_terms
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonResult
from ptypinn.solvers.slice_search import StackChoice, choose_stack
from ptypinn.utils.progress import Progress, rename_stage

FIRST_ITERATIONS, COARSE_ITERATIONS = 40, 20
"""Iterations for the stack that terms of the experiment build on, and for coarser ones before it."""
LAST_ITERATIONS = 60
"""Iterations that expect the spectrum of the slices that the counts show."""
COARSER = 2
"""Slices of a coarse stack become so many of a finer one."""
THIN_OPTIONS = ("polish",)
"""Options that only thin samples have."""
THIN_TERMS = ("point_spread",)
"""Terms of the experiment that are solved for with thin samples alone."""


def find_stack(
    scan: ScanData, draft: Reconstruction, config: ReconstructConfig, device: torch.device, progress: Progress
) -> StackChoice:
    """Return number and spacing of the slices, as given or as the patterns around the middle of the scan show them.

    Args:
        scan: Far-field scan with a calibrated probe.
        draft: Draft of its reconstruction as a thin sample.
        config: Options, with the number of slices and their spacing as far as they are given.
        device: Device to compute on.
        progress: Called after every iteration.

    """
    solver = _solver(draft, config, device, rename_stage(progress, "number of slices"), None)
    return choose_stack(scan, config, solver)


def solve_stack(
    scan: ScanData,
    draft: Reconstruction,
    choice: StackChoice,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None = None,
) -> tuple[ScanData, Reconstruction]:
    """Reconstruct a thick sample, or a tile of one.

    Args:
        scan: Far-field scan with a calibrated probe.
        draft: Draft of its reconstruction as a thin sample: start of the slices, and of the probe, which is that at the
            first slice. One of more rounds has fitted the probe to a sample that is none.
        choice: Number and spacing of the slices.
        config: Options of the reconstruction.
        device: Device to compute on.
        progress: Called after every iteration.
        watch: Called after every iteration with a function that returns the reconstruction so far.

    Returns:
        The scan, without a background that was found, and the reconstruction.
    """
    solver = _solver(draft, config, device, rename_stage(progress, "slices"), watch)
    recon = _solve_coarse_to_fine(scan, draft, choice, solver)
    part = scan.replace(gap_fresnel_numbers=recon.gap_fresnel_numbers)
    recon = solve_terms(part, recon, solver)
    part, recon = deduct_background(part, recon)
    part = recon.scan_part(part)
    prior = solver.measure_misfit(part, recon) < MAX_NOISE_MISFIT
    last = solver.iterate(part, LAST_ITERATIONS, recon, unknowns=list_slow_terms(recon), prior=prior)
    return deduct_background(scan, recon)[0], record_stack(replace(last, provenance=recon.provenance), scan, choice)


def has_phase_slices(scan: ScanData, config: ReconstructConfig) -> bool:
    """Return True if the sample is thick, and its slices are of phase alone."""
    if config.slices == 1 or config.slice_transmission == "complex":
        return False
    return config.slice_transmission == "phase" or scan.particle == "electron"


def without_slices(config: ReconstructConfig) -> ReconstructConfig:
    """Return the options for a sample that is found to be thin."""
    thin: dict[str, Any] = dict.fromkeys(("slice_transmission", "depth_variation", "sample_tilt_mrad"), "auto")
    return replace(config, slices=1, slice_spacing_m=None, **thin)


def require_thick_options(scan: ScanData, config: ReconstructConfig) -> None:
    """Raise `InputError` for options that only thin samples have, and for a spacing that the scan cannot use."""
    refuse_options(config, THIN_OPTIONS, THIN_TERMS, "a thin sample, which reads it")
    if config.depth_variation != "auto" and not has_phase_slices(scan, config):
        expected = "auto, or --slice-transmission phase, which reads it"
        raise InputError("--depth-variation", "", str(config.depth_variation), expected)
    if config.spacings_m is not None:
        compute_gaps(scan, config.spacings_m)


def _solve_coarse_to_fine(
    scan: ScanData, draft: Reconstruction, choice: StackChoice, solver: IterativeSolver
) -> Reconstruction:
    """Solve stacks of ever more slices over the same thickness."""
    numbers = [choice.slices]
    while numbers[0] > COARSER:
        numbers.insert(0, -(-numbers[0] // COARSER))
    recon = draft
    for number in numbers:
        gaps = choice.gap_fresnel_numbers
        if number < choice.slices:
            gaps = np.full(number - 1, (number - 1) / np.sum(1 / gaps))
        start = replace(recon, slices=restack(recon.sample, number), gap_fresnel_numbers=gaps)
        iterations = COARSE_ITERATIONS if number < choice.slices else FIRST_ITERATIONS
        recon = solver.iterate(scan.replace(gap_fresnel_numbers=gaps), iterations, start)
    return recon


def record_stack(recon: Reconstruction, scan: ScanData, choice: StackChoice) -> Reconstruction:
    """Return a reconstruction with its stack on record."""
    record = {**describe_stack(scan, choice.gap_fresnel_numbers), **choice.record}
    return replace(recon, provenance={**recon.provenance, SLICES: record})


def _solver(
    draft: Reconstruction,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None,
) -> IterativeSolver:
    record = {name: value for name, value in draft.provenance.items() if name != "rounds"}
    finish = partial(_to_reconstruction, provenance={**record, "solver": "multislice", "config": asdict(config)})
    return IterativeSolver(config, device, progress, watch, finish)


def _to_reconstruction(scan: ScanData, result: QuasiNewtonResult, provenance: Mapping[str, Any]) -> Reconstruction:
    return result.reconstruction(scan, {**provenance, **result.notes})
