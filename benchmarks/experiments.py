"""Faults of experiments one at a time and together: errors and claims of one command with its default options.

Every scan is simulated with its true values, which the solver does not get. Results are written after every run, so
that the command can be interrupted and continues; LSQ-ML runs beside, where ptychi is installed, with `--lsqml`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ptypinn as pp
from experiment_cases import DOSES, FAULTS, SEEDS, Case
from experiment_claims import compare_claims, summarise_claims
from experiment_figure import draw_bars
from experiment_scores import score
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.solvers.lsqml import LsqmlOptions, run_lsqml
from ptypinn.solvers.postprocess import finalise
from store import RESULTS, locked
from truth_comparison import describe_machine, median

Results = dict[str, dict[str, Any]]
Solver = Callable[[ScanData], Reconstruction]
LSQML_EPOCHS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--photons", nargs="+", type=float, default=list(DOSES), help="photons per pattern")
    parser.add_argument("--full", action="store_true", help="about 1,000 patterns per scan, not 300")
    parser.add_argument("--lsqml", action="store_true", help="run LSQ-ML of ptychi on the same scans as well")
    parser.add_argument("--again", action="store_true", help="repeat runs that are stored")
    parser.add_argument("--report", action="store_true", help="run nothing; print and draw what is stored")
    parser.add_argument("--output", type=Path, default=RESULTS / "experiments.json")
    parser.add_argument("--figure", type=Path, help="default: beside the JSON, with the suffix .png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    methods: dict[str, Solver] = {"reconstruct": solve} | ({"lsqml": solve_lsqml} if arguments.lsqml else {})
    names = arguments.only or list(FAULTS)
    cases = [
        Case(name, photons, seed, arguments.full)
        for photons in arguments.photons
        for seed in arguments.seeds
        for name in dict.fromkeys([*(FAULTS[name].base for name in names), *names])
    ]
    if not arguments.report:
        run_cases(cases, methods, arguments.output, arguments.again)
    results = read_results(arguments.output)
    sys.stdout.write("\n".join(table_lines(cases, results, list(methods))) + "\n")
    draw_bars(cases, results, arguments.figure or arguments.output.with_suffix(".png"))


def solve(scan: ScanData) -> Reconstruction:
    """Reconstruct a scan as a user does, with no option that depends on the fault."""
    return pp.reconstruct(scan, config=pp.ReconstructConfig(threads=1))


def solve_lsqml(scan: ScanData) -> Reconstruction:
    """Reconstruct a scan by LSQ-ML of ptychi, which solves for probe, positions and the flux of the frames as well."""
    scan = calibrate_probe(scan)
    options = LsqmlOptions(refine_positions=True, refine_flux=True)
    result = run_lsqml(scan, LSQML_EPOCHS, options)
    return finalise(result.reconstruction(scan, {"stage": "refine"}), scan, device=torch.device("cpu"))


def run_cases(cases: Sequence[Case], methods: dict[str, Solver], path: Path, again: bool) -> None:
    """Run every method on every scan that has no stored result, and store it at once."""
    for case in cases:
        able = [name for name in methods if name != "lsqml" or FAULTS[case.fault].has_probe]
        todo = [name for name in able if again or f"{name}: {case.key}" not in read_results(path)]
        if not todo:
            continue
        simulated = case.simulate()
        scan = case.read(simulated)
        blind = case.measured_scan(scan)
        for name in todo:
            started = time.process_time()
            recon = methods[name](blind)
            seconds = time.process_time() - started
            record = {
                **score(recon, scan, blind),
                **compare_claims(recon, simulated, blind),
                "cpu_s": round(seconds, 1),
                "patterns": scan.n_patterns,
                "faults": case.config().faults,
                "machine": describe_machine(),
                "version": pp.__version__,
            }
            save_result(path, f"{name}: {case.key}", record)
            print(f"{name}: {case.key}: error {record['error']:.4g} after {seconds:.0f} CPU s", file=sys.stderr)


def read_results(path: Path) -> Results:
    """Return the stored runs by name."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save_result(path: Path, key: str, record: dict[str, Any]) -> None:
    """Store a run in place of an earlier one: a line per run, so that files compare well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        entries = read_results(path) | {key: record}
        lines = (f"{json.dumps(name)}: {json.dumps(entries[name], allow_nan=False)}" for name in sorted(entries))
        part = path.with_suffix(".part")
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        part.replace(path)


def table_lines(cases: Sequence[Case], results: Results, methods: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table: medians over the seeds, and what must hold."""
    yield (
        f"{'method':12} {'photons':>7}  {'fault':46} {'error':>8} {'ratio':>6} {'limit':>5} {'misfit':>6} "
        f"{'stated':>7} {'CPU s':>5}  verdicts"
    )
    for method in methods:
        for photons in dict.fromkeys(case.photons for case in cases):
            for fault in dict.fromkeys(case.fault for case in cases):
                group = [case for case in cases if (case.fault, case.photons) == (fault, photons)]
                line = _row(method, fault, photons, group, results)
                if line:
                    yield line
    keys = {f"{method}: {case.key}" for method in methods for case in cases}
    records = [record for key, record in results.items() if key in keys]
    wrong = sum(record["sure_and_wrong"] for record in records)
    yield f"without a warning, error above three times the stated uncertainty: {wrong} of {len(records)} runs"
    claims = [record for record in records if "named" in record]
    if claims:
        yield summarise_claims(claims)


def _row(method: str, fault: str, photons: float, group: Sequence[Case], results: Results) -> str:
    """Return the line of one fault at one dose; empty where nothing is stored."""
    pairs = [(results.get(f"{method}: {case.key}"), results.get(f"{method}: {case.base.key}")) for case in group]
    records = [record for record, _ in pairs if record is not None]
    if not records:
        return ""
    ratio = median([record["error"] / base["error"] for record, base in pairs if record and base])
    error, misfit, stated, seconds = (
        float(np.median([np.nan if record[name] is None else record[name] for record in records]))
        for name in ("error", "residual_over_noise", "typical_uncertainty", "cpu_s")
    )
    verdicts = ", ".join(dict.fromkeys(record["verdict"].split(":")[0].split(",")[0] for record in records))
    mark = " SURE AND WRONG" if any(record["sure_and_wrong"] for record in records) else ""
    return (
        f"{method:12} {photons:7.0e}  {FAULTS[fault].title:46} {error:8.4f} {ratio or np.nan:6.2f} "
        f"{FAULTS[fault].limit:5.1f} {misfit:6.2f} {stated:7.4f} {seconds:5.0f}  {verdicts}{mark}"
    )


if __name__ == "__main__":
    main()
