"""LSQ-ML of ptychi on a scene: error against CPU seconds, and time per iteration.

CPU seconds are those of the iterations alone: set-up (clustering the positions included) and metrics are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ptypinn.data.scan import ScanData
from ptypinn.solvers.lsqml import LsqmlOptions, LsqmlTask, lsqml_task

if TYPE_CHECKING:
    from truth_comparison import Trace, TruthComparison

KNOWN_PROBE = LsqmlOptions(refine_probe=False)
"""Settings with which LSQ-ML reaches a arguments error in the fewest CPU seconds on the scenes (see README.md)."""
PATIENCE, GRACE = 3, 20
"""A trace ends after `PATIENCE` times the iterations to the lowest error, and `GRACE` iterations more."""


def lsqml_trace(
    scan: ScanData, comparison: TruthComparison, iterations: int, options: LsqmlOptions = KNOWN_PROBE, every: int = 1
) -> Trace:
    """Return error against CPU seconds, measured every `every` iterations."""
    return run_steps(lsqml_task(scan, options), comparison, iterations, every)


def run_steps(
    context: AbstractContextManager[LsqmlTask],
    comparison: TruthComparison,
    iterations: int,
    every: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> Trace:
    """Step a task of ptychi until it is done or its lowest error is far in the past, on a clock."""
    cpu_s, points = 0.0, []
    with context as task:
        for iteration in range(1, iterations + 1):
            started = clock()
            task.step()
            cpu_s += clock() - started
            if iteration % every == 0 or iteration == iterations:
                points.append(comparison.measure(iteration, cpu_s, task.object()))
                best = min(points, key=lambda point: point.error).iteration
                if iteration > PATIENCE * best + GRACE:
                    break
    return points


def lsqml_seconds_per_iteration(scene: ScanData, iterations: int = 5, options: LsqmlOptions = KNOWN_PROBE) -> float:
    """Return the minimum CPU time of one iteration after a first one that is not counted."""
    times = []
    with lsqml_task(scene, options) as task:
        task.step()
        for _ in range(iterations):
            started = time.process_time()
            task.step()
            times.append(time.process_time() - started)
    return min(times)
