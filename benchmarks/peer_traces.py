"""Measure the traces of ptychi's solvers that the comparisons need and that are not stored yet, most telling first.

Run it in the peer environment (see README.md); it stores every trace as soon as it is there, and can be stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Iterator

import torch
from frontier import frontier_scenes
from judge import best
from peer.traces import PEERS, PeerTraces
from scenes import Scene
from time_to_quality import compared_scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="traces whose name holds this")
    parser.add_argument("--again", action="store_true", help="also those that are stored")
    parser.add_argument("--limit_s", type=float, default=float("inf"), help="begin none after so many seconds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    stored, began = PeerTraces(), time.monotonic()
    for method, scene in wanted():
        name = f"{method}: {scene.key}"
        if given.only not in name or (stored.find(method, scene) and not given.again):
            continue
        if time.monotonic() - began > given.limit_s:
            break
        trace = stored.measure(method, scene)
        least = best(trace)
        print(f"{name}: {least.error:.5f} after {least.cpu_s:.1f} s of {trace[-1].cpu_s:.1f} s", file=sys.stderr)


def wanted() -> Iterator[tuple[str, Scene]]:
    """LSQ-ML where it decides, then the rest; ePIE on the first seeds."""
    scenes = list(dict.fromkeys([*compared_scenes(), *frontier_scenes()]))
    order = sorted(scenes, key=lambda scene: (scene.name == "field512", scene.seed > 2))
    for method in PEERS:
        yield from ((method, scene) for scene in order if method == "lsqml" or scene.seed == 0)


if __name__ == "__main__":
    main()
