"""Cost per pattern and peak memory of the unrolled solver, from small scans to ones that take several tiles.

One thread, CPU seconds of the process, every scan in a process of its own. The scans are periodic: one simulated block
of 256 patterns of 64 x 64 pixels, repeated as often as needed and never held in memory as a whole, as counts in a file
would be. `patterns_per_s` is the scan's own number of patterns over the seconds of one pass, the network's part
and the overlap of tiles included. Writes JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from ptypinn.config.shared import TilingConfig
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import load_weights
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.unrolled.loop import PASSES, UnrolledSolver
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.tiled import solve_tiled
from scenes import curved_disk, dense_lines

SIZE, SIDE, STEP, PHOTONS = 64, 16, 10, 1e6


class RepeatedCounts:
    """Counts of many patterns that repeat one block."""

    def __init__(self, block: np.ndarray, count: int) -> None:
        self.block, self.shape, self.dtype = block, (count, *block.shape[1:]), block.dtype

    def __getitem__(self, key: object) -> np.ndarray:
        return self.block[np.arange(self.shape[0])[key] % len(self.block)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", type=int, nargs="+", default=[256, 1024, 4096, 16384, 65536])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory-gib", type=float, default=4.0)
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        json.dump(measure(arguments.one, arguments.rounds, arguments.memory_gib), sys.stdout)
        return
    rows = [in_own_process(number, arguments.rounds, arguments.memory_gib) for number in arguments.patterns]
    report = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1, "size": SIZE, "scans": rows}
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def in_own_process(patterns: int, rounds: int, memory_gib: float) -> dict[str, object]:
    arguments = ["--one", str(patterns), "--rounds", str(rounds), "--memory-gib", str(memory_gib)]
    process = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return json.loads(process.stdout)


def measure(patterns: int, rounds: int, memory_gib: float) -> dict[str, object]:
    """Solve one scan with the weights of the package."""
    torch.set_num_threads(1)
    scan = periodic_scan(patterns)
    seconds = {"data_steps": 0.0, "correct": 0.0}
    calls = {"data_steps": 0}
    for name in seconds:
        count_time(name, seconds, calls)
    started = time.process_time()
    solution = solve_tiled(
        scan,
        load_weights().network,
        UnrolledOptions(refine_probe=False),
        rounds,
        torch.device("cpu"),
        tiling=TilingConfig(memory_gib=memory_gib),
    )
    total = time.process_time() - started
    passes = PASSES * rounds
    return {
        "patterns": scan.n_patterns,
        "canvas": list(solution.object.shape),
        "windows": calls["data_steps"] // rounds,
        "patterns_per_s": round(passes * scan.n_patterns / sum(seconds.values())),
        "patterns_per_s_without_network": round(passes * scan.n_patterns / seconds["data_steps"]),
        "network_share": round(seconds["correct"] / sum(seconds.values()), 3),
        "setup_and_joining_in_passes": round((total - sum(seconds.values())) / (sum(seconds.values()) / passes), 2),
        "total_cpu_s": round(total, 2),
        "rounds": rounds,
        "peak_memory_gib": round(peak_gib(), 2),
        "budget_gib": memory_gib,
    }


def peak_gib() -> float:
    """Return the peak memory of this process; `ru_maxrss` would include that of its parent."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert match is not None
    return int(match[1]) / 2**20


def count_time(name: str, seconds: dict[str, float], calls: dict[str, int]) -> None:
    """Make a method of the solver add up its CPU seconds."""
    method = getattr(UnrolledSolver, name)

    def run(*arguments: object) -> object:
        started = time.process_time()
        try:
            return method(*arguments)
        finally:
            seconds[name] += time.process_time() - started
            if name in calls:
                calls[name] += 1

    setattr(UnrolledSolver, name, run)


def periodic_scan(patterns: int) -> ScanData:
    """Return a square scan of a periodic object, whose counts repeat; the number of patterns is a square times 256."""
    rng, period = np.random.default_rng(0), SIDE * STEP
    block = np.tile(dense_lines(rng, period).astype(np.complex64), (2, 2))
    probe = curved_disk(SIZE, 14.0, PHOTONS)[None]
    grid = np.stack(np.meshgrid(*2 * [np.arange(SIDE) * STEP], indexing="ij"), -1).reshape(-1, 2)
    grid = grid + rng.integers(0, 3, grid.shape)
    expected = FAR_FIELD.predict_scan(
        torch.from_numpy(block)[None], torch.from_numpy(probe), torch.from_numpy(grid)[None]
    )
    counts = rng.poisson(to_centred(expected).numpy().astype(float)).astype(np.float32)
    blocks = round((patterns / SIDE**2) ** 0.5)
    corners = np.stack(np.meshgrid(*2 * [np.arange(blocks) * period], indexing="ij"), -1).reshape(-1, 1, 2)
    positions = (corners + grid).reshape(-1, 2).astype(np.float64)
    repeated = RepeatedCounts(counts, len(positions))
    return ScanData(repeated, positions, probe, probe_gauge="calibrated", provenance={"file": "periodic lines"})


if __name__ == "__main__":
    main()
