"""What is done with one window of a scan, in whichever process: solve it and leave the result in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import load_weights
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.physics.patches import split_positions
from ptypinn.solvers.quasi_newton.preconditioner import IlluminationStats
from ptypinn.solvers.unrolled.global_start import CoarseStart, GlobalStart, select_patterns
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.solver import find_probe, solve_scan
from ptypinn.solvers.unrolled.tiling import Box

NETWORK, AMPLITUDE, PHASE = "network.safetensors", "start_amplitude.npy", "start_phase.npy"
"""What all windows share, in the folder that theirs lie in: weights, and the start of the whole canvas."""
OBJECT, ILLUMINATION, PROBE = "object.npy", "illumination.npy", "probe.npy"
"""What a window leaves in its own."""


@dataclass(frozen=True)
class TileJob:
    """A window to solve; the record of a finished one must agree with it."""

    number: int
    """Among the windows of its scan."""
    core: Box
    canvas: Box
    halo: int
    digest: str
    """Of scan, network, options and layout."""


@dataclass(frozen=True)
class SharedInputs:
    """What all windows are given, small enough to go to every worker; arrays lie in the folder."""

    folder: Path
    scan: ScanData
    """Without a truth; its counts are read by the workers."""
    origin: tuple[int, int]
    options: UnrolledOptions
    rounds: int
    device: str
    network: bool
    """Whether there is one."""


def solve_tile(
    job: TileJob, folder: Path, *, given: SharedInputs, levels: IlluminationStats, amplitude: float, factor: int
) -> dict[str, Any]:
    """Solve a window with a known probe; write its object and illumination into the folder."""
    patterns = _patterns(job, given)
    slow, phase = (np.load(given.folder / name, mmap_mode="r") for name in (AMPLITUDE, PHASE))
    whole = GlobalStart(CoarseStart(slow, phase, factor), levels, amplitude).whole(job.canvas, given.origin, patterns)
    part, device = select_patterns(given.scan, patterns), _device(given.device, job)
    found = solve_scan(part, _network(given), given.options, given.rounds, device, whole=whole)
    np.save(folder / OBJECT, found.object)
    np.save(folder / ILLUMINATION, found.illumination)
    return {"loss": found.history["loss"], "passes": found.passes}


def solve_probe(job: TileJob, folder: Path, *, given: SharedInputs) -> dict[str, Any]:
    """Solve a window for object and probe; write the probe into the folder."""
    part, device = select_patterns(given.scan, _patterns(job, given)), _device(given.device, job)
    found = find_probe(part, _network(given), given.options, device)
    np.save(folder / PROBE, found.probe)
    return {"loss": found.history["loss"], "passes": found.passes}


def _network(given: SharedInputs) -> UnrolledCorrection | None:
    return load_weights(given.folder / NETWORK).network if given.network else None


def _patterns(job: TileJob, given: SharedInputs) -> np.ndarray:
    return np.flatnonzero(Box(*job.core).grown(job.halo).met_by(patch_corners(given.scan, given.origin), given.scan.size))


def patch_corners(scan: ScanData, origin: tuple[int, int]) -> np.ndarray:
    """Integer patch corners (y, x) on the whole canvas."""
    return split_positions(torch.from_numpy(scan.positions_px - np.asarray(origin, float)))[0][0].numpy()


def _device(name: str, job: TileJob) -> torch.device:
    """The device of a window: one of all CUDA devices by its place, where any will do."""
    device = torch.device(name)
    if device.type != "cuda" or device.index is not None or torch.cuda.device_count() < 2:
        return device
    return torch.device("cuda", job.number % torch.cuda.device_count())
