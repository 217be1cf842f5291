"""Thick samples: error of every slice against CPU seconds, of `reconstruct` and of ptychi's multislice LSQ-ML.

Simulated scans of two and four slices at the depth of field apart. Both solvers get the same counts, number and spacing
of slices, and the true probe as a guess to refine; LSQ-ML runs for `--epochs` from a flat object, its object alone
(the probe known) and with the probe. Errors of slices are after one factor, a ramp and a shift. Also: the number of
slices that `--slices auto` finds, and the cost of a slice in passes over a thin sample. Needs the environment of
`make test-interop` for LSQ-ML (`--no-peer` without). Writes JSON; one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ptypinn as pp
from ptypinn.data.depth import FIELD_FRESNEL_NUMBER, restack
from ptypinn.data.positions import canvas_frame
from ptypinn.metrics.alignment import align
from ptypinn.metrics.image import Mask
from ptypinn.physics.optics import illumination_mask
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem

RESULTS = Path(__file__).parent / "results" / "multislice.json"
SCAN: dict[str, Any] = {"size": 64, "object_size": (160, 160), "overlap": 0.8, "photons": 1e6}
SAMPLE: dict[str, Any] = {"amplitude_range": (1.0, 0.85), "phase_range": (0.0, 0.7)}
OBJECTS, NUMBERS, SEEDS = ("dead_leaves", "lines"), (2, 4), (1, 2, 3)
THIN_PHOTONS = 1e5, 1e6, 1e8
EVERY, PASSES = 10, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", nargs="+", default=OBJECTS, choices=OBJECTS)
    parser.add_argument("--slices", nargs="+", type=int, default=NUMBERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--no-peer", action="store_true", help="keep the stored figures of LSQ-ML")
    parser.add_argument("--no-auto", action="store_true", help="keep the stored numbers of slices that are found")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}

    def store() -> None:
        arguments.output.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")

    for kind in arguments.objects:
        for number in arguments.slices:
            for seed in arguments.seeds:
                scan = pp.simulate(pp.SimulateConfig(object=kind, slices=number, seed=seed, **SCAN, **SAMPLE))
                row = results.setdefault(f"{kind} {number} seed {seed}", {})
                row |= {"thin": solve(scan, slices=1), "slices": solve(scan, slices=number, given=True)}
                if not arguments.no_auto:
                    row["auto"] = solve(scan, slices="auto")
                if not arguments.no_peer:
                    row["lsqml"] = {name: trace_lsqml(scan, arguments.epochs, name) for name in ("known", "refined")}
                print_row(f"{kind} {number} seed {seed}", row)
                store()
    results["pass_ratio"] = {str(number): measure_passes(number) for number in NUMBERS}
    print(f"passes of slices, over those of a thin sample: {results['pass_ratio']}", flush=True)
    if not arguments.no_auto:
        results["thin samples"] = {
            f"{kind} seed {seed}, {photons:.0e} photons": find(kind, seed, photons)
            for kind, seed, photons in itertools.product(OBJECTS, arguments.seeds, THIN_PHOTONS)
        }
        print(f"slices found in thin samples: {results['thin samples']}", flush=True)
    store()


def solve(scan: pp.ScanData, *, slices: int | str, given: bool = False) -> dict[str, Any]:
    """Reconstruct a scan; return the errors of its slices, CPU seconds, and what was found."""
    assert scan.experiment is not None
    spacing = tuple(scan.experiment.slice_spacing_m.tolist()) if given else None
    config = pp.ReconstructConfig(threads=1, device="cpu", assume="ideal", slices=slices, slice_spacing_m=spacing)
    started = time.process_time()
    recon = pp.reconstruct(scan, config=config)
    seconds = time.process_time() - started
    images = recon.object[None] if recon.slices is None else recon.slices
    metrics = pp.evaluate(recon, scan).metrics
    record = {name: value for name, value in recon.provenance.get("slices", {}).items() if name != "held_out_deviance"}
    true = {} if spacing is not None or slices == 1 else {"true_spacing_m": scan.experiment.slice_spacing_m.tolist()}
    names = "complex_error", "output_vs_truth_ratio", "residual_over_noise"
    return {
        "cpu_s": seconds,
        "errors": measure_errors(images, scan) if len(images) in (1, len(scan.experiment.slices)) else None,
        **{name: metrics[name] for name in names if name in metrics},
        **record,
        **true,
    }


def measure_errors(images: np.ndarray, scan: pp.ScanData) -> list[float]:
    """Return the complex errors of slices on well-illuminated pixels; of a thin object against every slice."""
    (y, x), (height, width) = canvas_frame(scan)
    truths = scan.experiment.slices[:, y : y + height, x : x + width]
    mask = illumination_mask(compute_illumination_at(scan.positions_px - (y, x), scan.probe, (height, width)))
    images = np.broadcast_to(images, truths.shape) if len(images) == 1 else images
    return [measure_error(image, truth, mask) for image, truth in zip(images, truths, strict=True)]


def measure_error(image: np.ndarray, truth: np.ndarray, mask: Mask) -> float:
    """Return the complex error after one factor, a ramp and a shift."""
    aligned = align(image, truth, mask, ramp=True, shift=True)
    ours, target = aligned.image[aligned.mask], truth[aligned.mask]
    factor = np.vdot(ours, target) / np.vdot(ours, ours)
    return float(np.linalg.norm(factor * ours - target) / np.linalg.norm(target))


def trace_lsqml(scan: pp.ScanData, epochs: int, probe: str) -> list[dict[str, Any]]:
    """Return errors of the slices against CPU seconds of LSQ-ML, its set-up not counted."""
    gaps = np.full(len(scan.experiment.slices) - 1, FIELD_FRESNEL_NUMBER)
    options, points, seconds = LsqmlOptions(refine_probe=probe == "refined"), list[dict[str, Any]](), 0.0
    with lsqml_task(scan.replace(gap_fresnel_numbers=gaps), options) as task:
        for epoch in range(1, epochs + 1):
            started = time.process_time()
            task.step()
            seconds += time.process_time() - started
            if epoch % EVERY == 0:
                points.append({"epoch": epoch, "cpu_s": seconds, "errors": measure_errors(task.slices(), scan)})
    return points


def find(kind: str, seed: int, photons: float) -> int:
    """Return the number of slices that are found in a thin sample."""
    scan = pp.simulate(pp.SimulateConfig(object=kind, seed=seed, **{**SCAN, "photons": photons}, **SAMPLE))
    config = pp.ReconstructConfig(threads=1, device="cpu", assume="ideal", slices="auto")
    return int(pp.reconstruct(scan, config=config).provenance["slices"]["number"])


def measure_passes(number: int) -> float:
    """Return the time of a pass with slices over that of a thin sample, the best of several, one after the other."""
    thin = pp.simulate(pp.SimulateConfig(**SCAN))
    scans = {"thin": thin, "thick": thin.replace(gap_fresnel_numbers=np.full(number - 1, FIELD_FRESNEL_NUMBER))}
    seconds = dict.fromkeys(scans, float("inf"))
    problems = {name: QuasiNewtonProblem(s, QuasiNewtonOptions(1), torch.device("cpu")) for name, s in scans.items()}
    point = problems["thin"].starting_point()
    slices = torch.from_numpy(restack(point.object.numpy(), number))
    points = {"thin": point, "thick": replace(point, object=slices)}
    for _ in range(PASSES):
        for name, problem in problems.items():
            objective = problem.objective(held_out=False)
            started = time.process_time()
            objective(points[name])
            seconds[name] = min(seconds[name], time.process_time() - started)
    return seconds["thick"] / seconds["thin"]


def print_row(name: str, row: dict[str, Any]) -> None:
    """Print errors and CPU seconds of one scan."""
    print(f"{name}: thin {_mean(row['thin'])}, slices {_mean(row['slices'])}", flush=True)
    if "auto" in row:
        found = {key: row["auto"].get(key) for key in ("number", "spacing_m", "spacing_uncertainty_m", "cpu_s")}
        print(f"  found {found}", flush=True)
    for probe, points in row.get("lsqml", {}).items():
        best = min(points, key=lambda point: np.mean(point["errors"]))
        print(f"  LSQ-ML, probe {probe}: {_mean(best)} at epoch {best['epoch']}", flush=True)


def _mean(point: dict[str, Any]) -> str:
    return f"{np.mean(point['errors']):.4f} in {point['cpu_s']:.0f} s"


if __name__ == "__main__":
    main()
