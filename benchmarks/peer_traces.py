"""Measure the traces of ptychi's solvers that the comparisons need and that are not stored yet, in order of importance.

Run it in the peer environment (see README.md). Every trace is stored once it is complete, so the script can be stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Iterator

from frontier import ANCHORS, KINDS, SEEDS, SWEEPS, scene_at
from scenes import Scene
from solvers import open_store, run
from table import GROUPS
from time_to_quality import print_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="traces whose name contains this text")
    parser.add_argument("--again", action="store_true", help="also those that are stored")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="start none after this many seconds")
    arguments = parser.parse_args()
    started = time.monotonic()
    for method, scene in order_runs():
        store = open_store(method)
        if arguments.only not in f"{method}: {scene.key}" or (store.find(method, scene) and not arguments.again):
            continue
        if time.monotonic() - started > arguments.limit_s:
            break
        store.save(method, scene, print_run(method, scene, run(method, scene, None)))
        sys.stderr.flush()


def order_runs() -> Iterator[tuple[str, Scene]]:
    """Yield LSQ-ML on the first scan of every group, at the anchors of the frontier, on other scans, then the rest."""
    anchors = [(sweep, ANCHORS[sweep]) for sweep in SWEEPS]
    rest = [(sweep, value) for sweep, values in SWEEPS.items() for value in values]
    groups = sorted(GROUPS.values(), key=lambda group: group.scenes[0].name == "field512")
    yield from (("lsqml", group.scenes[0]) for group in groups)
    yield from (("lsqml", scene_at(*at, kind=kind, seed=seed)) for at in anchors for kind in KINDS for seed in SEEDS)
    yield from (("lsqml", scene) for group in groups for scene in group.scenes[1 : group.number("lsqml")])
    yield from (("epie", group.scenes[0]) for group in groups)
    yield from (("lsqml", scene_at(*at, kind=kind, seed=seed)) for at in rest for kind in KINDS for seed in SEEDS)


if __name__ == "__main__":
    main()
