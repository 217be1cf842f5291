"""Reconstruct a thick sample as a stack of slices, from the reconstruction of a thin one.

The slices share the transmission of the thin one at first; coarse stacks come before finer ones, so that what is far
apart along the beam separates before what is near.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float64
from skimage.restoration import unwrap_phase

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.depth import SLICES, describe_stack
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.solvers.iterative import MAX_NOISE_MISFIT, IterativeSolver, refuse_options, solve_terms
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonResult
from ptypinn.solvers.slice_search import StackChoice, choose_stack
from ptypinn.utils.progress import Progress, rename_stage

FIRST_ITERATIONS, COARSE_ITERATIONS = 40, 20
"""Iterations for the stack that terms of the experiment build on, and for coarser ones before it."""
LAST_ITERATIONS = 60
"""Iterations that expect the spectrum of the slices that the counts show."""
COARSER = 2
"""Slices of a coarse stack become so many of a finer one."""
TILE_OPTIONS = ("polish", "tile_px", "halo_px", "workers", "scheduler")
"""Options of the network's tiles, and of polishing."""
THIN_TERMS = ("flux", "background", "beam", "point_spread", "probe_variation")
"""Terms of the experiment that are solved for with thin samples alone."""

Slices = Complex64[np.ndarray, "_ height width"]


def solve_thick(
    scan: ScanData,
    thin: Reconstruction,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None = None,
) -> Reconstruction:
    """Reconstruct a thick sample.

    Args:
        scan: Far-field scan with a calibrated probe.
        thin: Its reconstruction as a thin sample: start of the slices, and of the probe, which is that at the first
            slice.
        config: Options, with the number of slices and their spacing as far as they are given.
        device: Device to compute on.
        progress: Called after every iteration.
        watch: Called after every iteration with a function that returns the reconstruction so far.

    Raises:
        InputError: Where options are given that only thin samples have, or a spacing without a wavelength.
    """
    refuse_options(config, TILE_OPTIONS, THIN_TERMS, "a thin sample, which reads it")
    silent_solver = _solver(thin, config, device, rename_stage(progress, "number of slices"), None)
    choice = choose_stack(scan, config, silent_solver)
    if choice.slices == 1:
        return _record(thin, scan, choice)
    solver = _solver(thin, config, device, rename_stage(progress, "slices"), watch)
    recon = _solve_coarse_to_fine(scan, thin, choice, solver)
    part = scan.replace(gap_fresnel_numbers=recon.gap_fresnel_numbers)
    recon = solve_terms(part, recon, solver)
    part = recon.scan_part(part)
    prior = solver.measure_misfit(part, recon) < MAX_NOISE_MISFIT
    last = solver.solve(part, LAST_ITERATIONS, recon, prior=prior)
    return _record(replace(last, provenance=recon.provenance), scan, choice)


def _solve_coarse_to_fine(
    scan: ScanData, thin: Reconstruction, choice: StackChoice, solver: IterativeSolver
) -> Reconstruction:
    """Solve stacks of ever more slices over the same thickness."""
    numbers = [choice.slices]
    while numbers[0] > COARSER:
        numbers.insert(0, -(-numbers[0] // COARSER))
    recon = thin
    for number in numbers:
        gaps = choice.gap_fresnel_numbers
        if number < choice.slices:
            gaps = np.full(number - 1, (number - 1) / np.sum(1 / gaps))
        start = replace(recon, slices=restack(recon.sample, number), gap_fresnel_numbers=gaps)
        iterations = COARSE_ITERATIONS if number < choice.slices else FIRST_ITERATIONS
        recon = solver.solve(scan.replace(gap_fresnel_numbers=gaps), iterations, start)
    return recon


def restack(sample: Complex64[np.ndarray, "*slice height width"], number: int) -> Slices:
    """Divide a sample evenly into slices: layers of equal thickness whose product is the same.

    Args:
        sample: Transmission, (height, width), or that of slices of equal thickness.
        number: Number of slices.

    >>> restack(np.full((2, 2), 0.25, np.complex64), 2).real[:, 0, 0].tolist()
    [0.5, 0.5]
    """
    slices = sample.reshape(-1, *sample.shape[-2:])
    edges, cuts = (np.arange(count + 1) / count for count in (len(slices), number))
    overlap = np.minimum(cuts[1:, None], edges[1:]) - np.maximum(cuts[:-1, None], edges[:-1])
    shares = np.clip(overlap, 0, None) * len(slices)
    logarithm = np.log(np.maximum(np.abs(slices), 1e-6)) + 1j * np.stack([_unwrap(image) for image in slices])
    return np.exp(np.einsum("ns,syx->nyx", shares, logarithm)).astype(np.complex64)


def _unwrap(image: Complex64[np.ndarray, "height width"]) -> Float64[np.ndarray, "height width"]:
    """Return the phase without jumps by a turn, around that of the mean, radians."""
    middle = np.angle(image.sum()) if image.sum() else 0.0
    return np.asarray(unwrap_phase(np.angle(image * np.exp(-1j * middle)))) + middle


def _record(recon: Reconstruction, scan: ScanData, choice: StackChoice) -> Reconstruction:
    """Return a reconstruction with its stack on record."""
    record = {**describe_stack(scan, choice.gap_fresnel_numbers), **choice.record}
    return replace(recon, provenance={**recon.provenance, SLICES: record})


def _solver(
    thin: Reconstruction,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None,
) -> IterativeSolver:
    finish = partial(_to_reconstruction, provenance=thin.provenance)
    return IterativeSolver(config, device, progress, watch, finish)


def _to_reconstruction(scan: ScanData, result: QuasiNewtonResult, provenance: Mapping[str, Any]) -> Reconstruction:
    return result.reconstruction(scan, {**provenance, **result.notes})
