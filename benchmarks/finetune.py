"""What fine-tuning on a scan gains there: error against the truth, which only the judge sees, before and after.

One CPU thread, known probe, the usual number of rounds. Prints and writes JSON.
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
from judge import Judge
from ptypinn.models.model_file import load_weights
from ptypinn.solvers.unrolled.round_schedule import light_on, usual_rounds
from scenes import Scene

RESULTS = Path(__file__).parent / "results" / "finetune.json"
CASES = [Scene(name, photons) for name in ("lines", "dead_leaves") for photons in (1e4, 1e5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", default="shipped", help="shipped, none, or a file of weights")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))))
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for number in given.cases:
        found.append(measure(CASES[number], given.start, given.epochs))
        print(json.dumps(found[-1]), flush=True)
    given.output.write_text(json.dumps(found, indent=2) + "\n")


def measure(scene: Scene, start: str, epochs: int) -> dict[str, object]:
    """Errors and deviances before and after fine-tuning on a scene."""
    scan, judge, began = scene.scan(), Judge.of(scene), time.process_time()
    config = pp.FinetuneConfig(start=start, epochs=epochs, refine_probe=False, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        tuned = load_weights(pp.finetune(scan, config, output_dir=folder))
    spent = time.process_time() - began
    models = {"after": tuned} if start == "none" else {"before": load_weights(_file(start)), "after": tuned}
    options, rounds = pp.ReconstructConfig(refine_probe=False, device="cpu"), usual_rounds(light_on(scan))
    points = {
        name: judge.point(rounds, 0.0, pp.reconstruct(scan, model, options).object) for name, model in models.items()
    }
    return {
        "scene": scene.key,
        "patterns": scan.n_patterns,
        "start": start if start in ("shipped", "none") else "file",
        "cpu_s": round(spent, 1),
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
