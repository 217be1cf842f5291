"""Near-field scans: errors beside far-field scans with the same light, cost of a pass, and the real star of P25.

Simulated scans have a probe with speckle, as behind a diffuser, and the same photons on every object pixel in both
geometries; each is solved by `reconstruct` as an ideal experiment. The real scan needs `--real FILE`: amplitude
residual and CPU seconds of `reconstruct` with nothing but the file; with `--trace`, the residual of all its patterns
on the way as well, and the same with the distance of the focus given. Writes JSON; one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy import ndimage

import ptypinn as pp
from ptypinn.data.near_field import GEOMETRY, to_near_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.solvers.beam_window import BeamWindow
from ptypinn.solvers.near_field import add_probe
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem

RESULTS = Path(__file__).parent / "results" / "near_field.json"
SIZE, RADIUS_PX, SPECKLE_PX, SPECKLE_RAD = 96, 26, 2, 1.5
FOCUS_M = 4e-3
OPTICS = {"energy_eV": 12400.0, "detector_pixel_m": 55e-6, "detector_distance_m": 1.0}
GEOMETRIES: dict[str, dict[str, Any]] = {"far": {}, "near": {"focus_distance_m": FOCUS_M}}
OBJECTS, DOSES = ("lines", "dead_leaves", "grf"), (1e4, 1e5, 1e6)
PASSES = 12
REAL_FOCUS_M = 3.65e-3
"""Distance of the focus of the real scan, as its authors have it."""
TRACE_INTERVAL = 5
"""Iterations between points of a trace."""
TRACE_TARGETS = (0.0042, 0.0014, 0.0012)
"""Amplitude residuals of the real scan whose times are printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", nargs="+", default=OBJECTS, choices=OBJECTS)
    parser.add_argument("--photons-per-pixel", nargs="+", type=float, default=DOSES)
    parser.add_argument("--real", type=Path, help="PETRAIII_P25_Near_Field_Ptycho.cxi")
    parser.add_argument("--trace", action="store_true", help="residual of the real scan against CPU seconds")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    with TemporaryDirectory() as folder:
        np.save(probe := Path(folder) / "probe.npy", make_probe())
        for kind in arguments.objects:
            for dose in arguments.photons_per_pixel:
                rows = {name: measure(make_scan(kind, dose, probe, name)) for name in GEOMETRIES}
                ratio = rows["near"]["complex_error"] / rows["far"]["complex_error"]
                results[f"{kind} {dose:g}"] = {**rows, "error_ratio": ratio}
                print(f"{kind} {dose:g}: {rows['near']['complex_error']:.4f}, {ratio:.2f} of the far field", flush=True)
        results["pass_ratio"] = measure_passes(probe)
        print(f"a near-field pass takes {results['pass_ratio']:.2f} far-field passes", flush=True)
    if arguments.real:
        results["real"] = measure(pp.load(arguments.real), assume="measured")
        print(f"real scan: {results['real']}", flush=True)
    if arguments.real and arguments.trace:
        results["trace"] = trace(pp.load(arguments.real))
        results["trace, distance given"] = trace(pp.load(arguments.real, pp.LoadConfig(focus_distance_m=REAL_FOCUS_M)))
    arguments.output.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def make_probe() -> np.ndarray:
    """Return a disk with speckle, (1, N, N), of any scale."""
    axis = np.arange(SIZE) - SIZE / 2
    disk = 1 / (1 + np.exp(np.hypot(axis[:, None], axis) - RADIUS_PX))
    phase = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(SIZE, SIZE)), SPECKLE_PX)
    return (disk * np.exp(1j * SPECKLE_RAD * phase / phase.std())).astype(np.complex64)[None]


def make_scan(kind: str, photons_per_pixel: float, probe: Path, geometry: str) -> pp.ScanData:
    """Simulate a scan of one kind of object with so many photons on a pixel within the disk."""
    light = {"probe": "file", "probe_file": str(probe), "photons": photons_per_pixel * np.pi * RADIUS_PX**2}
    scan = {"object": kind, "size": SIZE, "object_size": (224, 224), "overlap": 0.8, "seed": 1}
    return pp.simulate(pp.SimulateConfig(**scan, **light, **OPTICS, **GEOMETRIES[geometry]))


def measure(scan: pp.ScanData, assume: str = "ideal") -> dict[str, float]:
    """Reconstruct a scan; return its metrics and CPU seconds."""
    started = time.process_time()
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(threads=1, device="cpu", assume=assume))
    seconds = time.process_time() - started
    metrics = pp.evaluate(recon, scan).metrics
    names = ("complex_error", "output_vs_truth_ratio", "amplitude_residual", "residual_over_noise")
    return {"cpu_s": seconds, **{name: float(metrics[name]) for name in names if name in metrics}}


def trace(scan: pp.ScanData) -> dict[str, list[float]]:
    """Reconstruct a scan; return CPU seconds and amplitude residuals on the way, which are measured off the clock."""
    started, columns, off, calls = time.process_time(), {"cpu_s": [], "amplitude_residual": []}, 0.0, 0

    def watch(current: Any) -> None:
        nonlocal off, calls
        now, calls = time.process_time(), calls + 1
        if calls % TRACE_INTERVAL == 0 and len((recon := current()).positions_px) == scan.n_patterns:
            columns["cpu_s"].append(round(now - started - off, 3))
            columns["amplitude_residual"].append(measure_residual(scan, recon))
        off += time.process_time() - now

    config = pp.ReconstructConfig(threads=1, device="cpu")
    recon = pp.reconstruct(scan, config=config, watch=watch)
    columns["cpu_s"].append(round(time.process_time() - started - off, 3))
    columns["amplitude_residual"].append(float(recon.metrics["amplitude_residual"]))
    for target in TRACE_TARGETS:
        reached = (now for now, residual in zip(*columns.values(), strict=True) if residual <= target)
        print(f"amplitude residual {target}: after {next(reached, float('nan')):.1f} CPU s", flush=True)
    return columns


def measure_residual(scan: pp.ScanData, recon: Reconstruction) -> float:
    """Return the amplitude residual of whole patterns, of a reconstruction that may be one of their middle alone."""
    whole = add_probe(to_near_field(scan, recon.provenance["scan"][GEOMETRY]["focus_distance_m"]))
    if recon.probe.shape[-1] < whole.size:
        window = BeamWindow(recon.probe.shape[-1], whole.size)
        recon = window.widen(recon, window.cut(whole), whole)
    arrays = recon.sample, recon.probe, recon.positions_px
    fit = compute_data_fit(recon.scan_part(whole), *arrays, batch=128, device=torch.device("cpu"))
    return fit.amplitude_residual


def measure_passes(probe: Path) -> float:
    """Return the time of a near-field pass over that of a far-field one, the best of several, one after the other."""
    seconds = {name: float("inf") for name in GEOMETRIES}
    problems = {
        name: QuasiNewtonProblem(make_scan("lines", 1e4, probe, name), QuasiNewtonOptions(1), torch.device("cpu"))
        for name in GEOMETRIES
    }
    objectives = {name: problem.objective(held_out=False) for name, problem in problems.items()}
    points = {name: problem.starting_point() for name, problem in problems.items()}
    for _ in range(PASSES):
        for name, objective in objectives.items():
            started = time.process_time()
            objective(points[name])
            seconds[name] = min(seconds[name], time.process_time() - started)
    return seconds["near"] / seconds["far"]


if __name__ == "__main__":
    main()
