"""The `refine` stage: solve a scan iteratively for object, probe and positions."""

from __future__ import annotations

from dataclasses import asdict, fields
from functools import partial

import numpy as np
import torch

from ptypinn._version import __version__
from ptypinn.config.refine import RefineConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.near_field import require_far_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.solvers.postprocess import finalise
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, map_callback, silent
from ptypinn.runs.snapshots import SnapshotCallback


def refine(
    scan: ScanData,
    config: RefineConfig | None = None,
    *,
    start: Reconstruction | None = None,
    progress: Progress | None = None,
    watch: SnapshotCallback | None = None,
) -> Reconstruction:
    """Solve a far-field scan for the object and, unless told otherwise, the probe.

    Minimises the Poisson likelihood (or the amplitude loss) of the counts by quasi-Newton steps with a phase
    preconditioner, from a start that the data give or from a given reconstruction. The probe's power stays at the known
    photons per pattern, so the object's amplitude is absolute.

    Args:
        scan: The scan; needs a probe, which may be a rough guess.
        config: How to solve.
        start: Reconstruction of the same scan to start from: its object, probe and positions.
        progress: Told about every iteration.
        watch: Called after every iteration of the native engine with a function that gives the reconstruction so far.

    Raises:
        InputError: Where the scan has no probe, is near-field, or does not fit the start.
    """
    config = config or RefineConfig()
    require_far_field(scan)
    scan = calibrate_probe(scan)
    if start is not None:
        _check_start(scan, start)
    device, options = pick_device(config.device), _solver_options(config)
    with cpu_threads(config.threads):
        if config.engine == "ptychi":
            from ptypinn.solvers.lsqml import refine_lsqml

            result = refine_lsqml(scan, options, device, config.seed, progress or silent, start)
            return finalise(_reconstruction(scan, config, result), scan, device=device)
        with torch.no_grad():
            seen = map_callback(watch, partial(_reconstruction, scan, config))
            result = QuasiNewtonProblem(scan, options, device, start).solve(progress or silent, seen)
        return finalise(_reconstruction(scan, config, result), scan, device=device, match_flux=True)


def _solver_options(config: RefineConfig) -> QuasiNewtonOptions:
    return QuasiNewtonOptions(**{option.name: getattr(config, option.name) for option in fields(QuasiNewtonOptions)})


def _check_start(scan: ScanData, start: Reconstruction) -> None:
    """Raise `InputError` where a start is not of this scan."""
    found, expected = None, "a reconstruction of this scan"
    if start.probe.shape[1:] != (scan.size, scan.size):
        found = f"a probe of {start.probe.shape[1:]} pixels for patterns of {scan.size}"
    elif len(start.positions_px) != scan.n_patterns:
        found = f"{len(start.positions_px)} positions for {scan.n_patterns} patterns"
    elif np.abs(start.positions_px + start.origin_px - scan.positions_px).max() > scan.size / 2:
        found = "positions more than half a pattern away from the scan's"
    if found:
        raise InputError("--start", "positions", found, expected)


def _reconstruction(scan: ScanData, config: RefineConfig, result: QuasiNewtonResult) -> Reconstruction:
    record = {"stage": "refine", "version": __version__, "config": asdict(config), **result.notes}
    return result.reconstruction(scan, record)
