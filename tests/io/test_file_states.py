"""HDF5 files that are incomplete, being written, or compressed by a missing filter."""

import subprocess
import sys
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.io.safe.hdf5 import read_array
from ptypinn.io.safe.hdf5_open import open_hdf5

DATA = "entry_1/instrument_1/detector_1/data"
NO_FILTER = 32555
"""Number of a filter that nobody registered."""
WRITER = """
import os, sys, h5py
file = h5py.File(sys.argv[1], "r+", libver=sys.argv[2])
if sys.argv[3] == "swmr":
    file.swmr_mode = True
file.flush()
if sys.argv[4] == "dies":
    os._exit(1)
print("open", flush=True)
sys.stdin.readline()
file.close()
"""


@contextmanager
def writer(path, library="latest", mode="swmr", end="waits"):
    """Another program that has a file open for writing, or that ended without closing it."""
    arguments = [sys.executable, "-c", WRITER, str(path), library, mode, end]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        if end == "dies":
            process.wait()
        yield
        if end == "waits":
            process.communicate("\n")


@pytest.fixture
def path(make_scan, tmp_path):
    """A CXI file in the newest format of HDF5, which has marks of its writer."""
    source = save(make_scan(n=8, truth=None), tmp_path / "source.cxi", "cxi")
    with h5py.File(source) as old, h5py.File(tmp_path / "scan.cxi", "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)
    return tmp_path / "scan.cxi"


def test_a_file_that_is_written_for_readers_is_read(path):
    expected = load(path, LoadConfig(survey=False))
    with writer(path):
        scan = load(path, LoadConfig(survey=False))
        np.testing.assert_array_equal(scan.counts, expected.counts)
        np.testing.assert_array_equal(scan.positions_px, expected.positions_px)


def test_errors_in_an_unfinished_file_say_that_it_is_unfinished(path):
    with h5py.File(path, "r+", libver="latest") as file:
        del file["entry_1/instrument_1/source_1"]
    for end in ("waits", "dies"):
        with (
            writer(path, end=end),
            pytest.raises(InputError, match=r"energy: .*--energy-eV.*being written.*h5clear -s"),
        ):
            load(path)


@pytest.mark.parametrize("library", ["latest", "earliest"])
def test_a_file_that_is_open_for_its_writer_alone(path, library):
    if library == "earliest":
        with h5py.File(path) as new, h5py.File(path.with_suffix(".old"), "w") as old:
            for name in new:
                new.copy(name, old)
        path.with_suffix(".old").rename(path)
    with writer(path, library, "alone"), pytest.raises(InputError, match=r"another program has open for writing"):
        load(path)
    assert load(path, LoadConfig(survey=False)).n_patterns == 8


def test_a_file_whose_writer_died(path):
    with writer(path, "latest", "alone", "dies"), pytest.raises(InputError, match=r"not closed.*h5clear -s scan\.cxi"):
        load(path)


def test_a_filter_that_is_not_installed_is_named_by_number(tmp_path):
    path = tmp_path / "filter.h5"
    with h5py.File(path, "w") as file:
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((1, 8))
        created.set_filter(NO_FILTER, h5py.h5z.FLAG_OPTIONAL, ())
        space, kind = h5py.h5s.create_simple((2, 8)), h5py.h5t.NATIVE_UINT16
        for name, mask in (("packed", 0), ("plain", 1)):
            data = h5py.h5d.create(file.id, name.encode(), kind, space, created)
            for row in range(2):
                data.write_direct_chunk((row, 0), np.full(8, row, np.uint16).tobytes(), filter_mask=mask)
    with open_hdf5(path) as file:
        np.testing.assert_array_equal(read_array(file["plain"])[:, 0], [0, 1])
    message = rf"/packed: .*filter {NO_FILTER}, which is not installed"
    with open_hdf5(path) as file, pytest.raises(InputError, match=message):
        read_array(file["packed"])


def virtual(path, parts, nested=False):
    """A scan whose patterns are spread over files, as a virtual dataset, or as one of a virtual dataset."""
    with h5py.File(path, "r+") as file:
        counts = file[DATA][()]
        del file[DATA]
        each = len(counts) // parts
        layout = h5py.VirtualLayout(counts.shape, counts.dtype)
        for number in range(parts):
            name = f"part{number}.h5"
            with h5py.File(path.parent / name, "w") as part:
                part["data"] = counts[number * each : (number + 1) * each]
            source = h5py.VirtualSource(name, "data", shape=(each, *counts.shape[1:]))
            layout[number * each : (number + 1) * each] = source
        target = file if not nested else h5py.File(path.parent / "all.h5", "w")
        target.create_virtual_dataset(DATA, layout, fillvalue=0)
        if nested:
            target.close()
            whole = h5py.VirtualLayout(counts.shape, counts.dtype)
            whole[:] = h5py.VirtualSource("all.h5", DATA, shape=counts.shape)
            file.create_virtual_dataset(DATA, whole, fillvalue=0)
    return counts


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("budget", [1.0, 1e-9])
def test_a_missing_part_of_a_virtual_dataset_is_named(path, nested, budget):
    counts, config = virtual(path, 4, nested), LoadConfig(survey=False, memory_budget_gib=budget)
    np.testing.assert_array_equal(load(path, config).counts[:], counts)
    with h5py.File(path.parent / "part1.h5", "r+") as file:
        file.move("data", "other")
    with pytest.raises(InputError, match=r"part1\.h5: data: found no such dataset, expected the dataset, one of 4"):
        load(path, config)
    (path.parent / "part2.h5").unlink()
    (path.parent / "part1.h5").unlink()
    with pytest.raises(InputError, match=rf"part1\.h5: file: found no such file.*one of 4 .* dataset /{DATA}"):
        load(path, config)
