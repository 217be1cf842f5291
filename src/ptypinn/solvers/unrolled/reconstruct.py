"""Reconstruct a scan with the learned solver, polish where asked, and account for the result."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from ptypinn._version import __version__
from ptypinn.config.reconstruct import JobsConfig, ReconstructConfig, WindowOptions
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.model_file import Weights
from ptypinn.solvers.postprocess import finalise
from ptypinn.solvers.unrolled.polish import FINAL_ROUNDS, Polisher
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.round_schedule import PROBE_ROUNDS, default_rounds, estimate_illumination
from ptypinn.solvers.unrolled.solver import UnrolledResult
from ptypinn.solvers.unrolled.tiled import solve_tiled
from ptypinn.utils.device import pick_device
from ptypinn.utils.progress import Progress, Watch, relayed


def reconstruct_unrolled(
    scan: ScanData,
    weights: Weights,
    config: ReconstructConfig,
    progress: Progress,
    *,
    windows: WindowOptions | None = None,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """Solve a scan by rounds of the learned solver.

    Args:
        scan: Far-field scan with a probe, which may be a rough guess.
        weights: The network.
        config: How to reconstruct.
        progress: Told about every round or window, and every iteration of polishing.
        windows: Memory, and who solves the windows of a scan that needs more.
        folder: Where finished windows are kept until all are done; None for a temporary one.
        watch: Called after every round, every iteration, and every window but the last.

    Raises:
        InputError: Where the scan has no probe, or options are those of a trained network.
    """
    if config.part != "all" or config.probe_from == "bundle":
        option, value = ("part", config.part) if config.part != "all" else ("probe_from", config.probe_from)
        raise InputError(f"--{option}", "", f"{value} without a model", "a model of `ptypinn train`")
    if config.prediction_scale == "recorded":
        raise InputError("--prediction_scale", "", "recorded without a model", "none, flux or least_squares")
    scan, device = calibrate_probe(scan), pick_device(config.device)
    usual = default_rounds(estimate_illumination(scan))
    rounds = min(config.rounds or usual, usual) if config.refine_probe else config.rounds or usual
    judged = config.polish > 0 or rounds > usual
    options = UnrolledOptions(
        config.refine_probe,
        config.rounds or PROBE_ROUNDS,
        config.probe_modes,
        config.loss,
        judged=judged,
        closing=FINAL_ROUNDS if judged and not config.polish else 0,
        half=config.precision == "bf16",
    )
    windows, made = windows or WindowOptions(), partial(_reconstruction, scan, config, weights, rounds)
    solution = solve_tiled(
        scan,
        weights.network,
        options,
        rounds,
        device,
        windows=windows,
        jobs=_jobs(config, windows),
        folder=folder,
        progress=progress,
        watch=relayed(watch, made),
    )
    found = made(solution)
    if config.polish:
        found = Polisher(scan, weights.network, config, device, progress, watch)(found)
    return finalise(
        found,
        scan,
        device=device,
        batch=config.batch,
        match_flux=True,
        prediction_scale=config.prediction_scale,
        model_card=weights.card,
    )


def _jobs(config: ReconstructConfig, windows: WindowOptions) -> JobsConfig:
    threads = config.threads or (1 if windows.workers or windows.scheduler else torch.get_num_threads())
    return JobsConfig(None if windows.scheduler else windows.workers, threads, windows.scheduler)


def _reconstruction(
    scan: ScanData, config: ReconstructConfig, weights: Weights, rounds: int, solution: UnrolledResult
) -> Reconstruction:
    record = {
        "stage": "reconstruct",
        "solver": "learned",
        "version": __version__,
        "config": asdict(config),
        "model": {"file": weights.source, "sha256": weights.digest, "card": weights.card_without_ancestors()},
        "rounds": rounds,
        "passes": solution.passes,
    }
    return solution.reconstruction(scan, record)
