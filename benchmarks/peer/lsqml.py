"""LSQ-ML of ptychi on a scene: error against CPU seconds, and time per iteration.

CPU seconds are those of the iterations alone: set-up (clustering the positions included) and figures are not counted.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ptypinn.data.scan import ScanData
from ptypinn.solvers.lsqml import LsqmlOptions, LsqmlTask, lsqml_task

if TYPE_CHECKING:
    from judge import Judge, Trace

KNOWN_PROBE = LsqmlOptions(refine_probe=False)
"""Settings with which LSQ-ML reaches a given error in the fewest CPU seconds on the scenes (see README.md)."""
PATIENCE, GRACE = 3, 20
"""A trace ends where the least error is `PATIENCE` times as old as the way there, and `GRACE` iterations more."""


def lsqml_trace(
    scan: ScanData, judge: Judge, iterations: int, options: LsqmlOptions = KNOWN_PROBE, every: int = 1
) -> Trace:
    """Error against CPU seconds; the figures are taken after each `every` iterations."""
    return stepped(lsqml_task(scan, options), judge, iterations, every)


def stepped(made: AbstractContextManager[LsqmlTask], judge: Judge, iterations: int, every: int = 1) -> Trace:
    """Step a task of ptychi until it is done or its least error lies far behind."""
    spent, points = 0.0, []
    with made as task:
        for iteration in range(1, iterations + 1):
            started = time.process_time()
            task.step()
            spent += time.process_time() - started
            if iteration % every == 0 or iteration == iterations:
                points.append(judge.point(iteration, spent, task.object()))
                least = min(points, key=lambda point: point.error).iteration
                if iteration > PATIENCE * least + GRACE:
                    break
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
