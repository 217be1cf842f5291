"""Solve a thick sample of any size in overlapping tiles, as `tiled` does a thin one.

Probe, and what else belongs to all frames alike, are solved for on the tile with the most counts; all tiles are then
solved with these, held. A tile starts where the whole canvas would, and is solved by the same iterations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.shared import JobsConfig, default_of
from ptypinn.data.calibration import take_background_out
from ptypinn.data.depth import SLICES
from ptypinn.data.positions import canvas_frame
from ptypinn.data.reconstruction import Reconstruction, SolverResult
from ptypinn.data.scan import TERMS, ScanData
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.metrics.misfit_causes import record_unsought
from ptypinn.physics.patches import compute_illumination
from ptypinn.runs.jobs.job import Job
from ptypinn.runs.jobs.run import run_jobs
from ptypinn.solvers.iterative import refuse_options
from ptypinn.solvers.multislice import has_phase_slices
from ptypinn.solvers.slice_search import StackChoice
from ptypinn.solvers.unrolled.global_start import digest_scan, measure_moments, select_patterns
from ptypinn.solvers.unrolled.stack_stitching import stitch_stacks
from ptypinn.solvers.unrolled.tile_jobs import (
    BACKGROUND,
    ILLUMINATION,
    OBJECT,
    PROBE,
    TileJob,
    device_of,
    index_patterns,
)
from ptypinn.solvers.unrolled.tiled import (
    list_results,
    mask_cores,
    plan_scan,
    report_as_stage,
    share_counts,
    tile_folder,
    whole_losses,
)
from ptypinn.solvers.unrolled.tiling import Box, PixelMemory, Tile, TileLayout, patch_corners
from ptypinn.utils.plain_values import to_plain
from ptypinn.utils.progress import Progress, silent

FOLDER, START = "slices", "start.npy"
"""Folder of the tiles within that of the call, and file of the object to start from."""
BYTES_PER_PIXEL, BYTES_PER_PAIR = 320, 24
"""Memory of the solver per pixel of a slice, forty complex numbers, and per pixel of the canvas for every pair of
slices, whose steps depend on each other."""
WHOLE_BYTES, WHOLE_BYTES_PER_SLICE = 30, 40
"""Memory for every pixel of the whole canvas, and of every slice there: the result, and what is written of it."""
FRAME_TERMS = ("flux", "positions", "beam", "probe_variation")
"""Terms of the experiment with numbers of every frame, which are solved for in scans that are not cut into tiles."""
UNCUT = "a scan that is not cut into tiles: fewer slices, or more --memory-gib"
"""Scans that have these terms."""
WITHOUT_EFFECT = ("memory_gib", "workers", "scheduler", "threads", "device")
"""Options that change no tile of a layout."""


@runtime_checkable
class StackSolver(Protocol):
    """Solver of a thick sample, or of a tile of one: a function of a module, which workers can import."""

    def __call__(
        self,
        scan: ScanData,
        start: Reconstruction,
        choice: StackChoice,
        config: ReconstructConfig,
        device: torch.device,
        progress: Progress,
        watch: SnapshotCallback | None = None,
        /,
    ) -> tuple[ScanData, Reconstruction]:
        """Return the scan, without a background that was found, and the reconstruction."""
        ...


@dataclass(frozen=True)
class StackInputs:
    """Inputs that all tiles share, small enough to go to every worker; arrays lie in the folder."""

    folder: Path
    scan: ScanData
    """With the probe to start from, without a truth; its counts are read by the workers."""
    origin: tuple[int, int]
    choice: StackChoice
    config: ReconstructConfig
    device: str
    solve: StackSolver
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Record of the start."""


def stack_memory(number: int, *, paired: bool = True) -> PixelMemory:
    """Return the memory that so many slices take, whose steps depend on each other where paired."""
    tile = BYTES_PER_PIXEL * number + paired * BYTES_PER_PAIR * number**2
    return PixelMemory(tile, WHOLE_BYTES + WHOLE_BYTES_PER_SLICE * number)


def plan_stack(scan: ScanData, config: ReconstructConfig, slices: int) -> TileLayout:
    """Plan the tiles of a thick sample.

    Args:
        scan: Scan with a probe.
        config: Options, with the memory or the size of the tiles.
        slices: Number of slices.

    Raises:
        InputError: Where the memory does not suffice, or for terms of the frames that are asked for in several tiles.
    """
    layout = plan_scan(scan, config, stack_memory(slices, paired=not has_phase_slices(scan, config)))
    if len(layout.tiles) > 1:
        refuse_options(config, (), FRAME_TERMS, UNCUT)
    return layout


def solve_stack_tiled(
    solve: StackSolver,
    scan: ScanData,
    start: Reconstruction | None,
    choice: StackChoice,
    config: ReconstructConfig,
    device: torch.device,
    progress: Progress,
    watch: SnapshotCallback | None = None,
    *,
    jobs: JobsConfig,
    folder: Path | None = None,
) -> tuple[ScanData, Reconstruction]:
    """Solve a thick sample whose canvas is cut into tiles.

    Arguments are those of the solver of a tile, with the reconstruction as a thin sample to start from, or None for
    vacuum; and the jobs and the folder of `solve_tiled`. Progress is that of the tiles.

    Returns:
        The scan, without a background that was found, and the reconstruction.

    Raises:
        InputError: For terms of the frames that are asked for, or where a tile fails.
    """
    bare = scan.replace(truth=None, gap_fresnel_numbers=choice.gap_fresnel_numbers)
    with tile_folder(folder, FOLDER) as place:
        inputs = StackInputs(place, bare, canvas_frame(scan)[0], choice, config, str(device), solve)
        recon = _Run(plan_stack(scan, config, choice.slices), jobs, progress, watch).solve(inputs, start)
    recon = record_unsought(recon, [name for name in FRAME_TERMS if name in config.solved_terms()])
    background = None if recon.background is scan.background else recon.background
    return scan if background is None else take_background_out(scan, background)[0], recon


@dataclass(frozen=True)
class _Run:
    """Solve of all tiles of a scan."""

    layout: TileLayout
    jobs: JobsConfig
    progress: Progress
    watch: SnapshotCallback | None

    def solve(self, inputs: StackInputs, start: Reconstruction | None) -> Reconstruction:
        """Solve for probe and background on one tile, then all tiles; finished ones are taken from the folder."""
        if start is not None:
            inputs = replace(inputs, scan=inputs.scan.replace(probe=start.probe), provenance=start.provenance)
        layout, scan = self.layout, inputs.scan
        moments = measure_moments(scan, torch.device(inputs.device))
        digest = _digest(inputs, digest_scan(scan, moments), layout)
        inputs = replace(inputs, folder=inputs.folder / digest[:16])
        inputs.folder.mkdir(parents=True, exist_ok=True)
        if start is not None:
            np.save(inputs.folder / START, start.object)
        inputs = replace(inputs, scan=share_counts(scan, inputs.folder, self.jobs))
        tile_jobs = [TileJob(k, tile.core, tile.canvas, layout.halo, digest) for k, tile in enumerate(layout.tiles)]
        brightest = np.argmax([float(moments[tile.patterns, 0].sum()) for tile in layout.tiles])
        held, record = self._solve_probe(inputs, tile_jobs[brightest])
        named = {f"tile{job.number}": tile for job, tile in zip(tile_jobs, layout.tiles, strict=True)}
        join = partial(self._join, held, record["provenance"], named)
        report = report_as_stage(self.progress, join, self.watch)
        work = partial(solve_stack_tile, inputs=held)
        named_jobs = [Job(name, job) for name, job in zip(named, tile_jobs, strict=True)]
        records = run_jobs(work, named_jobs, inputs.folder, self.jobs, progress=report).require_all()
        history = {"probe_loss": record["loss"], "loss": whole_losses(named, records)}
        return replace(join(), history=history)

    def _solve_probe(self, inputs: StackInputs, job: TileJob) -> tuple[StackInputs, dict[str, Any]]:
        """Solve one tile for all unknowns; return the inputs with those of all frames, held, and the job's record."""
        work = partial(solve_stack_probe, inputs=inputs)
        record = run_jobs(work, [Job("probe", job)], inputs.folder, self.jobs).require_all()["probe"]
        scan, place = inputs.scan, inputs.folder / "probe"
        if (place / BACKGROUND).exists():
            scan, _ = take_background_out(scan, np.load(place / BACKGROUND, allow_pickle=False))
        tilt = None if record["tilt"] is None else np.array(record["tilt"])
        scan = scan.replace(probe=np.load(place / PROBE, allow_pickle=False), sample_tilt=tilt)
        config = _hold(inputs.config, record["provenance"])
        return replace(inputs, scan=scan, config=config), record

    def _join(self, inputs: StackInputs, provenance: Mapping[str, Any], named: dict[str, Tile]) -> Reconstruction:
        """Join the tiles that are done; elsewhere slices are 1 and the illumination 0."""
        scan, layout = inputs.scan, self.layout
        results = list_results(inputs.folder, named)
        positions = scan.positions_px - np.asarray(inputs.origin, float)
        corners = torch.from_numpy(patch_corners(scan, inputs.origin))[None]
        illumination = compute_illumination(torch.from_numpy(scan.require_probe()), corners, *layout.extent).numpy()
        illumination = mask_cores(illumination, results, layout)
        is_phase = provenance[SLICES].get("transmission") == "phase"
        slices = stitch_stacks(results, layout, inputs.choice.gap_fresnel_numbers, is_phase=is_phase)
        slices[:, illumination == 0] = 1
        result = SolverResult(
            object=slices.prod(0),
            illumination=illumination,
            probe=scan.require_probe(),
            positions_px=positions,
            origin_px=inputs.origin,
            slices=slices,
        )
        return result.reconstruction(scan, provenance)


def solve_stack_probe(job: TileJob, folder: Path, *, inputs: StackInputs) -> dict[str, Any]:
    """Solve a tile for probe and slices; write the probe into the folder, and a background where there is one."""
    variation: Any = "none" if inputs.config.refine_probe else "auto"
    options = {"flux": "constant", "positions": "recorded", "beam": "still", "probe_variation": variation}
    config = replace(inputs.config, **options)
    recon = _solve_tile(job, replace(inputs, config=config))
    np.save(folder / PROBE, recon.probe)
    if recon.background is not None:
        np.save(folder / BACKGROUND, recon.background)
    record = {**recon.provenance, "config": asdict(inputs.config)}
    tilt = None if recon.sample_tilt is None else recon.sample_tilt.tolist()
    return {"loss": recon.history["loss"], "provenance": to_plain(record), "tilt": tilt}


def solve_stack_tile(job: TileJob, folder: Path, *, inputs: StackInputs) -> dict[str, Any]:
    """Solve a tile for its slices alone; write them and their illumination into the folder."""
    recon = _solve_tile(job, inputs)
    np.save(folder / OBJECT, recon.sample)
    np.save(folder / ILLUMINATION, recon.illumination)
    return {"loss": recon.history["loss"]}


def _solve_tile(job: TileJob, inputs: StackInputs) -> Reconstruction:
    part = select_patterns(inputs.scan, index_patterns(job, inputs.scan, inputs.origin))
    canvas, device = Box(*job.canvas), device_of(inputs.device, job)
    start = np.ones(canvas.shape, np.complex64)
    if (inputs.folder / START).exists():
        whole = np.load(inputs.folder / START, mmap_mode="r", allow_pickle=False)
        start = np.array(whole[canvas.slices(Box(0, 0, *whole.shape))])
    origin = inputs.origin[0] + canvas.top, inputs.origin[1] + canvas.left
    result = SolverResult(
        object=start,
        illumination=np.zeros(canvas.shape, np.float32),
        probe=part.require_probe(),
        positions_px=part.positions_px - np.asarray(origin, float),
        origin_px=origin,
    )
    initial = result.reconstruction(part.replace(gap_fresnel_numbers=None), inputs.provenance)
    return inputs.solve(part, initial, inputs.choice, inputs.config, device, silent)[1]


def _hold(config: ReconstructConfig, provenance: Mapping[str, Any]) -> ReconstructConfig:
    """Return options that take probe, background and changes along depth as a tile has shown them."""
    names = "background", "flux", "positions", "beam", "probe_variation", "probe_rounds", "probe_modes"
    changes = {name: default_of(ReconstructConfig, name) for name in names}
    variation = provenance[SLICES].get("depth_variation")
    if variation is not None:
        changes["depth_variation"] = variation
    return replace(config, refine_probe=False, assume="ideal", **changes)


def _digest(inputs: StackInputs, scan_digest: str, layout: TileLayout) -> str:
    boxes = [(tile.core, tile.canvas) for tile in layout.tiles]
    terms = [getattr(inputs.scan, name) for name in TERMS]
    config = {name: value for name, value in asdict(inputs.config).items() if name not in WITHOUT_EFFECT}
    content = (
        scan_digest,
        [term.tolist() if isinstance(term, np.ndarray) else term for term in terms],
        config,
        inputs.provenance.get("model"),
        [f"{gap:.6g}" for gap in inputs.choice.gap_fresnel_numbers],
        boxes,
        layout.halo,
    )
    return sha256(repr(content).encode()).hexdigest()
