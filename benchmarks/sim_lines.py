"""The four scenarios of `ptypinn study sim-lines` as they are shipped: amplitude, correlation, scale, CPU seconds.

Every scenario is run once with nothing rescaled; the other ways of prediction scaling are applied to the same model.
With `--zero-shot`, the unrolled solver reconstructs the scans of the scenarios with the weights of the package instead.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ptypinn as pp
from ptypinn.config.studies import SimLinesConfig
from ptypinn.studies.scenario import resolve_scenario
from ptypinn.studies.sim_lines import ScenarioRun, plan_study, sim_lines

SCENARIOS = ("gs1_ideal", "gs2_ideal", "gs1_custom", "gs2_custom")
METRICS = ("output_vs_truth_ratio", "pearson_r_amplitude", "complex_error", "flux_closure", "frc_half_bit_px")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=SCENARIOS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="of object, positions, noise and training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--zero-shot", action="store_true", help="reconstruct without training")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    rows = []
    for seed in arguments.seeds:
        for name in arguments.scenarios:
            seeds = {"object_seed": seed, "sim_seed": seed, "train_seed": seed}
            config = SimLinesConfig(scenario=name, threads=arguments.threads, device="cpu", **seeds)
            rows.append(run_zero_shot(config, seed) if arguments.zero_shot else run_scenario(config, seed))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    text = json.dumps({"version": pp.__version__, "threads": arguments.threads, "rows": rows}, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def run_zero_shot(config: SimLinesConfig, seed: int) -> dict[str, Any]:
    """Return the metrics of the scan of one scenario by the unrolled solver, which was not trained on such scans."""
    with tempfile.TemporaryDirectory() as folder:
        scan = pp.simulate(plan_study(resolve_scenario(config)).write_probe(Path(folder)))
    started = time.process_time()
    recon = pp.reconstruct(scan, None, pp.ReconstructConfig(refine_probe=False, threads=config.threads, device="cpu"))
    cpu_s = time.process_time() - started
    metrics = pp.evaluate(recon, scan).metrics
    values = {name: metrics.get(name) for name in METRICS}
    verdict = pp.diagnose(recon, scan).verdict
    return {"scenario": config.scenario, "seed": seed, **values, "cpu_s": round(cpu_s, 1), "verdict": verdict}


def run_scenario(config: SimLinesConfig, seed: int) -> dict[str, Any]:
    """Return the metrics of one scenario, and the ratio after every kind of prediction scaling."""
    with tempfile.TemporaryDirectory() as folder:
        plain = sim_lines(config, output_dir=folder)
        ratios = {"none": amplitude_ratio(plain)}
        for source in ("recorded", "flux", "least_squares"):
            ratios[source] = amplitude_ratio(
                sim_lines(replace(config, prediction_scale_source=source), output_dir=folder)
            )
    record = plain.metadata
    return {
        "scenario": config.scenario,
        "seed": seed,
        **{name: plain.evaluation.metrics.get(name) for name in METRICS},
        "scale_match_pct": record.forward_pass_diagnostics.scale_match_pct,
        "unseen": asdict(record.unseen),
        "ratio_by_prediction_scale": ratios,
        "verdict": plain.diagnosis.verdict,
        "limits": record.limits,
        "seconds": {name: {"wall": step.wall_s, "cpu": step.cpu_s} for name, step in plain.steps.items()},
    }


def amplitude_ratio(run: ScenarioRun) -> float:
    """Return the mean amplitude over that of the truth."""
    return run.evaluation.metrics["output_vs_truth_ratio"]


if __name__ == "__main__":
    main()
