"""What goes wrong while a scan arrives: kills of solver, page and publisher, disorder, damaged messages.

Every part runs the real commands in processes of their own, and compares with a run that nothing happened to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ptypinn as pp
from live import make_scan, measure_error, publish, read_arrivals, start, store
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.streams.spool import read_state
from store import RESULTS
from truth_comparison import round_digits

FAULTS = "late=0.05&late_s=2&repeated=0.01&lost=0.01&positions_delay_s=0.3&seed=1"
FRAMES, RATE = 400, 40
OPTIONS = "--threads", 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--kills", type=int, default=10, help="moments of every kind of kill")
    parser.add_argument("--output", type=Path, default=RESULTS / "live.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = pp.save(make_scan(FRAMES, 1e6), folder / "scan.h5")
        with start(f"replay:{file}?rate={RATE}", folder / "whole", "--probe", file, *OPTIONS) as process:
            process.communicate()
        for part in arguments.only:
            for key, figures in PARTS[part](folder, file, arguments.kills):
                store(arguments.output, f"{part}: {key}", figures)
                sys.stdout.write(f"{part}: {key}: {json.dumps(figures)}\n")
                sys.stdout.flush()


def describe_run(folder: Path, run: Path) -> dict[str, Any]:
    """Return the figures of a finished run beside the run that nothing happened to."""
    scan = pp.load(folder / "scan.h5")
    whole, again = (pp.load_reconstruction(each / "reconstruction.h5") for each in (folder / "whole", run))
    return {
        "patterns": pp.load(run / "scan.h5").n_patterns,
        "error": round_digits(measure_error(again, scan)),
        "error_undisturbed": round_digits(measure_error(whole, scan)),
        "difference": round_digits(difference(whole, again)),
    }


def difference(first: Reconstruction, second: Reconstruction) -> float:
    """Return the relative difference of two objects where both are illuminated."""
    config = pp.EvaluateConfig(remove_ramp=True, remove_shift=True)
    return float(pp.evaluate(first, reference=second, config=config).metrics["complex_error"])


Figures = Iterator[tuple[str, dict[str, Any]]]


def kill_solver(folder: Path, file: Path, kills: int) -> Figures:
    """Kill the solver at random moments; the same command continues each time."""
    rng, run, lost = random.Random(0), folder / "killed", 0
    source, options = f"replay:{file}?rate={RATE}", ("--probe", file, *OPTIONS)
    for _ in range(kills):
        words = [sys.executable, "-m", "ptypinn", "live", source, "--output-dir", run, "--quiet", *options]
        with subprocess.Popen([str(word) for word in words]) as process:
            time.sleep(rng.uniform(0.5, 6.0))
            before = set(read_arrivals(run)) if (run / "spool").exists() else set()
            process.send_signal(signal.SIGKILL)
        lost += len(before - set(read_arrivals(run)))
    with start(source, run, *options) as process:
        process.communicate()
    yield f"solver, {kills} moments", {"spooled_frames_lost": lost, **describe_run(folder, run)}


def kill_page(folder: Path, file: Path, kills: int) -> Figures:
    """Kill the server of the page at random moments of a scan."""
    rng, run, served = random.Random(1), folder / "viewed" / "run", 0
    run.parent.mkdir()
    with start(f"replay:{file}?rate={RATE}", run, "--probe", file, *OPTIONS) as process:
        for _ in range(kills):
            words = [sys.executable, "-m", "ptypinn", "view", run.parent, "--port", "0", "--json"]
            with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True) as page:
                assert page.stdout is not None
                served += bool(page.stdout.readline())
                time.sleep(rng.uniform(0.0, 1.0))
                page.send_signal(signal.SIGKILL)
        process.communicate()
    yield f"page, {kills} moments", {"pages_served": served, **describe_run(folder, run)}


def kill_publisher(folder: Path, file: Path, kills: int) -> Figures:
    """Kill the publisher at random moments; a new one on the same port goes on where it was."""
    rng, run, lost = random.Random(2), folder / "published", 0
    with contextlib.ExitStack() as stack:
        publisher, port = stack.enter_context(publish(file, RATE))
        process = stack.enter_context(start(f"zmq://127.0.0.1:{port}", run, "--probe", file, *OPTIONS))
        for _ in range(kills):
            time.sleep(rng.uniform(0.3, 1.2))
            before = set(read_arrivals(run)) if (run / "spool").exists() else set()
            publisher.kill()
            publisher.wait()
            time.sleep(0.3)
            after = set(read_arrivals(run)) if (run / "spool").exists() else set()
            lost += len(before - after)
            first = max(after, default=-1) + 1
            publisher, _ = stack.enter_context(publish(file, RATE, "--port", port, "--first", first))
        process.communicate()
    yield f"publisher, {kills} moments", {"spooled_frames_lost": lost, **describe_run(folder, run)}


def disturb_order(folder: Path, file: Path, kills: int) -> Figures:
    """Replay late, repeated and lost frames and late positions, beside the same frames in order."""
    run = folder / "torn"
    with start(f"replay:{file}?rate=200&{FAULTS}", run, "--probe", file, *OPTIONS) as process:
        process.communicate()
    torn = pp.load(run / "scan.h5")
    clean = pp.save(torn, folder / "clean.h5")
    with start(f"replay:{clean}?rate=200", folder / "clean", "--probe", file, *OPTIONS) as process:
        process.communicate()
    runs = [pp.load_reconstruction(each / "reconstruction.h5") for each in (folder / "clean", run)]
    reception, scan = torn.provenance["reception"], pp.load(file)
    yield (
        "5 % late by up to 2 s, 1 % repeated, 1 % lost, positions 0.3 s behind",
        {
            "frames": scan.n_patterns,
            "came": torn.n_patterns,
            "missing": reception["missing"]["frames"],
            "repeated": reception["repeated"],
            "error": round_digits(measure_error(runs[1], scan)),
            "error_in_order": round_digits(measure_error(runs[0], scan)),
            "difference": round_digits(difference(*runs)),
        },
    )


def send_damaged(folder: Path, file: Path, kills: int) -> Figures:
    """Send a thousand damaged messages among those of a scan."""
    run = folder / "damaged"
    with contextlib.ExitStack() as stack:
        _, port = stack.enter_context(publish(file, 200, "--damaged", 1000))
        process = stack.enter_context(start(f"zmq://127.0.0.1:{port}", run, "--probe", file, *OPTIONS))
        process.communicate()
    state = read_state(run / "spool")
    yield "1,000 messages", {"rejected": state["rejected"], "dropped": state["dropped"], **describe_run(folder, run)}


PARTS: dict[str, Callable[[Path, Path, int], Figures]] = {
    "kill solver": kill_solver,
    "kill page": kill_page,
    "kill publisher": kill_publisher,
    "disorder": disturb_order,
    "damaged": send_damaged,
}

if __name__ == "__main__":
    main()
