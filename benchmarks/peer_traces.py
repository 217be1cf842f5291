"""Measure the traces of ptychi's solvers that the comparisons need and that are not stored yet, most telling first.

Run it in the peer environment (see README.md). Every trace is stored as soon as it is there, so it can be stopped.
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
from solvers import run, store_of
from table import GROUPS
from time_to_quality import told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="traces whose name holds this")
    parser.add_argument("--again", action="store_true", help="also those that are stored")
    parser.add_argument("--limit_s", type=float, default=float("inf"), help="begin none after so many seconds")
    given = parser.parse_args()
    began = time.monotonic()
    for method, scene in wanted():
        store = store_of(method)
        if given.only not in f"{method}: {scene.key}" or (store.find(method, scene) and not given.again):
            continue
        if time.monotonic() - began > given.limit_s:
            break
        store.keep(method, scene, told(method, scene, run(method, scene, None)))
        sys.stderr.flush()


def wanted() -> Iterator[tuple[str, Scene]]:
    """LSQ-ML on the first scan of every group, at the anchors of the frontier, on the other scans, then the rest."""
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
