"""LSQ-ML of ptychi on a scene: its error against CPU seconds, and its time per iteration.

CPU seconds are those of the iterations alone: set-up (clustering the positions included) and figures are not counted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ptypinn.data.scan import ScanData
from ptypinn.metrics import align, complex_error
from ptypinn.solver.preconditioner import illumination_of
from ptypinn.solver.ptychi_engine import LsqmlOptions, lsqml_task

KNOWN_PROBE = LsqmlOptions(refine_probe=False)
"""Settings with which LSQ-ML reaches a given error in the fewest CPU seconds on the scenes (see README.md)."""


RIM = 0.1
"""Share of the illumination's 95th percentile down to which the dim rim is counted."""


@dataclass(frozen=True)
class TracePoint:
    """Where LSQ-ML stands after some iterations."""

    iteration: int
    """Passes over all patterns."""
    cpu_s: float
    """CPU seconds spent in them."""
    error: float
    """`scene_error` of the object where it is well lit."""
    error_wide: float
    """The same with the dim rim, where counting noise decides."""


def lsqml_trace(
    scene: ScanData, iterations: int, options: LsqmlOptions = KNOWN_PROBE, every: int = 1
) -> list[TracePoint]:
    """Error against CPU seconds; the figures are taken after each `every` iterations."""
    core, wide = well_lit(scene), well_lit(scene, RIM)
    spent, points = 0.0, []
    with lsqml_task(scene, options) as task:
        for iteration in range(1, iterations + 1):
            started = time.process_time()
            task.step()
            spent += time.process_time() - started
            if iteration % every == 0 or iteration == iterations:
                found = task.object()
                errors = (scene_error(found, scene, mask) for mask in (core, wide))
                points.append(TracePoint(iteration, spent, *errors))
    return points


def lsqml_seconds_per_iteration(scene: ScanData, iterations: int = 5, options: LsqmlOptions = KNOWN_PROBE) -> float:
    """Smallest CPU time of one iteration after a first one that is not counted."""
    times = []
    with lsqml_task(scene, options) as task:
        task.step()
        for _ in range(iterations):
            started = time.process_time()
            task.step()
            times.append(time.process_time() - started)
    return min(times)


def scene_error(obj: np.ndarray, scene: ScanData, mask: np.ndarray) -> float:
    """Relative complex error against the truth after one global complex factor and one phase ramp."""
    aligned = align(obj, scene.truth, mask, ramp=True)
    return complex_error(aligned.image, scene.truth, aligned.mask, fit_factor=True)


def well_lit(scene: ScanData, fraction: float = 0.5) -> np.ndarray:
    """Pixels whose illumination exceeds `fraction` of its 95th percentile, as in `Reconstruction.well_lit`."""
    import torch

    corners = torch.from_numpy(np.rint(scene.positions_px).astype(np.int64))[None]
    light = illumination_of(torch.from_numpy(scene.require_probe()), corners, *scene.truth.shape).numpy()
    return light > fraction * np.percentile(light[light > 0], 95)
