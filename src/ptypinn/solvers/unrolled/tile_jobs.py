"""Jobs on one tile of a scan, in whichever process: solve it and leave the result in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from ptypinn.data.scan import ScanData
from ptypinn.metrics.flux import MIN_FLUX
from ptypinn.models.model_file import load_weights
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.solvers.quasi_newton.preconditioner import IlluminationStats
from ptypinn.solvers.unrolled.global_start import CoarseStart, GlobalStart, select_patterns
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.solver import find_probe, solve_scan
from ptypinn.solvers.unrolled.tiling import Box, patch_corners

NETWORK, AMPLITUDE, PHASE = "network.safetensors", "start_amplitude.npy", "start_phase.npy"
"""Files that all tiles share, in the folder that theirs lie in: weights, and the start of the whole canvas."""
OBJECT, ILLUMINATION, FLUX = "object.npy", "illumination.npy", "flux.npy"
PROBE, BACKGROUND = "probe.npy", "background.npy"
"""Files that a tile leaves in its own folder."""


@dataclass(frozen=True)
class TileJob:
    """A tile to solve; the record of a finished one must agree with it."""

    number: int
    """Among the tiles of its scan."""
    core: Box
    canvas: Box
    halo: int
    digest: str
    """Of scan, network, options and layout."""


@dataclass(frozen=True)
class SharedInputs:
    """Inputs that all tiles share, small enough to go to every worker; arrays lie in the folder."""

    folder: Path
    scan: ScanData
    """Without a truth; its counts are read by the workers."""
    origin: tuple[int, int]
    options: UnrolledOptions
    rounds: int
    device: str
    has_network: bool


def solve_tile(
    job: TileJob, folder: Path, *, inputs: SharedInputs, stats: IlluminationStats, amplitude: float, factor: int
) -> dict[str, Any]:
    """Solve a tile with a known probe; write object and illumination into the folder, and the flux if it is unknown."""
    patterns = index_patterns(job, inputs.scan, inputs.origin)
    start_amplitude, phase = (np.load(inputs.folder / name, mmap_mode="r") for name in (AMPLITUDE, PHASE))
    start = GlobalStart(CoarseStart(start_amplitude, phase, factor), stats, amplitude)
    context = start.context(job.canvas, inputs.origin, patterns)
    part, device = select_patterns(inputs.scan, patterns), device_of(inputs.device, job)
    result = solve_scan(part, _network(inputs), inputs.options, inputs.rounds, device, context=context)
    np.save(folder / OBJECT, result.object)
    np.save(folder / ILLUMINATION, result.illumination)
    if result.flux is not None:
        np.save(folder / FLUX, np.maximum(result.flux, MIN_FLUX))
    return {"loss": result.history["loss"], "passes": result.passes}


def solve_probe(job: TileJob, folder: Path, *, inputs: SharedInputs) -> dict[str, Any]:
    """Solve a tile for object and probe; write the probe into the folder, and the background where it is unknown."""
    patterns = index_patterns(job, inputs.scan, inputs.origin)
    part, device = select_patterns(inputs.scan, patterns), device_of(inputs.device, job)
    result = find_probe(part, _network(inputs), inputs.options, device)
    np.save(folder / PROBE, result.probe)
    if result.background is not None:
        np.save(folder / BACKGROUND, result.background)
    return {"loss": result.history["loss"], "passes": result.passes}


def _network(inputs: SharedInputs) -> UnrolledCorrection | None:
    return load_weights(inputs.folder / NETWORK).network if inputs.has_network else None


def index_patterns(job: TileJob, scan: ScanData, origin: tuple[int, int]) -> Int64[np.ndarray, " patterns"]:
    """Return the patterns of a tile.

    Args:
        job: The tile.
        scan: The whole scan.
        origin: Of the whole canvas, in the coordinates of the scan's positions.
    """
    corners = patch_corners(scan, origin)
    return np.flatnonzero(Box(*job.core).padded(job.halo).overlaps(corners, scan.size))


def device_of(name: str, job: TileJob) -> torch.device:
    """Return the device of a tile: one of all CUDA devices by its number, where no single one is named."""
    device = torch.device(name)
    if device.type != "cuda" or device.index is not None or torch.cuda.device_count() < 2:
        return device
    return torch.device("cuda", job.number % torch.cuda.device_count())
