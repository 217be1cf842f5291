"""Cost of the scale ledger: the fraction of a training and of a reconstruction that is spent on it alone.

    python benchmarks/ledger_overhead.py [--patterns 2000] [--size 64] [--repeats 5] [--output FILE.json]

Processor time is taken around every function that only the ledger needs, in the run itself, so that other work on the
machine affects both alike.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch

import ptypinn as pp

LEDGER_ONLY = (
    "ptypinn.scale.stats_recorder:StatsRecorder.record",
    "ptypinn.scale.stats_recorder:StatsRecorder.collect",
    "ptypinn.solvers.patch_network.aggregate:PatchAggregator.add_constant",
    "ptypinn.models.patch_predictor:PatchPredictor.response",
    "ptypinn.stages.train:build_training_ledger",
    "ptypinn.solvers.patch_network.reconstruct:build_merge_entries",
    "ptypinn.solvers.patch_network.reconstruct:build_network_entries",
    "ptypinn.solvers.postprocess:attach_ledger",
)


@contextlib.contextmanager
def ledger_clock() -> Iterator[list[float]]:
    """Collect the processor seconds of every call that only the ledger makes."""
    seconds: list[float] = []

    def timed(work: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            start = time.process_time()
            try:
                return work(*arguments, **options)
            finally:
                seconds.append(time.process_time() - start)

        return call

    with contextlib.ExitStack() as stack:
        for name in LEDGER_ONLY:
            module, path = name.split(":")
            place = importlib.import_module(module)
            *owner, function = path.split(".")
            for part in owner:
                place = getattr(place, part)
            stack.enter_context(mock.patch.object(place, function, timed(getattr(place, function))))
        yield seconds


def ledger_fraction(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the median CPU time of a run, and the median fraction of it spent on the ledger."""
    work()
    runs = []
    for _ in range(repeats):
        with ledger_clock() as seconds:
            start = time.process_time()
            work()
            runs.append((time.process_time() - start, sum(seconds)))
    return {
        "cpu_s": statistics.median(total for total, _ in runs),
        "ledger_share": statistics.median(ledger / (total - ledger) for total, ledger in runs),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scene = pp.SimulateConfig(size=options.size, n_patterns=options.patterns, object_size=(6 * options.size,) * 2)
    simulated = pp.simulate(scene)
    scan = simulated.replace(truth=None)
    recipe, sweep = pp.TrainConfig(epochs=4, n_groups=480, threads=1), pp.PatchNetworkConfig(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        model = pp.train(scan, recipe, output_dir=folder)
        results = {
            "train": ledger_fraction(lambda: pp.train(scan, recipe, output_dir=folder), options.repeats),
            "reconstruct": ledger_fraction(lambda: pp.reconstruct(scan, model, sweep), options.repeats),
            "reconstruct_with_truth": ledger_fraction(lambda: pp.reconstruct(simulated, model, sweep), options.repeats),
        }
    record = {"patterns": options.patterns, "size": options.size, **results}
    print(json.dumps(record, indent=2))
    if options.output:
        options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
