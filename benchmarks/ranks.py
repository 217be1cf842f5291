"""One solve by one process and by several, each with a band of the canvas: seconds, bytes exchanged, and equality.

2,401 patterns of 64 x 64 pixels, object 512 x 512, probe known, one thread a process, the weights of the package. Two
processes halve the time only on two idle cores. Where cores are threads of one core, or shared with other work, CPU
seconds of processes that run at the same time compare: `cpu_over_beside` is that of the busiest of several ranks over
that of one process which solves everything while as many others do the same; idle cores would take as much, beside the
time for the bytes, which `sent_mb` counts for every process. `relative_difference` is that of the object from one
process' object, over its norm where it is illuminated. Writes JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import load_weights
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.solver import follow, solve_scan
from ptypinn.utils.rank_start import find_start
from ptypinn.utils.ranks import Ranks, join_ranks
from scenes import curved_disk, dense_lines

SIZE, OBJECT_PX, PHOTONS = 64, 512, 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2], help="numbers of processes")
    parser.add_argument("--side", type=int, default=49, help="the scan has the square of this many patterns")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--solve-probe", action="store_true", help="solve for the probe as well")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    one, reference = start(arguments, 1)
    rows = [one]
    for count in arguments.ranks:
        beside, _ = start(arguments, count, together=False)
        row, solution = start(arguments, count)
        row["relative_difference"] = float(np.linalg.norm(solution - reference) / np.linalg.norm(reference))
        row["wall_over_one"] = round(row["wall_s"] / one["wall_s"], 3)
        row["cpu_over_beside"] = round(max(row["cpu_s"]) / np.mean(beside["cpu_s"]), 3)
        rows += [beside, row]
    report = {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "patterns": arguments.side**2,
        "rounds": arguments.rounds,
        "solves_probe": arguments.solve_probe,
        "solves": rows,
    }
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def start(arguments: argparse.Namespace, count: int, *, together: bool = True) -> tuple[dict[str, Any], np.ndarray]:
    """Start processes that solve together, or each for itself; return what they have measured, and the object."""
    with tempfile.TemporaryDirectory() as folder:
        measured = wait_for(arguments, count, Path(folder), together)
        solution = np.load(Path(folder) / "object.npy")
    row = {
        "processes": count,
        "ranks": count if together else 1,
        "wall_s": round(min(measured[0]["wall_s"]), 3),
        "cpu_s": [round(min(each["cpu_s"]), 3) for each in measured],
        "sent_mb": [round(each["sent_bytes"] / 1e6, 1) for each in measured],
    }
    return row, solution


def wait_for(arguments: argparse.Namespace, count: int, folder: Path, together: bool) -> list[dict[str, Any]]:
    """Start processes, wait for them, and return what they have measured."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    options = ["--side", arguments.side, "--rounds", arguments.rounds, "--repeats", arguments.repeats]
    words = [sys.executable, __file__, "--work", folder, *options, *(["--solve-probe"] * arguments.solve_probe)]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["WORLD_SIZE"] = str(count if together else 1)
    processes = [
        subprocess.Popen([str(word) for word in words], env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    for process in processes:
        if process.wait():
            raise SystemExit(process.returncode)
    return [json.loads((folder / f"{rank}.json").read_text(encoding="ascii")) for rank in range(count)]


def work(arguments: argparse.Namespace) -> None:
    """Be one of the processes."""
    torch.set_num_threads(1)
    beginning = find_start(os.environ)
    if beginning is None:
        lead(arguments, None)
        return
    with join_ranks(beginning) as ranks:
        if ranks.leads:
            lead(arguments, ranks)
        else:
            seconds = list[float]()
            sent = 0
            for _ in range(arguments.repeats):
                ranks.say()
                before, sent = time.process_time(), ranks.sent_bytes
                follow(ranks)
                seconds.append(time.process_time() - before)
            write(arguments.work, ranks.rank, {"cpu_s": seconds, "sent_bytes": ranks.sent_bytes - sent})


def lead(arguments: argparse.Namespace, ranks: Ranks | None) -> None:
    """Be the first process, or the only one."""
    scan, network = lines_scan(arguments.side), load_weights().network
    options = UnrolledOptions(refine_probe=arguments.solve_probe)
    cpu, wall, sent = list[float](), list[float](), 0
    for _ in range(arguments.repeats):
        if ranks is not None:
            ranks.say()
            sent = ranks.sent_bytes
        before = time.process_time(), time.perf_counter()
        solution = solve_scan(scan, network, options, arguments.rounds, torch.device("cpu"))
        cpu.append(time.process_time() - before[0])
        wall.append(time.perf_counter() - before[1])
        if ranks is not None:
            ranks.dismiss()
    np.save(arguments.work / "object.npy", solution.object * (solution.illumination > 0))
    sent = 0 if ranks is None else ranks.sent_bytes - sent
    write(arguments.work, int(os.environ["RANK"]), {"cpu_s": cpu, "wall_s": wall, "sent_bytes": sent})


def write(folder: Path, rank: int, measured: dict[str, Any]) -> None:
    (folder / f"{rank}.json").write_text(json.dumps(measured), encoding="ascii")


def lines_scan(side: int) -> ScanData:
    """Return a square scan of dense lines with a raster that is jittered by up to 2 pixels."""
    rng = np.random.default_rng(0)
    sample, probe = dense_lines(rng, OBJECT_PX).astype(np.complex64), curved_disk(SIZE, 14.0, PHOTONS)[None]
    places = np.linspace(0, OBJECT_PX - SIZE, side)
    grid = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)
    corners = np.rint(np.clip(grid + rng.uniform(-2, 2, grid.shape), 0, OBJECT_PX - SIZE)).astype(np.int64)
    expected = FAR_FIELD.predict_scan(
        torch.from_numpy(sample)[None], torch.from_numpy(probe), torch.from_numpy(corners)[None]
    )
    counts = rng.poisson(to_centred(expected).numpy().astype(float)).astype(np.float32)
    return ScanData(counts, corners.astype(float), probe, probe_gauge="calibrated", provenance={"file": "lines"})


if __name__ == "__main__":
    main()
