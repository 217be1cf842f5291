"""The real Siemens star by the unrolled solver, by `refine`, and by a network trained on one half of the scan.

The unrolled solver and `refine` run with one and three probe modes, the former with and without polish.
Needs the scan file `siemens_star.npz` (Velociprobe, APS; from the tike project). Prints JSON and draws the pictures of
the README. Wall times are those of all cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import ptypinn as pp
from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.metrics import align
from ptypinn.report.figures.colours import phase_scale
from ptypinn.report.figures.object import object_figure
from ptypinn.report.figures.style import new_figure, png_bytes, show_image

GAUGE_REMOVED = EvaluateConfig(remove_ramp=True, remove_shift=True)
SHOTS = ((1, 0), (1, 20), (3, 0), (3, 20))
"""Probe modes and maximum iterations of polishing."""
SPLIT = {"split_axis": "y", "split_fraction": 0.5, "split_gap_px": 10.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path, help="siemens_star.npz")
    parser.add_argument("--epochs", type=int, default=12, help="of the network's training")
    parser.add_argument("--only-zero-shot", action="store_true", help="omit the steps that take minutes")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    scan = pp.load(arguments.scan)
    zero_shots = [{"modes": modes, "polish": polish, **run_zero_shot(scan, modes, polish)} for modes, polish in SHOTS]
    if arguments.only_zero_shot:
        print(json.dumps(zero_shots, indent=1))
        return
    refined = {modes: run_refine(scan, modes) for modes in (1, 3)}
    parts, cpu_s = train_on_half(scan, refined[1][0], arguments.epochs)
    report = {
        "version": pp.__version__,
        "zero_shot": zero_shots,
        "refine": [{"modes": modes, **metrics} for modes, (_, metrics) in refined.items()],
        "network": {
            "train_cpu_s": round(cpu_s, 1),
            **{part: compare(recon, scan, refined[1][0]) for part, recon in parts.items()},
        },
    }
    if arguments.pictures:
        draw(arguments.pictures, refined[3][0], refined[1][0], parts)
    text = json.dumps(report, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def run_zero_shot(scan: pp.ScanData, modes: int, polish: int) -> dict[str, float]:
    """Return the metrics of the unrolled solver with the shipped weights, from the analytic guess of the probe."""
    wall, cpu = time.perf_counter(), time.process_time()
    recon = pp.reconstruct(scan, None, pp.ReconstructConfig(probe_modes=modes, polish=polish))
    seconds = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    return {**{name: round(value, 5) for name, value in recon.metrics.items()}, **seconds}


def run_refine(scan: pp.ScanData, modes: int) -> tuple[pp.Reconstruction, dict[str, float]]:
    """Return the reconstruction by `refine`, and its metrics and times."""
    wall, cpu = time.perf_counter(), time.process_time()
    recon = pp.refine(scan, pp.RefineConfig(probe_modes=modes))
    seconds = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    return recon, {**{name: round(value, 5) for name, value in recon.metrics.items()}, **seconds}


def train_on_half(
    scan: pp.ScanData, reference: pp.Reconstruction, epochs: int
) -> tuple[dict[str, pp.Reconstruction], float]:
    """Train on the upper half with the refined probe; reconstruct both halves."""
    scan = scan.replace(probe=reference.probe, probe_gauge="calibrated")
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = pp.train(scan, pp.TrainConfig(epochs=epochs, **SPLIT), output_dir=folder)
        cpu_s = time.process_time() - started
        parts = {
            part: pp.reconstruct(scan, model, pp.PatchNetworkConfig(subset=part)) for part in ("train", "held_out")
        }
    return parts, cpu_s


def compare(recon: pp.Reconstruction, scan: pp.ScanData, reference: pp.Reconstruction) -> dict[str, float]:
    metrics = pp.evaluate(recon, scan, reference, GAUGE_REMOVED).metrics
    names = ("amplitude_residual", "expected_residual", "flux_closure", "pearson_r_phase", "pearson_r_amplitude")
    return {name: round(metrics[name], 4) for name in names}


def draw(
    folder: Path, best: pp.Reconstruction, reference: pp.Reconstruction, parts: dict[str, pp.Reconstruction]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "siemens_star.png").write_bytes(png_bytes(object_figure(best), dpi=80))
    figure = new_figure(10.0, 5.0)
    left, right = figure.subplots(1, 2)
    illuminated = reference.well_illuminated()
    phase = np.angle(reference.object * np.exp(-1j * np.angle(reference.object[illuminated].mean())))
    scale = phase_scale(phase[illuminated])
    show_image(left, np.where(illuminated, phase, np.nan), "refine: phase", scale)
    mosaic = np.full(reference.object.shape, np.nan)
    offsets = [np.subtract(recon.origin_px, reference.origin_px) for recon in parts.values()]
    border = int(offsets[1][0]) + reference.probe.shape[-1] // 2
    for recon, (y, x) in zip(parts.values(), offsets, strict=True):
        height, width = recon.object.shape
        region = np.s_[y : y + height, x : x + width]
        both = recon.well_illuminated() & illuminated[region]
        aligned = align(recon.object, reference.object[region], both, ramp=True).image
        image = np.where(both, np.angle(aligned * np.exp(-1j * np.angle(reference.object[illuminated].mean()))), np.nan)
        rows = np.arange(y, y + height)[:, None]
        half = (rows < border) if y == 0 else (rows >= border)
        mosaic[region] = np.where(half & both, image, mosaic[region])
    show_image(right, mosaic, "network: trained above the line only", scale)
    right.axhline(border, color="white", lw=1.2, ls="--")
    (folder / "siemens_star_network.png").write_bytes(png_bytes(figure, dpi=80))


if __name__ == "__main__":
    main()
