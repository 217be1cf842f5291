"""The four scenarios of `ptypinn study sim-lines` as they are shipped: amplitude, correlation, scale, CPU seconds.

Every scenario is run once with nothing rescaled; the other ways of prediction scaling are applied to the same model.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ptypinn as pp
from ptypinn.config.study import SimLinesConfig
from ptypinn.studies.sim_lines import ScenarioRun, sim_lines

SCENARIOS = ("gs1_ideal", "gs2_ideal", "gs1_custom", "gs2_custom")
FIGURES = ("output_vs_truth_ratio", "pearson_r_amplitude", "complex_error", "flux_closure", "frc_half_bit_px")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=SCENARIOS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="of object, positions, noise and training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the JSON; standard output where not given")
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        for name in given.scenarios:
            seeds = {"object_seed": seed, "sim_seed": seed, "train_seed": seed}
            rows.append(judge(SimLinesConfig(scenario=name, threads=given.threads, device="cpu", **seeds), seed))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    text = json.dumps({"version": pp.__version__, "threads": given.threads, "rows": rows}, indent=1) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def judge(config: SimLinesConfig, seed: int) -> dict[str, Any]:
    """Figures of one scenario, and the ratio after every way of prediction scaling."""
    with tempfile.TemporaryDirectory() as folder:
        plain = sim_lines(config, output_dir=folder)
        ratios = {"none": ratio_of(plain)}
        for source in ("recorded", "flux", "least_squares"):
            ratios[source] = ratio_of(sim_lines(replace(config, prediction_scale_source=source), output_dir=folder))
    record = plain.metadata
    return {
        "scenario": config.scenario,
        "seed": seed,
        **{name: plain.evaluation.metrics.get(name) for name in FIGURES},
        "scale_match_pct": record.forward_pass_diagnostics.scale_match_pct,
        "unseen": asdict(record.unseen),
        "ratio_by_prediction_scale": ratios,
        "verdict": plain.diagnosis.verdict,
        "limits": record.limits,
        "seconds": {name: {"wall": step.wall_s, "cpu": step.cpu_s} for name, step in plain.steps.items()},
    }


def ratio_of(run: ScenarioRun) -> float:
    """Mean amplitude over that of the truth."""
    return run.evaluation.metrics["output_vs_truth_ratio"]


if __name__ == "__main__":
    main()
