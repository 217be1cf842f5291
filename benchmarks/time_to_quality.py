"""Error against CPU seconds: `refine` from a flat start and LSQ-ML of ptychi on the same arrays, paired in one run.

One thread, known probe, CPU seconds of the process; figures are taken outside the clock. For every scene it reports how
many CPU seconds `refine` needs for the best error that LSQ-ML reaches anywhere on its way. Prints JSON; run it in the
peer environment (see README.md).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from peer.lsqml import RIM, TracePoint, lsqml_trace, scene_error, well_lit
from scenes import OBJECTS, make_scene

from ptypinn.config.refine import RefineConfig
from ptypinn.data.scan import ScanData
from ptypinn.refine import refine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", choices=sorted(OBJECTS), default=sorted(OBJECTS))
    parser.add_argument("--photons", type=float, default=1e6, help="photons per pattern")
    parser.add_argument("--iterations", type=int, default=170, help="iterations of LSQ-ML")
    parser.add_argument("--every", type=int, default=2, help="iterations of LSQ-ML between figures")
    parser.add_argument("--output", type=Path, help="file for the JSON; standard output where not given")
    given = parser.parse_args()
    torch.set_num_threads(1)
    report = {
        "solvers": {"refine": version("ptypinn"), "lsqml": f"ptychi {version('ptychi')}"},
        "torch": torch.__version__,
        "machine": platform.machine(),
        "photons": given.photons,
        "scenes": {name: compare(name, given.photons, given.iterations, given.every) for name in given.scenes},
    }
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def compare(name: str, photons: float, iterations: int, every: int) -> dict[str, object]:
    """Ours before and after theirs, so that a drift of the machine's speed is seen."""
    scene = make_scene(name, photons)
    ours = refine_trace(scene)
    theirs = lsqml_trace(scene, iterations, every=every)
    again = refine_trace(scene)
    return {
        "well_lit": race((ours, again), theirs, "error"),
        "with_dim_rim": race((ours, again), theirs, "error_wide"),
        "refine_trace": [asdict(point) for point in ours],
        "lsqml_trace": [asdict(point) for point in theirs],
    }


def race(ours: tuple[list[TracePoint], ...], theirs: list[TracePoint], error: str) -> dict[str, object]:
    """CPU seconds of `refine` to the best error that LSQ-ML reaches anywhere on its way, and to 1.05 times that."""
    best = min(theirs, key=lambda point: getattr(point, error))
    goal = getattr(best, error)
    reached = [first_below(trace, error, goal) for trace in ours]
    return {
        "lsqml_best_error": goal,
        "lsqml_cpu_s": best.cpu_s,
        "refine_best_error": min(getattr(point, error) for point in ours[0]),
        "refine_cpu_s_to_that_error": reached,
        "share_of_lsqml_time": None if None in reached else float(np.mean(reached)) / best.cpu_s,
        "cpu_s_to_within_5_percent": {
            "refine": first_below(ours[0], error, 1.05 * goal),
            "lsqml": first_below(theirs, error, 1.05 * goal),
        },
    }


def refine_trace(scene: ScanData) -> list[TracePoint]:
    """Error of `refine` after every iteration; set-up, start and held-out pixels are all on the clock."""
    masks, points = (well_lit(scene), well_lit(scene, RIM)), []
    spent, started = 0.0, time.process_time()

    def look(obj: np.ndarray) -> None:
        nonlocal spent, started
        spent += time.process_time() - started
        points.append(TracePoint(len(points) + 1, spent, *(scene_error(obj, scene, mask) for mask in masks)))
        started = time.process_time()

    refine(scene, RefineConfig(refine_probe=False, threads=1, device="cpu"), watch=look)
    return points


def first_below(trace: list[TracePoint], error: str, goal: float) -> float | None:
    """CPU seconds until an error is at most `goal`."""
    return next((point.cpu_s for point in trace if getattr(point, error) <= goal), None)


if __name__ == "__main__":
    main()
