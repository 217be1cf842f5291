"""Solve a scan of any size in overlapping tiles, one by one or side by side, in bounded memory.

A tile starts where the whole canvas would, in the units of the whole scan, on the same grid of the network; so it does
what the whole canvas does, except for what comes in from its edges, which a halo keeps out. Where the probe is to be
solved for, or a background, that is done on the tile with the most counts; all tiles are then solved with both held. A
probe that varies over the scan is held from the start: a tile has few of the frames that show how. The flux of the
frames is solved for tile by tile, and brought to one scale by the frames that tiles share.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.shared import JobsConfig, TilingConfig
from ptypinn.data.positions import canvas_frame
from ptypinn.data.scan import TERMS, ScanData
from ptypinn.io.lazy_counts import LazyCounts
from ptypinn.io.safe.hdf5_write import replace_hdf5
from ptypinn.models.model_file import compute_digest, save_weights
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.runs.jobs.job import Job
from ptypinn.runs.jobs.run import run_jobs
from ptypinn.solvers.quasi_newton.preconditioner import rms_half_width
from ptypinn.solvers.unrolled.global_start import Moments, compute_global_start, digest_scan, measure_moments
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rank_jobs import require_room
from ptypinn.solvers.unrolled.solver import UnrolledResult, solve_scan
from ptypinn.solvers.unrolled.tile_jobs import (
    AMPLITUDE,
    BACKGROUND,
    FLUX,
    ILLUMINATION,
    NETWORK,
    OBJECT,
    PHASE,
    PROBE,
    SharedInputs,
    TileJob,
    solve_probe,
    solve_tile,
)
from ptypinn.solvers.unrolled.tile_stitching import TileResult, align_flux, stitch_tiles
from ptypinn.solvers.unrolled.tiling import (
    UNROLLED,
    Box,
    PixelMemory,
    Tile,
    TileLayout,
    default_halo,
    patch_corners,
    plan_tiles,
)
from ptypinn.utils.progress import IterateCallback, Progress, Solution, silent
from ptypinn.utils.ranks import current_ranks

FOLDER, COUNTS = "tiles", "counts.h5"


def solve_tiled(
    scan: ScanData,
    network: UnrolledCorrection | None,
    options: UnrolledOptions,
    rounds: int,
    device: torch.device,
    *,
    tiling: TilingConfig | None = None,
    jobs: JobsConfig | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    watch: IterateCallback[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Solve a scan of any size; as `solve_scan` where the scan fits the memory, and by several ranks where there are.

    Tiles hold the beam as it is.

    Args:
        scan: Scan with a calibrated probe; lazy counts are read as they are needed.
        network: The correction; None for the data steps alone.
        options: Options of the solver.
        rounds: Number of rounds for the object, each of `PASSES` passes over the data.
        device: Device to solve on; `cuda` without a number distributes tiles to all CUDA devices.
        tiling: Memory of a process, size of the tiles.
        jobs: Processes or cluster that solve the tiles; one after the other in this process where None.
        folder: Folder for finished tiles until all are done, which machines of a cluster share; None: a temporary one.
        progress: Called after every round, or every tile where there are several, as the stage `reconstruct`.
        watch: Called after every round, or every tile but the last where there are several.

    Raises:
        InputError: Where the memory does not suffice, or a tile fails.
    """
    ranks = current_ranks()
    if ranks is not None:
        require_room(scan, tiling or TilingConfig(), ranks.count)
    if ranks is not None or len((layout := plan_scan(scan, tiling or TilingConfig())).tiles) == 1:
        return solve_scan(scan, network, options, rounds, device, progress=progress, watch=watch)
    refine_probe = options.refine_probe and scan.probe_variation is None
    options, origin = replace(options, refine_probe=refine_probe, solve_beam=False), canvas_frame(scan)[0]
    bare, jobs = scan.replace(truth=None), jobs or JobsConfig(workers=0, threads=torch.get_num_threads())
    with tile_folder(folder, FOLDER) as place:
        inputs = SharedInputs(place, bare, origin, options, rounds, str(device), has_network=network is not None)
        return _solve_all(inputs, network, layout, jobs, progress or silent, watch)


def plan_jobs(config: ReconstructConfig) -> JobsConfig:
    """Return the processes or the cluster that options ask for."""
    threads = config.threads or (1 if config.workers or config.scheduler else torch.get_num_threads())
    return JobsConfig(None if config.scheduler else config.workers, threads, config.scheduler)


def plan_scan(scan: ScanData, tiling: TilingConfig, memory: PixelMemory = UNROLLED) -> TileLayout:
    """Plan the tiles of a scan: `plan_tiles` on its canvas, with a halo that its probe asks for.

    Args:
        scan: Scan with a probe.
        tiling: Memory, or size of the tiles.
        memory: Bytes per pixel of the solver.
    """
    origin, extent = canvas_frame(scan)
    power = torch.from_numpy(scan.require_probe()).abs().square().sum(0)
    halo = tiling.halo_px or default_halo(float(rms_half_width(power)), scan.size)
    return plan_tiles(scan, patch_corners(scan, origin), extent, halo, tiling, memory)


def _solve_all(
    inputs: SharedInputs,
    network: UnrolledCorrection | None,
    layout: TileLayout,
    jobs: JobsConfig,
    report: Progress,
    watch: IterateCallback[UnrolledResult] | None,
) -> UnrolledResult:
    """Solve all tiles and join them; finished ones are taken from the folder."""
    device = torch.device(inputs.device)
    moments = measure_moments(inputs.scan, device)
    digest = _digest(inputs, moments, network, layout)
    inputs = _write_inputs(replace(inputs, folder=inputs.folder / digest[:16]), network, jobs)

    tile_jobs = [TileJob(k, tile.core, tile.canvas, layout.halo, digest) for k, tile in enumerate(layout.tiles)]
    passes, history = 0, dict[str, list[float]]()
    if inputs.options.refine_probe or inputs.options.solve_background:
        brightest = np.argmax([float(moments[tile.patterns, 0].sum()) for tile in layout.tiles])
        inputs, record = _solve_probe(inputs, tile_jobs[brightest], jobs)
        passes, history = record["passes"], {"probe_loss": record["loss"]}
    with torch.inference_mode():
        start, illumination = compute_global_start(inputs.scan, moments, layout, inputs.options, inputs.origin, device)
    for name, values in ((AMPLITUDE, start.object.amplitude), (PHASE, start.object.phase)):
        np.save(inputs.folder / name, values)
    work = partial(solve_tile, inputs=inputs, stats=start.stats, amplitude=start.amplitude, factor=start.object.factor)
    named = {f"tile{job.number}": tile for job, tile in zip(tile_jobs, layout.tiles, strict=True)}
    join = partial(_join, inputs, layout, named, illumination)
    named_jobs = [Job(name, job) for name, job in zip(named, tile_jobs, strict=True)]
    records = run_jobs(
        work, named_jobs, inputs.folder, jobs, progress=report_as_stage(report, join, watch)
    ).require_all()
    passes += max(records[name]["passes"] for name in named)
    history["loss"] = whole_losses(named, records)
    return replace(join(), history=history, passes=passes)


def _solve_probe(inputs: SharedInputs, job: TileJob, jobs: JobsConfig) -> tuple[SharedInputs, dict[str, Any]]:
    """Solve one tile for probe and background; return the inputs with them, held, and the record of the job."""
    work, named = partial(solve_probe, inputs=inputs), [Job("probe", job)]
    record = run_jobs(work, named, inputs.folder, jobs).require_all()["probe"]
    probe = np.load(inputs.folder / "probe" / PROBE, allow_pickle=False)
    options = replace(inputs.options, refine_probe=False, solve_background=False)
    scan = inputs.scan.replace(probe=probe)
    if inputs.options.solve_background:
        scan = scan.replace(background=np.load(inputs.folder / "probe" / BACKGROUND, allow_pickle=False))
    return replace(inputs, scan=scan, options=options), record


def _join(inputs: SharedInputs, layout: TileLayout, named: dict[str, Tile], illumination: np.ndarray) -> UnrolledResult:
    """Join the tiles that are done; elsewhere the object is 1, the illumination 0, and a flux that is unknown 1."""
    tiles = list_results(inputs.folder, named)
    illumination = mask_cores(illumination, tiles, layout)
    flux, factors = _join_flux(inputs, tiles) if inputs.options.solve_flux else (None, None)
    return UnrolledResult(
        np.where(illumination > 0, stitch_tiles(tiles, layout, factors), np.complex64(1)),
        illumination,
        inputs.scan.require_probe(),
        inputs.scan.positions_px - np.asarray(inputs.origin, float),
        inputs.origin,
        background=inputs.scan.background,
        flux=flux,
    )


def _join_flux(
    inputs: SharedInputs, results: Sequence[TileResult]
) -> tuple[Float64[np.ndarray, " patterns"], Float64[np.ndarray, " tile"]]:
    """Return the flux of all frames, each from the tile that it is central to, and the factor on that of every tile."""
    tiles = [result.tile for result in results]
    fluxes = [np.load(result.object_file.parent / FLUX, allow_pickle=False) for result in results]
    factors, flux = align_flux(tiles, fluxes), np.ones(inputs.scan.n_patterns)
    for tile, values, factor in zip(tiles, fluxes, factors, strict=True):
        flux[tile.central] = factor * values[np.searchsorted(tile.patterns, tile.central)]
    mean = flux.mean()
    return flux / mean, factors / mean


def list_results(folder: Path, named: dict[str, Tile]) -> list[TileResult]:
    """Return the results of the tiles that are done."""
    return [
        TileResult(tile, folder / name / OBJECT, folder / name / ILLUMINATION)
        for name, tile in named.items()
        if (folder / name).is_dir()
    ]


def mask_cores(
    illumination: Float32[np.ndarray, "height width"], results: Sequence[TileResult], layout: TileLayout
) -> Float32[np.ndarray, "height width"]:
    """Return the illumination of the whole canvas, 0 where no tile is done."""
    if len(results) == len(layout.tiles):
        return illumination
    whole, part = Box(0, 0, *layout.extent), np.zeros_like(illumination)
    for result in results:
        place = result.tile.core.slices(whole)
        part[place] = illumination[place]
    return part


def _write_inputs(inputs: SharedInputs, network: UnrolledCorrection | None, jobs: JobsConfig) -> SharedInputs:
    """Write the inputs of the workers: the network, and counts where they are in this process alone."""
    inputs.folder.mkdir(parents=True, exist_ok=True)
    if network is not None:
        save_weights(network, {}, inputs.folder / NETWORK)
    return replace(inputs, scan=share_counts(inputs.scan, inputs.folder, jobs))


def share_counts(scan: ScanData, folder: Path, jobs: JobsConfig) -> ScanData:
    """Return a scan whose counts workers can read, from a file in the folder where they are in this process alone."""
    if jobs.workers == 0 or not isinstance(scan.counts, np.ndarray):
        return scan
    with replace_hdf5(folder / COUNTS, scan.counts.nbytes) as file:
        file.create_dataset("counts", data=scan.counts, chunks=(1, *scan.counts.shape[1:]))
    return scan.replace(counts=LazyCounts(folder / COUNTS, "counts", scan.good))


def report_as_stage(
    report: Progress, join: Callable[[], Solution], watch: IterateCallback[Solution] | None
) -> Progress:
    """Report jobs of any name as the stage `reconstruct`, and show the result so far to `watch`."""

    def report_stage(stage: str, done: int, total: int, /, **figures: float) -> None:
        report("reconstruct", done, total, **figures)
        if watch is not None and 0 < done < total:
            watch(join)

    return report_stage


def whole_losses(named: dict[str, Tile], records: dict[str, dict[str, Any]]) -> list[float]:
    """Return the data term of the whole scan before the last pass of every round, from the means over each tile.

    Only of the rounds that all tiles have done.
    """
    weights = [len(tile.central) / len(tile.patterns) for tile in named.values()]
    rounds = min(len(records[name]["loss"]) for name in named)
    rows = np.array([records[name]["loss"][:rounds] for name in named], float)
    return (np.array(weights) @ rows).tolist()


def _digest(inputs: SharedInputs, moments: Moments, network: UnrolledCorrection | None, layout: TileLayout) -> str:
    weights = "" if network is None else compute_digest(network.state_dict())
    boxes = [(tile.core, tile.canvas) for tile in layout.tiles]
    terms = [getattr(inputs.scan, name) for name in TERMS]
    content = (
        digest_scan(inputs.scan, moments),
        [term.tolist() if isinstance(term, np.ndarray) else term for term in terms],
        weights,
        asdict(inputs.options),
        inputs.rounds,
        boxes,
        layout.halo,
    )
    return sha256(repr(content).encode()).hexdigest()


@contextmanager
def tile_folder(folder: Path | None, name: str) -> Iterator[Path]:
    """Folder of the tiles, removed once all are done; one of this name within the caller's outlasts a failure."""
    place = Path(tempfile.mkdtemp(prefix="ptypinn-")) if folder is None else Path(folder) / name
    try:
        yield place.resolve()
    except BaseException:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)
