"""A file of 20 000 frames is opened without reading them, if asked for, and looked at a few at a time."""

import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.io.lazy_counts import LazyCounts
from ptypinn.io.load_save import load

FRAMES, SIZE, PER_CHUNK = 20_000, 256, 20
PEAK = """
import sys
from ptypinn.cli.main import main
def peak_mb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
code = main(["info", sys.argv[1], "--json"])
assert code == 0
before = peak_mb()
code = main(["info", sys.argv[2], "--json"])
print(peak_mb() - before, file=sys.stderr)
sys.exit(code)
"""


def write(path, frames, size):
    """A PtyLab scan whose frames are one compressed chunk, again and again."""
    pattern = np.random.default_rng(0).poisson(3.0, (1, size, size)).astype(np.uint16)
    filters = {"chunks": (PER_CHUNK, size, size), "compression": "gzip", "compression_opts": 1, "shuffle": True}
    side = int(np.ceil(np.sqrt(frames)))
    with h5py.File(path, "w") as file:
        block = file.create_dataset("block", data=pattern.repeat(PER_CHUNK, 0), **filters)
        chunk = block.id.read_direct_chunk((0, 0, 0))[1]
        data = file.create_dataset("ptychogram", (frames, size, size), np.uint16, **filters)
        for number in range(0, frames, PER_CHUNK):
            data.id.write_direct_chunk((number, 0, 0), chunk)
        number = np.arange(frames)
        file["encoder"] = np.stack([number // side, number % side], 1) * 1e-7
        for name, value in {"wavelength": 1e-10, "zo": 1.0, "dxd": 1e-4}.items():
            file[name] = value
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write(tmp_path_factory.mktemp("large") / "large.h5", FRAMES, SIZE)


def test_opening_without_a_survey_reads_no_frame(large):
    start = time.process_time()
    scan = load(large, LoadConfig(survey=False))
    assert time.process_time() - start < 2
    assert isinstance(scan.counts, LazyCounts)
    assert scan.counts.shape == (FRAMES, SIZE, SIZE)
    np.testing.assert_array_equal(scan.counts[np.array([19_999])], scan.counts[:1])


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    """Five times the frames, which would be 52 MB more in memory, take next to nothing more."""
    few, many = (write(tmp_path / f"{frames}.h5", frames, 128) for frames in (400, 2000))
    arguments = [sys.executable, "-c", PEAK.replace('"--json"', '"--json", "--memory-budget-gib=0.001"'), few, many]
    run = subprocess.run([*map(str, arguments)], capture_output=True, text=True, check=True)
    assert float(run.stderr.splitlines()[-1]) < 20
