"""Gain of fine-tuning on a scan: error against the truth, which takes no part in the training, before and after.

One CPU thread, known probe, the default number of rounds. Prints and writes JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

import ptypinn as pp
from ptypinn.models.model_file import load_weights
from ptypinn.solvers.unrolled.rounds import default_rounds, estimate_dose
from scenes import Scene
from truth_comparison import TruthComparison

RESULTS = Path(__file__).parent / "results" / "finetune.json"
CASES = [Scene(name, photons) for name in ("lines", "dead_leaves") for photons in (1e4, 1e5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--init-weights", default="shipped", help="shipped, none, or a file of weights")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for number in arguments.cases:
        rows.append(measure(CASES[number], arguments.init_weights, arguments.epochs))
        print(json.dumps(rows[-1]), flush=True)
    arguments.output.write_text(json.dumps(rows, indent=2) + "\n")


def measure(scene: Scene, start: str, epochs: int) -> dict[str, object]:
    """Return errors and deviances before and after fine-tuning on a scene."""
    scan, comparison, started = scene.scan(), TruthComparison.of_scene(scene), time.process_time()
    config = pp.FinetuneConfig(init_weights=start, epochs=epochs, refine_probe=False, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        tuned = load_weights(pp.finetune(scan, config, output_dir=folder))
    cpu_s = time.process_time() - started
    models = {"after": tuned} if start == "none" else {"before": load_weights(_file(start)), "after": tuned}
    options, rounds = (
        pp.ReconstructConfig(refine_probe=False, device="cpu"),
        default_rounds(estimate_dose(scan)),
    )
    points = {
        name: comparison.measure(rounds, 0.0, pp.reconstruct(scan, model, options).object)
        for name, model in models.items()
    }
    return {
        "scene": scene.key,
        "patterns": scan.n_patterns,
        "start": start if start in ("shipped", "none") else "file",
        "cpu_s": round(cpu_s, 1),
        "kept": tuned.card["kept"],
        "epochs": tuned.card["trained"]["epochs"],
        "validation": tuned.card["validation"],
        "error": {name: round(point.error, 5) for name, point in points.items()},
        "ratio": {name: round(point.ratio, 5) for name, point in points.items()},
    }


def _file(start: str) -> str | None:
    return None if start == "shipped" else start


if __name__ == "__main__":
    main()
