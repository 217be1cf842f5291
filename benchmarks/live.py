"""A scan reconstructed while it arrives: age and quality of the picture, the finished run, losses, and the pace.

Every part replays simulated scans through the real command on this machine and writes its figures after every run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

import ptypinn as pp
from experiment_scores import object_errors
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.stages.simulate import simulate
from ptypinn.streams.spool import SpoolReader, read_state
from store import RESULTS
from truth_comparison import describe_machine, round_digits

GUESS = "probe-guess:0.15"
"""Scans record a probe with 15 % wrong defocus."""
PUBLISHER = Path(__file__).parent / "live_publisher.py"
POLL_S = 0.05
"""Time between two looks at the picture, seconds."""
QUARTERS = (0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--frames", type=int, default=2400, help="frames of a scan")
    parser.add_argument("--photons", nargs="+", type=float, default=[1e6, 1e5])
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the fast scan")
    parser.add_argument("--threads", type=int, help="threads of the solver; all cores by default, as `live` has it")
    parser.add_argument("--output", type=Path, default=RESULTS / "live.json")
    arguments = parser.parse_args()
    for name in arguments.only:
        for key, figures in PARTS[name](arguments):
            store(arguments.output, f"{name}: {key}", figures)
            sys.stdout.write(f"{name}: {key}: {json.dumps(figures)}\n")
            sys.stdout.flush()


def store(path: Path, key: str, figures: dict[str, Any]) -> None:
    """Write figures beside those that are stored, atomically."""
    entries = json.loads(path.read_text()) if path.exists() else {}
    entries[key] = {"machine": describe_machine(), **figures}
    part = path.with_suffix(".part")
    lines = (f"{json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries))
    part.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    part.replace(path)


def make_scan(frames: int, photons: float, size: int = 64, order: str = "jittered_raster") -> ScanData:
    """Return a simulated scan with its truth and a wrong guess of its probe."""
    edge = size + round((frames * 42) ** 0.5 * size / 64)
    config = pp.SimulateConfig(
        object="dead_leaves",
        amplitude_range=(1.0, 0.6),
        phase_range=(0.0, 1.2),
        object_size=(edge, edge),
        size=size,
        n_patterns=frames,
        photons=photons,
        scan=order,
        faults=(GUESS,),
        seed=8100,
    )
    return simulate(config)


@dataclass
class Look:
    """One look at the picture of a scan in progress."""

    time_s: float
    """Seconds since the epoch."""
    numbers: np.ndarray
    """Frames in the picture."""


@contextlib.contextmanager
def start(source: str, folder: Path, *options: object) -> Iterator[subprocess.Popen[str]]:
    """Run the command; the process and its receiver have ended afterwards."""
    words = [sys.executable, "-m", "ptypinn", "live", source, "--output-dir", folder, "--quiet", "--keep-spool"]
    with subprocess.Popen([str(word) for word in (*words, *options)], text=True, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(KeyError, ProcessLookupError):
                os.kill(read_state(folder / "spool")["pid"], signal.SIGKILL)


@contextlib.contextmanager
def publish(file: Path, rate: float, *options: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the publisher; yield its process and its port. It ends with the context."""
    words = [sys.executable, PUBLISHER, file, "--rate", rate, *options]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([str(word) for word in words], text=True, **pipes)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def say(publisher: subprocess.Popen[str]) -> None:
    """Send a publisher the line that it waits for."""
    assert publisher.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        publisher.stdin.write("\n")
        publisher.stdin.flush()


def read_snapshot(path: Path) -> Reconstruction | None:
    """Return the picture so far; None where there is none."""
    try:
        with h5py.File(path) as file:
            values = {name: file[name][()] for name in ("object", "illumination", "probe", "positions_px", "patterns")}
            origin = tuple(int(value) for value in file["origin_px"])
            return Reconstruction(**values, origin_px=origin, pixel_size_m=float(file["pixel_size_m"][()]))
    except (OSError, KeyError):
        return None


def watch(process: subprocess.Popen[str], folder: Path, total: int) -> tuple[list[Look], dict[float, Reconstruction]]:
    """Look at the picture until the command ends; also return the picture at every quarter of the scan."""
    looks, quarters, version = list[Look](), dict[float, Reconstruction](), None
    while process.poll() is None:
        time.sleep(POLL_S)
        path = folder / "snapshot.h5"
        with contextlib.suppress(OSError):
            if (changed := path.stat().st_mtime_ns) != version and (recon := read_snapshot(path)) is not None:
                version = changed
                looks.append(Look(time.time(), np.asarray(recon.patterns)))
                share = len(recon.patterns) / total
                for quarter in QUARTERS:
                    if quarter not in quarters and share >= quarter - 0.02:
                        quarters[quarter] = recon
                        break
    return looks, quarters


def ages(looks: list[Look], arrivals: dict[int, float]) -> np.ndarray:
    """Return the age of the picture behind the newest frame, at every 20 ms of the scan after its first frames."""
    first, last = min(arrivals.values()), max(arrivals.values())
    stamps = np.sort(np.array(list(arrivals.values())))
    newest = [(look.time_s, max(arrivals[int(n)] for n in look.numbers)) for look in looks]
    values = []
    for moment in np.arange(first + 0.02, last, 0.02):
        shown = [arrival for time_s, arrival in newest if time_s <= moment]
        arrived = stamps[np.searchsorted(stamps, moment, side="right") - 1]
        values.append(arrived - (shown[-1] if shown else first))
    return np.array(values)


def measure_quality(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Publish scans at 200 frames/s: age of the picture, error at every quarter, and the finished run."""
    for order in ("jittered_raster", "fermat"):
        for photons in arguments.photons:
            with tempfile.TemporaryDirectory() as name:
                yield f"{order} {photons:.0e}", follow_once(arguments, Path(name), order, photons)


def follow_once(arguments: argparse.Namespace, folder: Path, order: str, photons: float) -> dict[str, Any]:
    """Return the figures of one scan."""
    simulated = make_scan(arguments.frames, photons, order=order)
    file = pp.save(simulated, folder / "scan.h5")
    run = folder / "run"
    with publish(file, 200.0, "--wait") as (publisher, port):
        with start(f"zmq://127.0.0.1:{port}", run, "--probe", file, *on_threads(arguments)) as process:
            while not (run / "live.json").exists() and process.poll() is None:
                time.sleep(0.1)  # the scan begins once the solver is there
            say(publisher)
            looks, quarters = watch(process, run, simulated.n_patterns)
            ended_s = time.time()
            error = process.communicate()[1]
        say(publisher)
    if process.returncode:
        raise SystemExit(error)
    arrivals, behind = read_arrivals(run), ages(looks, read_arrivals(run))
    figures: dict[str, Any] = {
        "frames": simulated.n_patterns,
        "age_median_s": float(np.median(behind)),
        "age_95_s": float(np.percentile(behind, 95)),
        "age_max_s": float(behind.max()),
        "finished_after_s": ended_s - max(arrivals.values()),
    }
    scan = pp.load(file)
    for quarter, recon in sorted(quarters.items()):
        part = scan.subset(np.sort(np.asarray(recon.patterns)))
        offline = pp.reconstruct(part, config=pp.ReconstructConfig(threads=arguments.threads))
        errors = [measure_error(each, scan) for each in (recon, offline)]
        figures[f"error_at_{quarter:g}"], figures[f"offline_at_{quarter:g}"] = errors
        figures[f"ratio_at_{quarter:g}"] = errors[0] / errors[1]
    offline = pp.reconstruct(scan, config=pp.ReconstructConfig(threads=arguments.threads))
    final = pp.load_reconstruction(run / "reconstruction.h5")
    figures["error"], figures["offline_error"] = measure_error(final, scan), measure_error(offline, scan)
    figures["ratio"] = figures["error"] / figures["offline_error"]
    return {name: round_digits(value) if isinstance(value, float) else value for name, value in figures.items()}


def on_threads(arguments: argparse.Namespace) -> list[object]:
    """Return the options of the command that set its threads."""
    return [] if arguments.threads is None else ["--threads", arguments.threads]


def measure_error(recon: Reconstruction, scan: ScanData) -> float:
    """Return the complex error of an object where its patterns cover it, after shift, ramp and one factor."""
    return float(object_errors(recon, scan)["error"])


def read_arrivals(run: Path) -> dict[int, float]:
    """Return the time of arrival of every frame, seconds since the epoch."""
    reader = SpoolReader(run / "spool")
    _, columns = reader.read_frames()
    reader.close()
    return dict(zip(columns["numbers"].tolist(), columns["arrivals_s"].tolist(), strict=True))


def measure_rate(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Replay a long scan at 2,000 frames/s: losses, memory, and how far the picture comes."""
    frames = round(2000 * arguments.seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = pp.save(make_scan(frames, 1e5), folder / "scan.h5")
        yield f"{frames} frames at 2000 Hz", follow_fast(folder, file, frames, arguments)


def follow_fast(folder: Path, file: Path, frames: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the fast scan; its finishing pass is not waited for."""
    run, sizes, backlog = folder / "run", list[float](), list[int]()
    with start(f"replay:{file}?rate=2000", run, "--probe", file, *on_threads(arguments)) as process:
        while process.poll() is None and read_state(run / "spool").get("state") not in ("ended", "failed"):
            time.sleep(0.2)
            sizes.append(sum_memory(process.pid, read_state(run / "spool").get("pid")))
            backlog.append(read_status(run).get("backlog", {}).get("frames", 0))
        time.sleep(2.0)
        state, status = read_state(run / "spool"), read_status(run)
    quarter = max(1, len(sizes) // 4)
    return {
        "received": state["received"],
        "spooled": state["spooled"],
        "dropped": state["dropped"],
        "joined_at_end": status["frames"]["joined"],
        "in_picture_at_end": status["frames"]["solved"],
        "mode": status["mode"],
        "memory_mib": [round(max(sizes[k : k + quarter]) / 2**20) for k in range(0, len(sizes), quarter)],
        "backlog_max": max(backlog),
    }


def sum_memory(*pids: int | None) -> float:
    """Return the memory of processes, bytes."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss if pid else 0
    return total


def read_status(run: Path) -> dict[str, Any]:
    """Return the state of a live reconstruction; empty before the first."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((run / "live.json").read_text())
    return {}


def measure_pace(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Replay scans ever faster: up to which rate every frame is in the picture within a second, with all its rounds."""
    for size in (64, 128):
        for rate in (100, 200, 300, 400, 600, 800):
            with tempfile.TemporaryDirectory() as name:
                folder, frames = Path(name), 12 * rate
                scan = make_scan(frames, 1e6, size)
                file = pp.save(scan, folder / "scan.h5")
                run, modes = folder / "run", list[str]()
                options = "--probe", file, *on_threads(arguments)
                with start(f"replay:{file}?rate={rate}", run, *options) as process:
                    last: Reconstruction | None = None
                    while process.poll() is None and read_state(run / "spool").get("state") != "ended":
                        time.sleep(0.1)
                        modes.append(read_status(run).get("mode", "full"))
                    time.sleep(1.0)
                    status, last = read_status(run), read_snapshot(run / "snapshot.h5")
            solved = status["frames"]["solved"]
            yield (
                f"N={size}, {rate} Hz",
                {
                    "in_picture_after_1_s": solved / frames,
                    "full_share": modes.count("full") / len(modes),
                    "error": None if last is None else round_digits(measure_error(last, scan)),
                },
            )
            if solved < 0.9 * frames:
                break


Part = Callable[[argparse.Namespace], Iterator[tuple[str, dict[str, Any]]]]
PARTS: dict[str, Part] = {
    "quality": measure_quality,
    "rate": measure_rate,
    "pace": measure_pace,
}

if __name__ == "__main__":
    main()
