"""Amplitude in absolute units without a fit: simulated scans at three doses, by solver and network.

For lines and dead leaves under a defocused zone-plate probe: `refine` with the true probe held, with a probe guess that
is 20 % too wide, and the network after a short training with the true probe. Nothing is rescaled. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import map_coordinates

import ptypinn as pp
from ptypinn.config.evaluate import EvaluateConfig

METRICS = ("output_vs_truth_ratio", "flux_closure", "complex_error", "pearson_r_amplitude", "pearson_r_phase")
GAUGE_REMOVED = EvaluateConfig(remove_ramp=True, remove_shift=True)
GAUGE_FIXED = EvaluateConfig(remove_ramp=False, remove_shift=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", nargs="+", default=["lines", "dead_leaves"])
    parser.add_argument("--photons", type=float, nargs="+", default=[1e4, 1e6, 1e9], help="photons per pattern")
    parser.add_argument("--patterns", type=int, default=1000, help="on a 256 x 256 object")
    parser.add_argument("--epochs", type=int, default=10, help="of the network's training; 0 omits it")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.objects:
        for photons in arguments.photons:
            scan = pp.simulate(pp.SimulateConfig(object=name, photons=photons, n_patterns=arguments.patterns))
            rows += [{"object": name, "photons": photons, **row} for row in measure(scan, arguments.epochs)]
            print(*(json.dumps(row) for row in rows[-3:]), sep="\n", file=sys.stderr, flush=True)
    text = json.dumps({"version": pp.__version__, "patterns": arguments.patterns, "rows": rows}, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def measure(scan: pp.ScanData, epochs: int) -> list[dict[str, object]]:
    """Return the metrics of every method on one scan."""
    wide = scan.replace(probe=widen(scan.require_probe(), 1.2))
    true_probe = pp.RefineConfig(refine_probe=False, threads=1, device="cpu")
    free_probe = pp.RefineConfig(threads=1)
    rows = [
        evaluate_timed("refine, true probe", lambda: pp.refine(scan, true_probe), scan, GAUGE_FIXED),
        evaluate_timed("refine, probe 20 % too wide", lambda: pp.refine(wide, free_probe), scan, GAUGE_REMOVED),
    ]
    return (
        [*rows, evaluate_timed("network", lambda: train_and_apply(scan, epochs), scan, GAUGE_FIXED)] if epochs else rows
    )


def train_and_apply(scan: pp.ScanData, epochs: int) -> pp.Reconstruction:
    """Train on the scan and reconstruct it."""
    with tempfile.TemporaryDirectory() as folder:
        model = pp.train(scan, pp.TrainConfig(epochs=epochs, device="cpu"), output_dir=folder)
        return pp.reconstruct(scan, model)


def evaluate_timed(method: str, solve, scan: pp.ScanData, evaluation: EvaluateConfig) -> dict[str, object]:
    started = time.process_time()
    recon = solve()
    cpu_s = time.process_time() - started
    metrics = pp.evaluate(recon, scan, config=evaluation).metrics
    return {"method": method, **{name: round(metrics[name], 5) for name in METRICS}, "cpu_s": round(cpu_s, 1)}


def widen(probe: np.ndarray, factor: float) -> np.ndarray:
    """Return the probe stretched about its centre, with the same power."""
    size = probe.shape[-1]
    axis = (np.arange(size) - size // 2) / factor + size // 2
    grid = np.meshgrid(axis, axis, indexing="ij")
    stretched = np.stack([map_coordinates(m.real, grid) + 1j * map_coordinates(m.imag, grid) for m in probe])
    return (stretched * np.linalg.norm(probe) / np.linalg.norm(stretched)).astype(np.complex64)


if __name__ == "__main__":
    main()
