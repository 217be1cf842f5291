"""Error of ptychi's LSQ-ML against CPU seconds on a benchmark scene; prints JSON. Run in the peer environment."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from peer.lsqml import KNOWN_PROBE, lsqml_trace
from ptypinn.solvers.lsqml import LsqmlOptions
from scenes import OBJECTS, make_scene
from truth_comparison import TruthComparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", choices=sorted(OBJECTS), default="lines")
    parser.add_argument("--photons", type=float, default=1e6, help="photons per pattern")
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--every", type=int, default=2, help="iterations between measurements")
    parser.add_argument("--batching", choices=["random", "uniform", "compact"], default=KNOWN_PROBE.batching)
    parser.add_argument("--batch-size", type=int, default=KNOWN_PROBE.batch_size)
    parser.add_argument("--momentum", type=float, default=KNOWN_PROBE.momentum)
    parser.add_argument("--noise-model", choices=["gaussian", "poisson"], default=KNOWN_PROBE.noise_model)
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = LsqmlOptions(
        arguments.batch_size, arguments.batching, arguments.momentum, arguments.noise_model, refine_probe=False
    )
    scene = make_scene(arguments.scene, arguments.photons)
    points = lsqml_trace(scene, TruthComparison(scene), arguments.iterations, options, arguments.every)
    best = min(points, key=lambda point: point.error)
    result = {
        "solver": f"ptychi {version('ptychi')}, LSQ-ML",
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": 1,
        "scene": {
            "name": arguments.scene,
            "photons": arguments.photons,
            "patterns": scene.n_patterns,
            "size": scene.size,
        },
        "options": asdict(options),
        "best": asdict(best),
        "trace": [asdict(point) for point in points],
    }
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
