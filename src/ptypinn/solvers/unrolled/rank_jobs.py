"""A solve shared out to the processes of a call: each gets its band of the canvas, with its patterns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ptypinn.config.shared import TilingConfig, option_name, show_value
from ptypinn.data.positions import canvas_frame
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.solvers.distributed.band_canvas import CanvasBand
from ptypinn.solvers.distributed.bands import Band, plan_bands
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart, Frame
from ptypinn.solvers.unrolled.global_start import select_patterns
from ptypinn.solvers.unrolled.problem import ScanContext, UnrolledOptions
from ptypinn.solvers.unrolled.tiling import GIB, patch_corners, tile_bytes
from ptypinn.utils.ranks import current_ranks


@dataclass(frozen=True)
class SolveJob:
    """Rounds of one kind to run."""

    scan: ScanData
    """Scan with a calibrated probe, or some of its patterns."""
    network: nn.Module | None
    options: UnrolledOptions
    rounds: int
    context: ScanContext | None = None
    """Of the scan that `scan` is a tile of, or that a start is known of."""


@dataclass(frozen=True)
class RankJob:
    """A solve as one of the processes gets it."""

    job: SolveJob
    bands: Sequence[Band]
    """Bands of all processes; the job has the patterns of this one's."""
    frame: Frame
    """Origin and extent of the whole canvas."""
    device: str
    """Kind of the device."""
    threads: int
    watched: bool
    """The first process watches the iterates."""


@contextlib.contextmanager
def share_out(job: SolveJob, device: torch.device, *, watched: bool) -> Iterator[tuple[SolveJob, CanvasPart]]:
    """Share a solve out to the processes of this call, of which this is the first; yield its own share.

    All of it, where this process works alone, or where the canvas has no room for a band of every process.

    Args:
        job: The solve.
        device: Device of this process.
        watched: This process watches the iterates.
    """
    ranks = current_ranks()
    frame = canvas_frame(job.scan) if job.context is None else (job.context.origin, job.context.start.shape)
    bands = None if ranks is None else divide_scan(job.scan, frame, ranks.count)
    if ranks is None or bands is None:
        yield job, WHOLE
        return
    jobs = [RankJob(_part_of(job, band), bands, frame, device.type, torch.get_num_threads(), watched) for band in bands]
    with ranks.busy():
        ranks.hand_out(jobs)
        yield jobs[0].job, CanvasBand(ranks, bands, frame, device, watched=watched)


def divide_scan(scan: ScanData, frame: Frame, count: int) -> list[Band] | None:
    """Return the bands of a scan on its canvas; None where the canvas has no room for so many."""
    return plan_bands(patch_corners(scan, frame[0]), scan.size, frame[1][0], count)


def require_room(scan: ScanData, tiling: TilingConfig, count: int) -> None:
    """Check that every process has room for its band.

    Args:
        scan: Scan with a probe.
        tiling: Memory of a process; tiles and their processes are not for several ranks.
        count: Number of processes.

    Raises:
        InputError: Where it has not, or for options of tiles.
    """
    for name in ("tile_px", "workers", "scheduler"):
        if value := getattr(tiling, name):
            expected = f"none with {count} ranks, each of which solves a band of the canvas"
            raise InputError(option_name(name), "", show_value(value), expected)
    frame = canvas_frame(scan)
    bands = divide_scan(scan, frame, count)
    if bands is None:
        most = next(few for few in range(count - 1, 0, -1) if few == 1 or divide_scan(scan, frame, few))
        rows = f"the canvas of {frame[1][0]} rows, with patterns of {scan.size} pixels, has room for no more"
        raise InputError("ranks", "", str(count), f"at most {most}: {rows}")
    needed = max(tile_bytes(len(band.patterns), (band.high - band.low) * frame[1][1], scan.size) for band in bands)
    if needed > tiling.memory_gib * GIB:
        expected = f"at least {needed / GIB:.2f} GiB for a band of {scan.source}, or more ranks than {count}"
        raise InputError("--memory-gib", "", f"{tiling.memory_gib:g} GiB", expected)


def require_alone(solver: str) -> None:
    """Raise `InputError` where several processes were started for a solver that runs in one."""
    ranks = current_ranks()
    if ranks is not None:
        raise InputError("ranks", "", str(ranks.count), f"1: {solver} runs in one process")


def _part_of(job: SolveJob, band: Band) -> SolveJob:
    """Return a solve with the patterns and the rows of a band; counts of files are read where they are needed."""
    scan, context = select_patterns(job.scan, band.patterns), job.context
    if isinstance(job.scan.counts, np.ndarray):
        scan = scan.replace(counts=job.scan.counts[band.patterns])
    if context is not None:
        context = replace(context, start=context.start[band.low : band.high], pattern_index=band.patterns)
    return replace(job, scan=scan, context=context)
