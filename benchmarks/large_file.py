"""Time to open a large scan file, and CPU time and peak memory of looking at it and of reconstructing it in windows.

The file is made here: far-field patterns of a periodic object, of which 64 are different, as compressed chunks that are
written again and again, so that it takes seconds to make and all the work of decompression to read. Every step runs in
a process of its own, whose peak is VmHWM as Linux counts it. Writes JSON.
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

from ptypinn.data.scan import ScanData, wavelength_of
from ptypinn.io.formats.cxi_layout import DETECTOR, GEOMETRY, sample_translation
from ptypinn.io.load_save import save
from ptypinn.physics.forward import expected_counts, to_centred
from ptypinn.physics.probes import curve, disk_probe

PERIOD, STEP, PHOTONS = 128, 16, 1e5
ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M = 8000.0, 2.0, 75e-6
DATA = f"{DETECTOR}/data"
TRANSLATION = f"{GEOMETRY}/translation"
OPEN = """
import json, sys, time
from ptypinn.data.formats import load
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
def tell():
    kib = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"cpu_s": time.process_time(), "peak_gib": kib / 2**20}), file=sys.stderr)
atexit.register(tell)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--crop", type=int, default=64, help="part of the frames that is reconstructed")
    parser.add_argument("--memory_gib", type=float, default=1.0, help="memory of the windows")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the JSON; standard output where not given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given)
    result |= {"machine": platform.machine(), "torch": torch.__version__, "threads": 1}
    text = json.dumps(result, indent=1) + "\n"
    sys.stdout.write(text)
    if given.output:
        given.output.write_text(text, encoding="utf-8")


def measure(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    path = write_large_scan(folder / "large.cxi", given.frames, given.size)
    np.save(folder / "probe.npy", probe_of(given.crop, given.size // given.crop).numpy())
    options = ["--output_dir", folder / "run", "--probe", folder / "probe.npy", "--crop_px", given.crop, "--quiet"]
    options += ["--memory_gib", given.memory_gib, "--rounds", given.rounds, "--refine_probe", "false", "--threads", 1]
    opened, process = run(OPEN, path)
    return {
        "frames": given.frames,
        "size": given.size,
        "apparent_gb": given.frames * given.size**2 * 2 / 1e9,
        "file_gb": path.stat().st_size / 1e9,
        "open": {**json.loads(opened), **process},
        "info": run(RUN, "info", path, "--json")[1],
        "reconstruct": {
            "crop_px": given.crop,
            "budget_gib": given.memory_gib,
            **run(RUN, "reconstruct", path, *options)[1],
        },
    }


def run(code: str, *arguments: object) -> tuple[str, dict[str, float]]:
    """What a process of its own prints, and the seconds and memory that it takes."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout, json.loads(done.stderr.splitlines()[-1])


def probe_of(size: int, coarser: int = 1) -> torch.Tensor:
    """A curved disk, on pixels that are so many times coarser."""
    radius = size / 8
    return curve(disk_probe(size, radius, PHOTONS, edge=1.0 / coarser), radius, 6.0)


def write_large_scan(path: Path, frames: int, size: int) -> Path:
    """A CXI file of so many patterns, which repeat as the object does; only the different ones are compressed."""
    torch.manual_seed(0)
    columns, number = int(np.ceil(np.sqrt(frames))), np.arange(frames)
    positions = np.stack([number // columns, number % columns], 1).astype(np.float64) * STEP
    tile = torch.polar(torch.ones(PERIOD, PERIOD), 0.5 * torch.sin(torch.rand(PERIOD, PERIOD) * 6.28))
    wide = tile.repeat(2 + size // PERIOD, 2 + size // PERIOD)
    around = PERIOD // STEP
    corners = torch.tensor([(STEP * y, STEP * x) for y in range(around) for x in range(around)])
    expected = to_centred(expected_counts(wide[None], probe_of(size), corners[None])).reshape(-1, size, size)
    counts = torch.poisson(expected).numpy().astype(np.uint16)
    pixel = wavelength_of(ENERGY_EV) * DISTANCE_M / (size * DETECTOR_PIXEL_M)
    optics = {"energy_eV": ENERGY_EV, "detector_distance_m": DISTANCE_M, "detector_pixel_m": DETECTOR_PIXEL_M}
    save(ScanData(counts, corners.double().numpy(), pixel_size_m=pixel, **optics), path, "cxi")
    which = (positions[:, 0] // STEP % around) * around + positions[:, 1] // STEP % around
    _repeat(path, which.astype(int), sample_translation(positions, pixel))
    return path


def _repeat(path: Path, which: np.ndarray, translation: np.ndarray) -> None:
    """Make a stored scan longer: its pattern `which[j]` at `translation[j]`, chunk by compressed chunk."""
    with h5py.File(path, "r+") as file:
        patterns = file[DATA][()]
        del file[DATA], file[TRANSLATION]
        shape = (len(which), *patterns.shape[1:])
        filters = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}
        with h5py.File("block", "w", driver="core", backing_store=False) as memory:
            block = memory.create_dataset("block", data=patterns, **filters)
            chunks = [block.id.read_direct_chunk((j, 0, 0))[1] for j in range(len(patterns))]
        data = file.create_dataset(DATA, shape, np.uint16, **filters)
        for j, pattern in enumerate(which):
            data.id.write_direct_chunk((j, 0, 0), chunks[pattern])
        file[TRANSLATION] = translation


if __name__ == "__main__":
    main()
