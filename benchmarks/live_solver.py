"""Incremental solver against a simulated clock: error at every quarter of the scan, delay of the picture, closing pass.

Frames come at a rate; the clock advances by the CPU seconds of every step on one thread. Errors are over those of
`reconstruct` with the patterns that had come. Run it on a quiet machine: times of a loaded one come out longer.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiment_cases import OVERLAP, Case
from experiment_scores import object_errors
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import draw_probe
from ptypinn.models.model_file import load_weights
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.solvers.live import solver as live
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate

QUARTERS = (0.25, 0.5, 0.75, 1.0)
ORDERS = {"raster": "jittered_raster", "spiral": "fermat", "random": "jittered_raster"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--photons", nargs="+", type=float, default=[1e6, 1e5])
    parser.add_argument("--rates", nargs="+", type=float, default=[200.0], help="frames per second")
    parser.add_argument("--patterns", type=int, default=2400)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--budget-s", type=float, default=0.7, help="time that every step is given")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for order in arguments.orders:
        for photons in arguments.photons:
            scan = draw_scan(ORDERS[order], photons, arguments.patterns, arguments.size)
            numbers = np.arange(scan.n_patterns)
            numbers = np.random.default_rng(0).permutation(numbers) if order == "random" else numbers
            offline = [solve_offline(scan, numbers[: round(part * len(numbers))]) for part in QUARTERS]
            for rate in arguments.rates:
                figures = replay(scan, numbers, rate, arguments.budget_s, offline)
                rows.append({"order": order, "photons": photons, "rate_hz": rate, **figures})
                print(json.dumps(rows[-1]), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1))


def draw_scan(kind: str, photons: float, count: int, size: int) -> ScanData:
    """Return a scan with its truth, its recorded probe 15 % out of focus."""
    config = replace(Case("none", photons, 0).config(), scan=kind, n_patterns=count, size=size)
    step = (1 - OVERLAP) * equivalent_diameter(draw_probe(replace(config, object_size=(size, size), faults=())))
    edge = size + round(step * count**0.5)
    return simulate(replace(config, object_size=(edge, edge)))


def solve_offline(scan: ScanData, numbers: np.ndarray) -> float:
    """Return the complex error of `reconstruct` with some patterns."""
    part = scan.subset(np.sort(numbers))
    recon = reconstruct(part.replace(truth=None, experiment=None), config=ReconstructConfig(threads=1))
    return object_errors(recon, part)["error"]


def replay(scan: ScanData, numbers: np.ndarray, rate: float, budget_s: float, offline: list[float]) -> dict[str, Any]:
    """Feed a scan at a rate; return errors over those of `reconstruct`, delays, and figures of the closing pass."""
    blind, count = scan.replace(truth=None, experiment=None), len(numbers)
    live.time = _ProcessClock
    solver = live.LiveSolver(load_weights(None), ReconstructConfig(threads=1), torch.device("cpu"))
    arrivals, entered = np.arange(count) / rate, np.full(count, np.inf)
    clock, sent, ratios, modes = 0.0, 0, list[float | None](), dict[str, int]()
    while sent < count or solver.n_solved < count:
        due = int(np.searchsorted(arrivals, clock, side="right"))
        if due > sent:
            chosen = np.sort(numbers[sent:due])
            solver.add(blind.subset(chosen), chosen)
            sent = due
        while len(ratios) < len(QUARTERS) and sent >= QUARTERS[len(ratios)] * count:
            ratios.append(_error(solver, scan) / offline[len(ratios)] if solver.n_solved else None)
        started = time.process_time()
        step = solver.step(budget_s)
        if step is None:
            clock = max(clock + 1e-3, arrivals[min(sent, count - 1)])
            continue
        clock += time.process_time() - started
        modes[step.mode] = modes.get(step.mode, 0) + 1
        entered[step.numbers] = clock
    delay = measure_delay(arrivals, entered[numbers])
    started = time.process_time()
    probe = solver.close()
    finished = reconstruct(solver.probe.complete(blind), solver.weights, solver.config, solved_probe=probe)
    closing_s = time.process_time() - started
    ratio = object_errors(finished, scan)["error"] / offline[-1]
    return {**delay, "ratios": ratios, "modes": modes, "closing_cpu_s": closing_s, "closing_ratio": ratio}


class _ProcessClock:
    """Clock of the solver: CPU seconds of the process."""

    perf_counter = staticmethod(time.process_time)


def measure_delay(arrivals: np.ndarray, entered: np.ndarray) -> dict[str, float]:
    """Return by how much the picture is behind the newest frame while frames come, seconds.

    Args:
        arrivals: Time of every frame, ascending.
        entered: Time at which each is in the picture.
    """
    clock = np.arange(arrivals[0] + 0.5, arrivals[-1], 0.01)
    newest = np.array([arrivals[entered <= now].max(initial=0.0) for now in clock])
    delay = clock - newest
    return {"delay_median_s": float(np.median(delay)), "delay_95_s": float(np.percentile(delay, 95))}


def _error(solver: live.LiveSolver, scan: ScanData) -> float:
    return object_errors(replace(solver.current(), patterns=None), scan)["error"]


if __name__ == "__main__":
    main()
