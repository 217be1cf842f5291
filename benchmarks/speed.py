"""Speed of one likelihood-and-gradient pass against its bound, two FFTs per pattern, and against ptychi's LSQ-ML.

One thread, CPU seconds of the process, all of them in turn in every round; values are medians over the rounds. Every
pattern size runs in a process of its own, so that its peak memory is its own. Prints JSON. LSQ-ML is timed where ptychi
is installed (see README.md for its environment).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.losses import LIKELIHOODS
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import back_propagate, far_field
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from scenes import make_scene

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--patterns", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_size:
        json.dump(measure(arguments.one_size, arguments.patterns, arguments.rounds), sys.stdout)
        return
    rows = [in_own_process(size, arguments.patterns, arguments.rounds) for size in arguments.sizes]
    report = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1, "sizes": rows}
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def in_own_process(size: int, patterns: int, rounds: int) -> dict[str, object]:
    arguments = ["--one-size", str(size), "--patterns", str(patterns), "--rounds", str(rounds)]
    process = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return json.loads(process.stdout)


def measure(size: int, patterns: int, rounds: int) -> dict[str, object]:
    """Time every function once per round."""
    torch.set_num_threads(1)
    scan = make_scene("lines", 1e6, size=size, n_patterns=patterns)
    before = peak_memory_MB(restart=True)
    functions = passes(scan)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, run in functions.items():
            started = time.process_time()
            run()
            times[name].append(time.process_time() - started)
    seconds = {name: float(np.median(values[1:])) for name, values in times.items()}
    bound = seconds["two FFTs per pattern"]
    result = {
        "size": size,
        "patterns": patterns,
        "patterns_per_s": {name: round(patterns / value) for name, value in seconds.items()},
        "share_of_bound": {name: round(bound / value, 3) for name, value in seconds.items()},
        "counts_MB": round(4 * patterns * size**2 / 1e6, 1),
        "peak_memory_above_scan_MB": None if before is None else round(peak_memory_MB() - before, 1),
    }
    if importlib.util.find_spec("ptychi"):
        result["lsqml"] = against_lsqml(scan, functions["pass"], rounds)
    return result


def peak_memory_MB(restart: bool = False) -> float | None:
    """Return the peak resident memory since the last restart, from the kernel (Linux); None elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def passes(scan: ScanData, device: torch.device = CPU) -> dict[str, Callable[[], object]]:
    """Return the timed functions: the bound, and passes with a known probe, a probe, or sub-pixel positions."""
    stack = PatternBatches(scan, device)
    corners = split_positions(torch.from_numpy(scan.positions_px))[0].to(device)
    probe, canvas = (torch.from_numpy(array).to(device) for array in (scan.require_probe(), scan.truth))
    shifts = torch.rand((scan.n_patterns, 2), generator=torch.Generator().manual_seed(0)).to(device) - 0.5
    fixed_probe = Objective(stack, corners, LIKELIHOODS["poisson"], probe)
    shifted = Objective(stack, corners, LIKELIHOODS["poisson"], probe, shifts)

    def two_ffts() -> None:
        for _, counts in stack:
            back_propagate(far_field(torch.complex(counts, counts)))

    return {
        "two FFTs per pattern": two_ffts,
        "pass": lambda: fixed_probe(Unknowns(canvas)),
        "pass with probe": lambda: fixed_probe(Unknowns(canvas, probe)),
        "pass with sub-pixel positions": lambda: shifted(Unknowns(canvas)),
        "pass with probe and sub-pixel positions": lambda: shifted(Unknowns(canvas, probe)),
    }


def against_lsqml(scan: ScanData, run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Time one iteration of LSQ-ML against one pass, before and after it, on the same arrays."""
    from peer.lsqml import lsqml_seconds_per_iteration

    ratios, iterations = [], []
    for _ in range(max(2, rounds // 3)):
        ours = []
        for _ in range(3):
            started = time.process_time()
            run()
            ours.append(time.process_time() - started)
        theirs = lsqml_seconds_per_iteration(scan, iterations=3)
        iterations.append(theirs)
        ratios.append(theirs / float(np.median(ours)))
    return {
        "patterns_per_s": round(scan.n_patterns / float(np.median(iterations))),
        "times_slower_than_a_pass": round(float(np.median(ratios)), 2),
    }


if __name__ == "__main__":
    main()
