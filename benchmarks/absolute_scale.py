"""Does the amplitude come out in absolute units, without a fit? Simulated scans at three doses, solver and network.

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

FIGURES = ("output_vs_truth_ratio", "flux_closure", "complex_error", "pearson_r_amplitude", "pearson_r_phase")
FREED = EvaluateConfig(remove_ramp=True, remove_shift=True)
HELD = EvaluateConfig(remove_ramp=False, remove_shift=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", nargs="+", default=["lines", "dead_leaves"])
    parser.add_argument("--photons", type=float, nargs="+", default=[1e4, 1e6, 1e9], help="photons per pattern")
    parser.add_argument("--patterns", type=int, default=1000, help="on a 256 x 256 object")
    parser.add_argument("--epochs", type=int, default=10, help="of the network's training; 0 leaves it out")
    parser.add_argument("--output", type=Path, help="file for the JSON; standard output where not given")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.objects:
        for photons in given.photons:
            scan = pp.simulate(pp.SimulateConfig(object=name, photons=photons, n_patterns=given.patterns))
            rows += [{"object": name, "photons": photons, **row} for row in judge(scan, given.epochs)]
            print(*(json.dumps(row) for row in rows[-3:]), sep="\n", file=sys.stderr, flush=True)
    text = json.dumps({"version": pp.__version__, "patterns": given.patterns, "rows": rows}, indent=1) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def judge(scan: pp.ScanData, epochs: int) -> list[dict[str, object]]:
    """Figures of every way to solve one scan."""
    wide = scan.replace(probe=widened(scan.require_probe(), 1.2))
    known = pp.RefineConfig(refine_probe=False, threads=1, device="cpu")
    rows = [
        timed("refine, true probe", lambda: pp.refine(scan, known), scan, HELD),
        timed("refine, probe 20 % too wide", lambda: pp.refine(wide, pp.RefineConfig(threads=1)), scan, FREED),
    ]
    return [*rows, timed("network", lambda: learned(scan, epochs), scan, HELD)] if epochs else rows


def learned(scan: pp.ScanData, epochs: int) -> pp.Reconstruction:
    """Train on the scan and reconstruct it."""
    with tempfile.TemporaryDirectory() as folder:
        model = pp.train(scan, pp.TrainConfig(epochs=epochs, device="cpu"), output_dir=folder)
        return pp.reconstruct(scan, model)


def timed(method: str, solve, scan: pp.ScanData, judging: EvaluateConfig) -> dict[str, object]:
    started = time.process_time()
    recon = solve()
    spent = time.process_time() - started
    metrics = pp.evaluate(recon, scan, config=judging).metrics
    return {"method": method, **{name: round(metrics[name], 5) for name in FIGURES}, "cpu_s": round(spent, 1)}


def widened(probe: np.ndarray, factor: float) -> np.ndarray:
    """The probe stretched about its centre, with the same power."""
    size = probe.shape[-1]
    axis = (np.arange(size) - size // 2) / factor + size // 2
    grid = np.meshgrid(axis, axis, indexing="ij")
    stretched = np.stack([map_coordinates(m.real, grid) + 1j * map_coordinates(m.imag, grid) for m in probe])
    return (stretched * np.linalg.norm(probe) / np.linalg.norm(stretched)).astype(np.complex64)


if __name__ == "__main__":
    main()
