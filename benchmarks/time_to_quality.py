"""Error against CPU seconds: the learned solver, `refine` from its own start, and LSQ-ML and ePIE of ptychi.

All get the same arrays and one thread, each in a process of its own, one running at a time; times are CPU seconds of
the process. Prints every figure that the comparison is to show against its target, and writes JSON and a figure. Runs
are kept in files and repeated only where weights or code of a solver have changed. Run it in the peer environment
where ptychi is to run (see README.md).
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
from judge import columns, machine
from scenes import Scene
from solvers import METHODS, PEERS, digest_of_weights, run, settings_of, store_of
from store import RESULTS, Run
from table import GROUPS, OWN, Account, Claim, Group, runs_of

TIMED = ("zero-shot", "polished", "bare", "refine")
"""What runs before and after the peers with `--paired`."""
IMAGE = Path(__file__).parents[1] / "docs" / "images" / "time_to_quality.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=list(GROUPS), help="groups to run; none to report")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*OWN, *PEERS])
    parser.add_argument("--seeds", type=int, nargs="+", help="only scans of these seeds")
    parser.add_argument("--weights", type=Path, help="weights of the learned solver; those of the package by default")
    parser.add_argument("--rounds", type=int, help="rounds of the learned solver; its own number by default")
    parser.add_argument("--again", action="store_true", help="repeat runs that are stored, those of peers excepted")
    parser.add_argument("--any_code", action="store_true", help="keep runs of other versions of the solvers' code")
    parser.add_argument("--paired", action="store_true", help="repeat all, ours before and after theirs")
    parser.add_argument("--cached_peers", action="store_true", help="never run a peer that has no stored trace")
    parser.add_argument("--output", type=Path, default=RESULTS / "time_to_quality.json")
    given = parser.parse_args()
    with Runner(given) as runner:
        for name in given.only:
            runner.group(GROUPS[name])
    digest = digest_of_weights(given.weights)
    claims = [claim for name in GROUPS for claim in Account(name, digest).all()]
    for claim in claims:
        if claim.values:
            print(claim.line())
    write(claims, digest, given.output)
    quality_figure(IMAGE, digest)


class Runner(ExitStack):
    """Runs what is missing; every method has a process of its own."""

    def __init__(self, given: argparse.Namespace) -> None:
        super().__init__()
        self.given, self.workers = given, dict[str, ProcessPoolExecutor]()

    def group(self, group: Group) -> None:
        """All methods on all scans of a group, in turns: with `--paired` ours come again after theirs."""
        for number, scene in enumerate(group.scenes):
            if self.given.seeds and scene.seed not in self.given.seeds:
                continue
            for method in self._methods(group, number):
                self.ensure(method, scene)
            if self.given.paired:
                for method in (name for name in self._methods(group, number) if name in TIMED):
                    self._repeat(method, scene)

    def _methods(self, group: Group, number: int) -> Iterator[str]:
        for method in self.given.methods:
            if number < group.number(method):
                yield method

    def ensure(self, method: str, scene: Scene) -> None:
        """Run a method on a scan unless a run that still holds is stored."""
        peer, store = method in PEERS, store_of(method)
        settings = None if peer else settings_of(method, scene, self.given.weights, self.given.rounds)
        if settings and self.given.any_code:
            del settings["code"]
        known = store.find(method, scene, settings)
        if known and not self.given.paired and (peer or not self.given.again):
            return
        if peer and self.given.cached_peers:
            print(f"{method}: {scene.key}: not stored", file=sys.stderr)
            return
        store.keep(method, scene, told(method, scene, self._run(method, scene)))

    def _repeat(self, method: str, scene: Scene) -> None:
        store, again = store_of(method), self._run(method, scene)
        first = store.find(method, scene)
        assert first is not None
        store.keep(method, scene, replace(first, repeats_s=(*first.repeats_s, *again.repeats_s)))

    def _run(self, method: str, scene: Scene) -> Run:
        if method not in self.workers:
            self.workers[method] = self.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        return self.workers[method].submit(run, method, scene, self.given.weights, self.given.rounds).result()


def told(method: str, scene: Scene, found: Run) -> Run:
    """Say what a run reached."""
    last = found.trace[-1]
    print(f"{method}: {scene.key}: {last.error:.5f} in {last.cpu_s:.1f} s, ratio {last.ratio:.3f}", file=sys.stderr)
    return found


def write(claims: list[Claim], weights: str, output: Path) -> None:
    """The claims with their figures per scan, and of every group one line per method."""
    report = {
        "machine": machine(),
        "threads": 1,
        "claims": [asdict(claim) | {"met": claim.met} for claim in claims],
        "weights": weights,
        "runs": {name: summary(GROUPS[name], weights) for name in GROUPS},
    }
    output.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def summary(group: Group, weights: str) -> dict[str, dict[str, object]]:
    """What every method returns per scan, its least error on the way, and the settings of the first run."""
    told_of: dict[str, dict[str, object]] = {}
    for method in METHODS:
        runs = [found for found in runs_of(group, method, weights) if found]
        if runs:
            ends = columns([found.trace[-1] for found in runs])
            least = [min(point.error for point in found.trace) for found in runs]
            told_of[method] = {**ends, "least_error": least, "settings": runs[0].settings}
    return told_of


if __name__ == "__main__":
    main()
