"""What the patterns of electron scans show of their beam: semi-angle, defocus, rotation, against the truth.

Simulated scans of three kinds of weak samples, 2e3 to 2e5 electrons per pattern, in and out of focus, their positions
turned by random angles of up to 40 degrees. Errors are also in units of those that are stated. Writes JSON; one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ptypinn as pp
from ptypinn.data.beam_survey import survey_beam

RESULTS = Path(__file__).parent / "results" / "electrons.json"
KINDS = ("dead_leaves", "grf", "lines")
DEFOCI_NM = (-100.0, -50.0, 5.0, 35.0, 60.0, 90.0)
ELECTRONS = (2e3, 2e4, 2e5)
SEMI_ANGLE_MRAD = 9.0
MICROSCOPE: dict[str, Any] = {"particle": "electron", "energy_eV": 300e3, "detector_distance_m": 0.1, "probe": "lens"}
SAMPLE: dict[str, Any] = {"phase_range": (0.0, 0.4), "amplitude_range": (1.0, 1.0)}
RASTER: dict[str, Any] = {"scan": "raster", "step_px": 4.0, "size": 96, "object_size": (224, 224)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=36)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(number) for number in range(arguments.scans)]
    results = {"scans": rows, "summary": summarise(rows)}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["summary"], indent=1))


def measure(number: int) -> dict[str, Any]:
    """Return the errors of one scan; None where nothing is stated."""
    rng = np.random.default_rng(number)
    kind, defocus_nm = KINDS[number % len(KINDS)], float(rng.choice(DEFOCI_NM))
    electrons, degrees = float(rng.choice(ELECTRONS)), float(rng.uniform(-40, 40))
    lens = {"convergence_mrad": SEMI_ANGLE_MRAD, "defocus_m": 1e-9 * defocus_nm, "photons": electrons}
    scan = pp.simulate(pp.SimulateConfig(object=kind, seed=number, **lens, **MICROSCOPE, **SAMPLE, **RASTER))
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scan = scan.replace(positions_px=scan.positions_px @ turn.T, truth=None, experiment=None, probe=None)
    beam = survey_beam(scan, scan.counts[:].mean(0, dtype=np.float64))
    row: dict[str, Any] = {"object": kind, "defocus_nm": defocus_nm, "electrons": electrons, "degrees": degrees}
    row |= {"semi_angle_error": None, "defocus_error": None, "rotation_error_deg": None, "is_mirrored": None}
    if beam is None:
        return row
    assert beam.semi_angle_mrad is not None
    row["semi_angle_error"] = beam.semi_angle_mrad / SEMI_ANGLE_MRAD - 1
    if beam.defocus_m is not None and beam.defocus_error_m is not None:
        error_m = beam.defocus_m - 1e-9 * defocus_nm
        row |= {"defocus_error": error_m / (1e-9 * defocus_nm), "defocus_over_stated": error_m / beam.defocus_error_m}
    if (shown := beam.orientation) is not None:
        error = (shown.rotation_deg - degrees + 90) % 180 - 90
        row |= {"rotation_error_deg": error, "rotation_over_stated": error / shown.rotation_error_deg}
        row |= {"is_mirrored": shown.is_mirrored, "shown_by": type(shown).__name__}
    return row


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return numbers of scans, and medians and maxima of the errors."""
    summary: dict[str, Any] = {"scans": len(rows), "mirrored": sum(bool(row["is_mirrored"]) for row in rows)}
    for name in (
        "semi_angle_error",
        "defocus_error",
        "defocus_over_stated",
        "rotation_error_deg",
        "rotation_over_stated",
    ):
        values = np.abs([row[name] for row in rows if row.get(name) is not None])
        if len(values):
            summary[name] = {"stated": len(values), "median": float(np.median(values)), "max": float(values.max())}
    return summary


if __name__ == "__main__":
    main()
