"""Solve a scan of any size in windows that overlap, one by one or side by side, in bounded memory.

A window starts where the whole canvas would, in the units of the whole scan, with its network on the same tiles; so it
does what the whole canvas does, except for what comes in from its edges, which a halo keeps out. Where the probe is to
be solved for, that is done on the window with the most counts; all windows are then solved with this probe, held.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from ptypinn.config.reconstruct import JobsConfig, WindowOptions
from ptypinn.data.canvas import canvas_frame
from ptypinn.data.lazy_counts import LazyCounts
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import digest_of, save_weights
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.runs.jobs.run import run_jobs
from ptypinn.runs.jobs.task import Job
from ptypinn.solvers.quasi_newton.preconditioner import rms_half_width
from ptypinn.solvers.unrolled.global_start import Moments, compute_global_start, digest_scan, measure_moments
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.solver import UnrolledResult, solve_scan
from ptypinn.solvers.unrolled.tile_jobs import (
    AMPLITUDE,
    ILLUMINATION,
    NETWORK,
    OBJECT,
    PHASE,
    PROBE,
    SharedInputs,
    TileJob,
    patch_corners,
    solve_probe,
    solve_tile,
)
from ptypinn.solvers.unrolled.tile_stitching import TileResult, stitch_tiles
from ptypinn.solvers.unrolled.tiling import Box, Tile, TileLayout, default_halo, plan_tiles
from ptypinn.utils.files import atomic_path
from ptypinn.utils.progress import Progress, WatchOf, silent

FOLDER, COUNTS = "windows", "counts.h5"


def solve_tiled(
    scan: ScanData,
    network: UnrolledCorrection | None,
    options: UnrolledOptions,
    rounds: int,
    device: torch.device,
    *,
    windows: WindowOptions | None = None,
    jobs: JobsConfig | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    watch: WatchOf[UnrolledResult] | None = None,
) -> UnrolledResult:
    """`solve_scan` for scans of any size; the same where the scan fits the memory.

    Args:
        scan: Scan with a calibrated probe; counts that are lazy are read as they are needed.
        network: The correction; None for the physical steps alone.
        options: How to solve.
        rounds: Number of rounds for the object, each of `PASSES` passes over the data.
        device: Where to solve; `cuda` without a number deals windows out to all CUDA devices.
        windows: Memory of a process, size of the windows.
        jobs: Processes or cluster that solve the windows; one after the other in this process where None.
        folder: Where windows are kept until all are done, so that an interrupted run goes on; on a cluster, a folder
            that all its machines see. None for a temporary one.
        progress: Told about every round, or every window where there are several, as the stage `reconstruct`.
        watch: Called after every round, or every window but the last where there are several.

    Raises:
        InputError: Where the memory does not suffice, or a window fails.
    """
    windows, report = windows or WindowOptions(), progress or silent
    origin, extent = canvas_frame(scan)
    power = torch.from_numpy(scan.require_probe()).abs().square().sum(0)
    halo = windows.halo_px or default_halo(rms_half_width(power), scan.size)
    layout = plan_tiles(scan, patch_corners(scan, origin), extent, halo, windows)
    if len(layout.windows) == 1:
        return solve_scan(scan, network, options, rounds, device, progress=progress, watch=watch)
    jobs = jobs or JobsConfig(workers=0, threads=torch.get_num_threads())
    given = SharedInputs(Path(), scan.replace(truth=None), origin, options, rounds, str(device), network is not None)
    with _kept_in(folder) as place:
        return _solved(replace(given, folder=place), network, layout, jobs, report, watch)


def _solved(
    given: SharedInputs,
    network: UnrolledCorrection | None,
    layout: TileLayout,
    jobs: JobsConfig,
    report: Progress,
    watch: WatchOf[UnrolledResult] | None,
) -> UnrolledResult:
    """Solve all windows and join them; finished ones are taken from the folder."""
    device = torch.device(given.device)
    rows = measure_moments(given.scan, device)
    digest = _digest(given, rows, network, layout)
    given = _laid_out(replace(given, folder=given.folder / digest[:16]), network, jobs)

    todo = [TileJob(k, w.core, w.canvas, layout.halo, digest) for k, w in enumerate(layout.windows)]
    passes, history = 0, dict[str, list[float]]()
    if given.options.refine_probe:
        brightest = np.argmax([float(rows[window.patterns, 0].sum()) for window in layout.windows])
        job = Job("probe", todo[brightest])
        done = run_jobs(partial(solve_probe, given=given), [job], given.folder, jobs).require_all()
        passes, history = done["probe"]["passes"], {"probe_loss": done["probe"]["loss"]}
        probe = np.load(given.folder / "probe" / PROBE, allow_pickle=False)
        options = replace(given.options, refine_probe=False)
        given = replace(given, scan=given.scan.replace(probe=probe), options=options)
    with torch.inference_mode():
        found, light = compute_global_start(given.scan, rows, layout, given.options, given.origin, device)
    work = partial(solve_tile, given=given, levels=found.levels, amplitude=found.amplitude, factor=found.start.factor)
    for name, values in ((AMPLITUDE, found.start.amplitude), (PHASE, found.start.phase)):
        np.save(given.folder / name, values)
    named = {f"window{job.number}": window for job, window in zip(todo, layout.windows, strict=True)}
    done = run_jobs(
        work,
        [Job(name, job) for name, job in zip(named, todo, strict=True)],
        given.folder,
        jobs,
        progress=_as_stage(report, partial(_joined, given, layout, named, light), watch),
    ).require_all()
    passes += max(done[name]["passes"] for name in named)
    history["loss"] = _losses(named, done)
    return replace(_joined(given, layout, named, light), history=history, passes=passes)


def _joined(given: SharedInputs, layout: TileLayout, named: dict[str, Tile], light: np.ndarray) -> UnrolledResult:
    """The windows that are done; elsewhere the object is 1, and no light falls."""
    done = {name: window for name, window in named.items() if (given.folder / name).is_dir()}
    pieces = [TileResult(window, given.folder / name / OBJECT, given.folder / name / ILLUMINATION) for name, window in done.items()]
    if len(done) < len(named):
        whole, seen = Box(0, 0, *layout.extent), np.zeros_like(light)
        for window in done.values():
            place = window.core.slices(whole)
            seen[place] = light[place]
        light = seen
    return UnrolledResult(
        np.where(light > 0, stitch_tiles(pieces, layout), np.complex64(1)),
        light,
        given.scan.require_probe(),
        given.scan.positions_px - np.asarray(given.origin, float),
        given.origin,
    )


def _laid_out(given: SharedInputs, network: UnrolledCorrection | None, jobs: JobsConfig) -> SharedInputs:
    """Put what workers need into the folder: the network, and counts where they are in this process alone."""
    given.folder.mkdir(parents=True, exist_ok=True)
    if network is not None:
        save_weights(network, {}, given.folder / NETWORK)
    if jobs.workers == 0 or not isinstance(given.scan.counts, np.ndarray):
        return given
    with atomic_path(given.folder / COUNTS) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("counts", data=given.scan.counts, chunks=(1, *given.scan.counts.shape[1:]))
    counts = LazyCounts(given.folder / COUNTS, "counts", given.scan.good)
    return replace(given, scan=given.scan.replace(counts=counts))


def _as_stage(report: Progress, look: Callable[[], UnrolledResult], watch: WatchOf[UnrolledResult] | None) -> Progress:
    """Tell of jobs, whatever they call themselves, as the stage `reconstruct`, and let who watches look."""

    def told(stage: str, done: int, total: int, /, **figures: float) -> None:
        report("reconstruct", done, total, **figures)
        if watch is not None and 0 < done < total:
            watch(look)

    return told


def _losses(named: dict[str, Tile], done: dict[str, dict[str, Any]]) -> list[float]:
    """Data term of the whole scan before the last pass of every round, from the mean ones of the windows' patterns.

    Only of the rounds that all windows have done.
    """
    shares = [len(window.owned) / len(window.patterns) for window in named.values()]
    least = min(len(done[name]["loss"]) for name in named)
    rows = np.array([done[name]["loss"][:least] for name in named], float)
    return (np.array(shares) @ rows).tolist()


def _digest(given: SharedInputs, rows: Moments, network: UnrolledCorrection | None, layout: TileLayout) -> str:
    weights = "" if network is None else digest_of(network.state_dict())
    boxes = [(window.core, window.canvas) for window in layout.windows]
    told = (digest_scan(given.scan, rows), weights, asdict(given.options), given.rounds, boxes, layout.halo)
    return sha256(repr(told).encode()).hexdigest()


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[Path]:
    """A place for what windows leave behind, removed once all is done; a given one outlasts a failure."""
    place = Path(tempfile.mkdtemp(prefix="ptypinn-")) if folder is None else Path(folder) / FOLDER
    try:
        yield place.resolve()
    except BaseException:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)
