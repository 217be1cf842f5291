"""The real Siemens star by the learned solver, by `refine`, and by a network trained on one half of the scan.

The learned solver and `refine` run with one and three probe modes, the former with and without polish.
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

FREED = EvaluateConfig(remove_ramp=True, remove_shift=True)
SHOTS = ((1, 0), (1, 20), (3, 0), (3, 20))
"""Probe modes and most iterations of polishing."""
SPLIT = {"split_axis": "y", "split_fraction": 0.5, "split_gap_px": 10.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path, help="siemens_star.npz")
    parser.add_argument("--epochs", type=int, default=12, help="of the network's training")
    parser.add_argument("--only_zero_shot", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures")
    parser.add_argument("--output", type=Path, help="file for the JSON; standard output where not given")
    given = parser.parse_args()
    scan = pp.load(given.scan)
    shown = [{"modes": modes, "polish": polish, **zero_shot(scan, modes, polish)} for modes, polish in SHOTS]
    if given.only_zero_shot:
        print(json.dumps(shown, indent=1))
        return
    solved = {modes: refined(scan, modes) for modes in (1, 3)}
    parts, cpu_s = learned(scan, solved[1][0], given.epochs)
    report = {
        "version": pp.__version__,
        "zero_shot": shown,
        "refine": [{"modes": modes, **figures} for modes, (_, figures) in solved.items()],
        "network": {
            "train_cpu_s": round(cpu_s, 1),
            **{part: judged(recon, scan, solved[1][0]) for part, recon in parts.items()},
        },
    }
    if given.pictures:
        draw(given.pictures, solved[3][0], solved[1][0], parts)
    text = json.dumps(report, indent=1) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def zero_shot(scan: pp.ScanData, modes: int, polish: int) -> dict[str, float]:
    """Figures of the learned solver with the weights of the package, from the analytic guess of the probe."""
    wall, cpu = time.perf_counter(), time.process_time()
    recon = pp.reconstruct(scan, None, pp.ReconstructConfig(probe_modes=modes, polish=polish))
    spent = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    return {**{name: round(value, 5) for name, value in recon.metrics.items()}, **spent}


def refined(scan: pp.ScanData, modes: int) -> tuple[pp.Reconstruction, dict[str, float]]:
    """Object, and what it cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    recon = pp.refine(scan, pp.RefineConfig(probe_modes=modes))
    spent = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    return recon, {**{name: round(value, 5) for name, value in recon.metrics.items()}, **spent}


def learned(scan: pp.ScanData, known: pp.Reconstruction, epochs: int) -> tuple[dict[str, pp.Reconstruction], float]:
    """Train on the upper half with the refined probe; reconstruct both halves."""
    scan = scan.replace(probe=known.probe, probe_gauge="calibrated")
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = pp.train(scan, pp.TrainConfig(epochs=epochs, **SPLIT), output_dir=folder)
        spent = time.process_time() - started
        parts = {part: pp.reconstruct(scan, model, pp.ReconstructConfig(part=part)) for part in ("train", "held_out")}
    return parts, spent


def judged(recon: pp.Reconstruction, scan: pp.ScanData, reference: pp.Reconstruction) -> dict[str, float]:
    metrics = pp.evaluate(recon, scan, reference, FREED).metrics
    names = ("amplitude_residual", "expected_residual", "flux_closure", "pearson_r_phase", "pearson_r_amplitude")
    return {name: round(metrics[name], 4) for name in names}


def draw(
    folder: Path, best: pp.Reconstruction, reference: pp.Reconstruction, parts: dict[str, pp.Reconstruction]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "siemens_star.png").write_bytes(png_bytes(object_figure(best), dpi=80))
    figure = new_figure(10.0, 5.0)
    left, right = figure.subplots(1, 2)
    lit = reference.well_lit()
    phase = np.angle(reference.object * np.exp(-1j * np.angle(reference.object[lit].mean())))
    scale = phase_scale(phase[lit])
    show_image(left, np.where(lit, phase, np.nan), "refine: phase", scale)
    mosaic = np.full(reference.object.shape, np.nan)
    cut = [np.subtract(recon.origin_px, reference.origin_px) for recon in parts.values()]
    border = int(cut[1][0]) + reference.probe.shape[-1] // 2
    for recon, (y, x) in zip(parts.values(), cut, strict=True):
        height, width = recon.object.shape
        window = np.s_[y : y + height, x : x + width]
        both = recon.well_lit() & lit[window]
        aligned = align(recon.object, reference.object[window], both, ramp=True).image
        image = np.where(both, np.angle(aligned * np.exp(-1j * np.angle(reference.object[lit].mean()))), np.nan)
        rows = np.arange(y, y + height)[:, None]
        keep = (rows < border) if y == 0 else (rows >= border)
        mosaic[window] = np.where(keep & both, image, mosaic[window])
    show_image(right, mosaic, "network: trained above the line, never saw below", scale)
    right.axhline(border, color="white", lw=1.2, ls="--")
    (folder / "siemens_star_network.png").write_bytes(png_bytes(figure, dpi=80))


if __name__ == "__main__":
    main()
