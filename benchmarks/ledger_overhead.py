"""What the scale ledger costs: training and reconstruction with and without it, alternately, in one process.

python benchmarks/ledger_overhead.py [--patterns 1000] [--size 64] [--repeats 5] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch

import ptypinn as pp
from ptypinn.physics.patches import add_patches
from ptypinn.scale import Stats


@contextlib.contextmanager
def without_ledger() -> Iterator[None]:
    """Turn off everything that only the ledger needs."""

    def add(self, patches, intensity, corners):  # one canvas, not two
        add_patches(self.weighted, (patches * intensity)[None], corners[None])
        add_patches(self.weights, intensity[None], corners[None])

    nothing = Stats((0, 1, 1, 1), "float32", None, None, None, None, 0)
    stages = ("photons", "transmitted amplitude", "counts", "network input", "texture", "merge", "predicted counts")
    with (
        mock.patch("ptypinn.sweep.Sums.add", add),
        mock.patch("ptypinn.scale.tape.Tape.note"),
        mock.patch("ptypinn.scale.tape.Tape.read", return_value=dict.fromkeys(stages, nothing)),
        mock.patch("ptypinn.models.predictor.PatchPredictor.response", return_value=torch.ones(1)),
        mock.patch("ptypinn.reconstruct.merge_entries", return_value=[]),
        mock.patch("ptypinn.reconstruct.with_account", side_effect=lambda recon, *_: recon),
    ):
        yield


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median processor time with the ledger, and the median over pairs of the share that it adds."""
    work()
    pairs = []
    for _ in range(repeats):
        with without_ledger():
            bare = seconds(work)
        pairs.append((bare, seconds(work)))
    return {
        "cpu_s": statistics.median(full for _, full in pairs),
        "overhead": statistics.median(full / bare for bare, full in pairs) - 1,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scene = pp.SimulateConfig(size=options.size, n_patterns=options.patterns, object_size=(6 * options.size,) * 2)
    scan = pp.simulate(scene).replace(truth=None)
    with tempfile.TemporaryDirectory() as folder:
        recipe = pp.TrainConfig(epochs=1, n_groups=480, threads=1)
        model = pp.train(scan, recipe, output_dir=folder)
        results = {
            "train": compare(lambda: pp.train(scan, recipe, output_dir=folder), options.repeats),
            "reconstruct": compare(
                lambda: pp.reconstruct(scan, model, pp.ReconstructConfig(threads=1)), options.repeats
            ),
        }
    record = {"patterns": options.patterns, "size": options.size, **results}
    print(json.dumps(record, indent=2))
    if options.output:
        options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
