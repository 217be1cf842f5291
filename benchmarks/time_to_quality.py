"""Error against CPU seconds: the unrolled solver, `refine` from its own start, and LSQ-ML and ePIE of ptychi.

All have the same arrays and one thread, each in a process of its own, one running at a time; times are CPU seconds of
the process. Prints every claim of the comparison with its target, and writes JSON and a figure. Runs are stored in
files and repeated only where weights or code of a solver have changed. Run it in the peer environment where ptychi is
to run (see README.md).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

from curves import quality_figure
from scenes import Scene
from solvers import METHODS, PEERS, open_store, run, run_settings, weights_digest
from store import RESULTS, Run
from table import GROUPS, OWN, Claim, Group, GroupClaims, stored_runs
from truth_comparison import describe_machine, to_columns

TIMED = ("zero-shot", "polished", "bare", "refine")
"""Methods that run before and after the peers with `--paired`."""
IMAGE = Path(__file__).parents[1] / "docs" / "images" / "time_to_quality.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=list(GROUPS), help="groups to run; none to report")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*OWN, *PEERS])
    parser.add_argument("--seeds", type=int, nargs="+", help="only scans of these seeds")
    parser.add_argument("--weights", type=Path, help="weights of the unrolled solver; default: those of the package")
    parser.add_argument("--rounds", type=int, help="rounds of the unrolled solver; default: its own number")
    parser.add_argument("--again", action="store_true", help="repeat runs that are stored, those of peers excepted")
    parser.add_argument("--any-code", action="store_true", help="accept runs of other versions of the solvers' code")
    parser.add_argument("--paired", action="store_true", help="repeat all, ours before and after theirs")
    parser.add_argument("--cached-peers", action="store_true", help="never run a peer that has no stored trace")
    parser.add_argument("--output", type=Path, default=RESULTS / "time_to_quality.json")
    arguments = parser.parse_args()
    with Runner(arguments) as runner:
        for name in arguments.only:
            runner.group(GROUPS[name])
    digest = weights_digest(arguments.weights)
    claims = [claim for name in GROUPS for claim in GroupClaims(name, digest).all()]
    for claim in claims:
        if claim.values:
            print(claim.line())
    write(claims, digest, arguments.output)
    quality_figure(IMAGE, digest)


class Runner(ExitStack):
    """Runner of the missing runs; every method has a process of its own."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.arguments, self.workers = arguments, dict[str, ProcessPoolExecutor]()

    def group(self, group: Group) -> None:
        """Run all methods on all scans of a group, in turn; with `--paired` ours run again after theirs."""
        for number, scene in enumerate(group.scenes):
            if self.arguments.seeds and scene.seed not in self.arguments.seeds:
                continue
            for method in self._methods(group, number):
                self.ensure(method, scene)
            if self.arguments.paired:
                for method in (name for name in self._methods(group, number) if name in TIMED):
                    self._repeat(method, scene)

    def _methods(self, group: Group, number: int) -> Iterator[str]:
        for method in self.arguments.methods:
            if number < group.number(method):
                yield method

    def ensure(self, method: str, scene: Scene) -> None:
        """Run a method on a scan unless a valid run is stored."""
        peer, store = method in PEERS, open_store(method)
        settings = None if peer else run_settings(method, scene, self.arguments.weights, self.arguments.rounds)
        if settings and self.arguments.any_code:
            del settings["code"]
        run = store.find(method, scene, settings)
        if run and not self.arguments.paired and (peer or not self.arguments.again):
            return
        if peer and self.arguments.cached_peers:
            print(f"{method}: {scene.key}: not stored", file=sys.stderr)
            return
        store.save(method, scene, print_run(method, scene, self._run(method, scene)))

    def _repeat(self, method: str, scene: Scene) -> None:
        store, again = open_store(method), self._run(method, scene)
        first = store.find(method, scene)
        assert first is not None
        store.save(method, scene, replace(first, repeats_s=(*first.repeats_s, *again.repeats_s)))

    def _run(self, method: str, scene: Scene) -> Run:
        if method not in self.workers:
            self.workers[method] = self.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        return self.workers[method].submit(run, method, scene, self.arguments.weights, self.arguments.rounds).result()


def print_run(method: str, scene: Scene, run: Run) -> Run:
    """Print the result of a run, and return the run."""
    last = run.trace[-1]
    print(f"{method}: {scene.key}: {last.error:.5f} in {last.cpu_s:.1f} s, ratio {last.ratio:.3f}", file=sys.stderr)
    return run


def write(claims: list[Claim], weights: str, output: Path) -> None:
    """Write the claims with their values per scan, and one line per method and group."""
    report = {
        "machine": describe_machine(),
        "threads": 1,
        "claims": [asdict(claim) | {"met": claim.met} for claim in claims],
        "weights": weights,
        "runs": {name: summary(GROUPS[name], weights) for name in GROUPS},
    }
    output.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def summary(group: Group, weights: str) -> dict[str, dict[str, object]]:
    """Return the final errors of every method per scan, its lowest errors, and the settings of the first run."""
    summaries: dict[str, dict[str, object]] = {}
    for method in METHODS:
        runs = [run for run in stored_runs(group, method, weights) if run]
        if runs:
            ends = to_columns([run.trace[-1] for run in runs])
            lowest = [min(point.error for point in run.trace) for run in runs]
            summaries[method] = {**ends, "least_error": lowest, "settings": runs[0].settings}
    return summaries


if __name__ == "__main__":
    main()
