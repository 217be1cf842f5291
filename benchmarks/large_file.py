"""Time to open a large scan file, and CPU time and peak memory of `info` and of a reconstruction in tiles.

The file is generated: far-field patterns of a periodic object, of which 64 are different, as compressed chunks that are
written repeatedly, so that it is written in seconds and has to be decompressed in full. Every step runs in a process of
its own, whose peak is VmHWM of Linux. Writes JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import torch

from ptypinn.data.scan import ScanData
from ptypinn.io.formats.cxi_layout import DETECTOR, GEOMETRY, sample_translation
from ptypinn.io.load_save import save
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.optics import compute_wavelength
from ptypinn.physics.probes import add_curvature, disk_probe
from ptypinn.physics.propagation import to_centred

PERIOD, STEP, PHOTONS = 128, 16, 1e5
ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M = 8000.0, 2.0, 75e-6
DATA = f"{DETECTOR}/data"
TRANSLATION = f"{GEOMETRY}/translation"
OPEN = """
import json, sys, time
from ptypinn.io.load_save import load
start = time.perf_counter()
scan = load(sys.argv[1])
print(json.dumps({"load_s": time.perf_counter() - start, "patterns": scan.n_patterns}))
"""
RUN = """
import sys
from ptypinn.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
PEAK = """
import atexit, json, sys, time
def print_usage():
    kib = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"cpu_s": time.process_time(), "peak_gib": kib / 2**20}), file=sys.stderr)
atexit.register(print_usage)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--crop", type=int, default=64, help="central part of the frames that is reconstructed")
    parser.add_argument("--memory-gib", type=float, default=1.0, help="memory of a tile")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    result |= {"machine": platform.machine(), "torch": torch.__version__, "threads": 1}
    text = json.dumps(result, indent=1) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    path = write_large_scan(folder / "large.cxi", arguments.frames, arguments.size)
    np.save(folder / "probe.npy", make_probe(arguments.crop, arguments.size // arguments.crop).numpy())
    options = ["--output-dir", folder / "run", "--probe", folder / "probe.npy", "--crop-px", arguments.crop, "--quiet"]
    options += ["--memory-gib", arguments.memory_gib, "--rounds", arguments.rounds, "--no-refine-probe", "--threads", 1]
    output, usage = run(OPEN, path)
    return {
        "frames": arguments.frames,
        "size": arguments.size,
        "apparent_gb": arguments.frames * arguments.size**2 * 2 / 1e9,
        "file_gb": path.stat().st_size / 1e9,
        "open": {**json.loads(output), **usage},
        "info": run(RUN, "info", path, "--json")[1],
        "reconstruct": {
            "crop_px": arguments.crop,
            "budget_gib": arguments.memory_gib,
            **run(RUN, "reconstruct", path, *options)[1],
        },
    }


def run(code: str, *arguments: object) -> tuple[str, dict[str, float]]:
    """Run code in a process of its own; return its output, CPU seconds and peak memory."""
    process = subprocess.run(
        [sys.executable, "-c", PEAK + code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise SystemExit(process.stderr)
    return process.stdout, json.loads(process.stderr.splitlines()[-1])


def make_probe(size: int, coarser: int = 1) -> torch.Tensor:
    """Return a curved disk, on pixels that are `coarser` times as large."""
    radius = size / 8
    return add_curvature(disk_probe(size, radius, PHOTONS, edge=1.0 / coarser), radius, 6.0)


def write_large_scan(path: Path, frames: int, size: int) -> Path:
    """Write a CXI file of many patterns, which repeat like the object; only the different ones are compressed."""
    torch.manual_seed(0)
    columns, number = int(np.ceil(np.sqrt(frames))), np.arange(frames)
    positions = np.stack([number // columns, number % columns], 1).astype(np.float64) * STEP
    tile = torch.polar(torch.ones(PERIOD, PERIOD), 0.5 * torch.sin(torch.rand(PERIOD, PERIOD) * 6.28))
    wide = tile.repeat(2 + size // PERIOD, 2 + size // PERIOD)
    around = PERIOD // STEP
    corners = torch.tensor([(STEP * y, STEP * x) for y in range(around) for x in range(around)])
    expected = to_centred(FAR_FIELD.predict_scan(wide[None], make_probe(size), corners[None])).reshape(-1, size, size)
    counts = torch.poisson(expected).numpy().astype(np.uint16)
    pixel = compute_wavelength(ENERGY_EV) * DISTANCE_M / (size * DETECTOR_PIXEL_M)
    optics = {"energy_eV": ENERGY_EV, "detector_distance_m": DISTANCE_M, "detector_pixel_m": DETECTOR_PIXEL_M}
    save(ScanData(counts, corners.double().numpy(), pixel_size_m=pixel, **optics), path, "cxi")
    indices = (positions[:, 0] // STEP % around) * around + positions[:, 1] // STEP % around
    _repeat(path, indices.astype(int), sample_translation(positions, pixel))
    return path


def _repeat(path: Path, indices: np.ndarray, translation: np.ndarray) -> None:
    """Make a stored scan longer: its pattern `indices[j]` at `translation[j]`, chunk by compressed chunk."""
    with h5py.File(path, "r+") as file:
        patterns = file[DATA][()]
        del file[DATA], file[TRANSLATION]
        shape = (len(indices), *patterns.shape[1:])
        filters = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}
        with h5py.File("block", "w", driver="core", backing_store=False) as memory:
            block = memory.create_dataset("block", data=patterns, **filters)
            chunks = [block.id.read_direct_chunk((j, 0, 0))[1] for j in range(len(patterns))]
        data = file.create_dataset(DATA, shape, np.uint16, **filters)
        for j, pattern in enumerate(indices):
            data.id.write_direct_chunk((j, 0, 0), chunks[pattern])
        file[TRANSLATION] = translation


if __name__ == "__main__":
    main()
