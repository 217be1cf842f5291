"""Memory of the service `ptypinn watch` while it solves many scans in a row.

    python benchmarks/watch.py [--scans 1000] [--reference 50] [--output FILE.json]

Copies of one small scan are put into a watched folder, a few at a time, and solved by the command as people start it.
After every `--every` scans, the resident memory of the service and of the process that its children are forked from
is noted, with their open files. The record has the memory after the last scan over that after the reference.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

import ptypinn as pp

SOLVER = ("--threads", "1", "--device", "cpu", "--rounds", "1", "--probe-rounds", "1")
"""Options of the solver: quick, for its quality is measured elsewhere."""
SERVICE = ("--settle-s", "0.1", "--keep-runs", "20", "--json")
BACKLOG = 5
"""Files that wait at most."""


def measure(n_scans: int, reference: int, every: int, folder: Path) -> dict[str, Any]:
    """Run the service in a folder and return its record."""
    scan = folder / "scan.h5"
    scene = pp.SimulateConfig(size=32, n_patterns=60, object_size=(90, 90), photons=1e5)
    pp.save(pp.simulate(scene), scan)
    watched, runs = folder / "scans", folder / "runs"
    watched.mkdir()
    words = ["watch", str(watched), "--output-dir", str(runs), "--stop-after", str(n_scans), *SERVICE, *SOLVER]
    command = [sys.executable, "-m", "ptypinn", *words]
    samples: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        for number, record in enumerate(feed(service, scan, watched, n_scans), 1):
            if record["state"] != "finished":
                raise RuntimeError(f"a scan ended otherwise than expected: {record}")
            if number in (reference, n_scans) or number % every == 0:
                samples.append({"scans": number, "seconds": record["seconds"], **memory(service.pid)})
    last, before = samples[-1], next(sample for sample in samples if sample["scans"] == reference)
    return {
        "scans": n_scans,
        "exit_code": service.returncode,
        "memory_ratio": {name: last[name] / before[name] for name in ("rss_mib", "service_rss_mib", "files")},
        "runs_left": len([entry for entry in runs.iterdir() if not entry.name.startswith(".")]),
        "journal_kib": sum(file.stat().st_size for file in (runs / ".ptypinn").iterdir()) / 2**10,
        "samples": samples,
    }


def feed(service: subprocess.Popen[str], scan: Path, watched: Path, n_scans: int) -> Iterator[dict[str, Any]]:
    """Put copies of a scan into the folder, and yield the records of those that are solved."""
    assert service.stdout is not None
    for number in range(n_scans):
        for ahead in range(number, min(number + BACKLOG, n_scans)):
            copy = watched / f"scan_{ahead:05d}.h5"
            if not copy.exists():
                part = watched / f".{copy.name}"
                shutil.copyfile(scan, part)
                os.utime(part, (time.time(), time.time()))
                part.rename(copy)
        line = service.stdout.readline()
        if not line:
            return
        yield json.loads(line)


def memory(pid: int) -> dict[str, Any]:
    """Return memory, processor time and open files of the service and of the processes that stay beside it."""
    service = psutil.Process(pid)
    staying = [service, *service.children()]
    sizes = [process.memory_info().rss / 2**20 for process in staying]
    used = service.cpu_times()
    return {
        "rss_mib": sum(sizes),
        "service_rss_mib": sizes[0],
        "processes": len(staying),
        "service_cpu_s": used.user + used.system,
        "files": service.num_fds(),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--reference", type=int, default=50)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = measure(options.scans, options.reference, options.every, Path(folder))
    print(json.dumps(record, indent=2))
    if options.output:
        options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
