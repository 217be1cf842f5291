"""Check that the present code reproduces stored runs of earlier code to the last digit that is stored.

    python benchmarks/reproduce.py [--methods zero-shot polished bare refine] [--only "lines 1e+06 seed 0"]

Runs each method on the chosen scans again, and compares the error and the ratio of every point with the stored trace.
Where all agree, prints the entries of `solvers.REPRODUCED` that keep the stored runs valid. Stored runs of other
weights, or of another version of torch, may differ in the last digits without a fault.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys

from scenes import Scene
from solvers import open_store, run, source_digest
from truth_comparison import Trace, to_columns

SCANS = tuple(Scene(name, photons) for name in ("lines", "structured") for photons in (1e4, 1e6))
METHODS = ("zero-shot", "polished", "bare", "refine")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--only", default="", help="scans whose key contains this text")
    arguments = parser.parse_args()
    digests = {unrolled: source_digest(unrolled) for unrolled in (True, False)}
    recorded: dict[str, set[str]] = {}
    equal = True
    for method in arguments.methods:
        for scene in (scan for scan in SCANS if arguments.only in scan.key):
            stored = open_store(method).find(method, scene)
            if stored is None:
                print(f"{method}: {scene.key}: not stored", file=sys.stderr)
                continue
            differences = count_differences(stored.trace, run(method, scene, None).trace)
            print(f"{method}: {scene.key}: {len(stored.trace)} points, {differences} differ", flush=True)
            equal &= differences == 0
            recorded.setdefault(digests[method != "refine"], set()).add(stored.settings["code"])
    for digest, earlier in recorded.items():
        if equal and len(earlier) == 1:
            print(f'REPRODUCED["{digest}"] = "{earlier.pop()}"')
        else:
            print(f"{digest} does not reproduce {sorted(earlier)}")
    return 0 if equal else 1


def count_differences(stored: Trace, repeated: Trace) -> int:
    """Return the number of points whose iteration, error or ratio differs in the stored digits."""
    columns = [
        {name: values for name, values in to_columns(trace).items() if name != "cpu_s"} for trace in (stored, repeated)
    ]
    rows = [list(zip(*one.values(), strict=True)) for one in columns]
    longest = max(map(len, rows))
    padded = [[*one, *[None] * (longest - len(one))] for one in rows]
    return sum(before != after for before, after in zip(*padded, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
