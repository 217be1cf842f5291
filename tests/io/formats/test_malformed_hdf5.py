"""Malformed HDF5 files of every format end in one line and exit code 1, whatever is wrong with them."""

import contextlib
import re
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.cli.main import main
from ptypinn.errors import InputError
from ptypinn.io.load_save import load

N, M = 16, 6
DETECTOR = "entry_1/instrument_1/detector_1"
PTYLAB = {
    "ptychogram": np.full((M, N, N), 5, np.uint16),
    "encoder": np.arange(2.0 * M).reshape(M, 2) * 1e-8,
    "wavelength": 1e-10,
    "zo": 1.0,
    "dxd": 1e-4,
}
CXI = {
    f"{DETECTOR}/data": np.full((M, N, N), 5, np.uint16),
    f"{DETECTOR}/distance": 1.0,
    f"{DETECTOR}/x_pixel_size": 1e-4,
    f"{DETECTOR}/y_pixel_size": 1e-4,
    "entry_1/instrument_1/source_1/energy": 2e-15,
    "entry_1/sample_1/geometry_1/translation": np.arange(3.0 * M).reshape(M, 3) * 1e-8,
}
STEM = {"cube": np.full((2, 3, N, N), 5, np.uint16)}
MATLAB = {"dp": np.full((3, 2, N, N), 5.0), "ADU": 1.0}
STEM_OPTIONS = ("--scan-step-m=1e-10", "--pixel-size-m=1e-11")


def write(path, entries):
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            if callable(value):
                value(file, name)
            elif value is not None:
                file[name] = value
    return path


def declared(shape, dtype="f8", chunks=None):
    """A dataset that declares a shape and stores nothing."""
    return lambda file, name: file.create_dataset(name, shape, dtype, chunks=chunks or True)


def with_value(value):
    patterns = np.full((M, N, N), 5.0)
    patterns[2, 3, 4] = value
    return patterns


def deflated_beyond_its_chunk(file, name):
    """A chunk of 512 bytes whose deflated form is 64 kB and inflates to 64 MB."""
    dataset = file.create_dataset(name, (M, N, N), "u2", chunks=(1, N, N), compression="gzip")
    dataset.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(2**26), 9))


def unknown_filter(file, name):
    dataset = file.create_dataset(name, (M, N, N), "u2", chunks=(1, N, N), compression="gzip")
    for number in range(M):
        dataset.id.write_direct_chunk((number, 0, 0), b"this is not what gzip writes")


def soft_circle(file, name):
    file[name] = h5py.SoftLink(f"/{name}_too")
    file[f"{name}_too"] = h5py.SoftLink(f"/{name}")


def objects(file, name):
    file.create_dataset(name, data=np.array(["a"] * M, object), dtype=h5py.string_dtype())


def references(file, name):
    file[name] = np.array([file.ref] * M, h5py.ref_dtype)


CASES = {
    "a group for a dataset": (PTYLAB, {"ptychogram": lambda file, name: file.create_group(name)}, "no format"),
    "text for counts": (PTYLAB, {"ptychogram": "patterns"}, "ptychogram"),
    "objects for counts": (PTYLAB, {"ptychogram": objects}, "ptychogram"),
    "complex counts": (PTYLAB, {"ptychogram": np.ones((M, N, N), complex)}, "ptychogram"),
    "a scalar for counts": (PTYLAB, {"ptychogram": 5}, "ptychogram"),
    "no counts at all": (PTYLAB, {"ptychogram": h5py.Empty("u2")}, "ptychogram"),
    "references for positions": (PTYLAB, {"encoder": references}, "encoder"),
    "too few positions": (PTYLAB, {"encoder": PTYLAB["encoder"][:-1]}, "positions: .*6 patterns"),
    "positions in kilometres": (PTYLAB, {"encoder": PTYLAB["encoder"] * 1e12}, "--max-canvas-pixels"),
    "positions that are not numbers": (PTYLAB, {"encoder": PTYLAB["encoder"] * np.nan}, "not finite"),
    "several distances": (PTYLAB, {"zo": np.array([1.0, 2.0])}, "zo: .*one number"),
    "an infinite distance": (PTYLAB, {"zo": np.inf}, "zo: found inf"),
    "NaN counts": (PTYLAB, {"ptychogram": with_value(np.nan)}, r"nan at pattern 2, pixel \(3, 4\)"),
    "negative counts": (PTYLAB, {"ptychogram": with_value(-1)}, r"-1.0 at pattern 2, pixel \(3, 4\)"),
    "infinite counts": (PTYLAB, {"ptychogram": with_value(np.inf)}, r"inf at pattern 2"),
    "absurdly many patterns": (PTYLAB, {"ptychogram": declared((10**9, N, N))}, "2.05 TB declared and nothing stored"),
    "absurdly wide patterns": (
        PTYLAB,
        {"ptychogram": declared((M, 10**6, 10**6), "u2", (1, 64, 64))},
        "12 TB declared and nothing",
    ),
    "absurdly many positions": (PTYLAB, {"encoder": declared((10**10, 2))}, "declared in 0 bytes"),
    "absurd chunks": (PTYLAB, {"ptychogram": declared((M, N, N), "u2", None)}, "chunks of"),
    "a deflate bomb in a chunk": (PTYLAB, {"ptychogram": deflated_beyond_its_chunk}, "decompresses to more"),
    "chunks that are not compressed": (PTYLAB, {"ptychogram": unknown_filter}, "damaged"),
    "soft links in a circle": (PTYLAB, {"encoder": soft_circle}, "encoder: found no such dataset"),
    "no energy": (CXI, {"entry_1/instrument_1/source_1/energy": None}, "--energy-eV"),
    "negative energy": (CXI, {"entry_1/instrument_1/source_1/energy": -1.0}, "energy: found -"),
    "records for directions": (CXI, {f"{DETECTOR}/basis_vectors": np.zeros(3, "f4,i4")}, "damaged"),
    "a mask of another size": (CXI, {f"{DETECTOR}/mask": np.zeros((N, 2 * N), np.uint32)}, "mask"),
    "a mask of real numbers": (CXI, {f"{DETECTOR}/mask": np.zeros((N, N))}, "mask"),
    "everything masked": (CXI, {f"{DETECTOR}/mask": np.ones((N, N), np.uint32)}, "no good pixel"),
    "an absurd mask": (CXI, {f"{DETECTOR}/mask": declared((10**6, 10**4, 10**4), "u4", (1, 64, 64))}, "declared in"),
    "a probe of another size": (CXI, {"entry_1/instrument_1/source_1/illumination": np.ones((9, 9))}, "probe"),
    "positions of a single coordinate": (CXI, {"entry_1/sample_1/geometry_1/translation": np.ones(M)}, "translation"),
    "a raster of five axes": (STEM, {"cube": np.ones((1, 2, 3, N, N))}, "no format"),
    "a raster of text": (STEM, {"cube": lambda f, n: f.create_dataset(n, (2, 3, N, N), "S4")}, "no format"),
    "an absurd raster": (
        STEM,
        {"cube": declared((10**6, 10**6, N, N), "u2", (1, 1, N, N))},
        "512 TB declared and nothing stored",
    ),
    "no electrons per unit": (STEM, {"cube": np.ones((2, 3, N, N), np.float32)}, "--detector-gain"),
    "odd patterns": (STEM, {"cube": np.ones((2, 3, N - 1, N - 1), np.uint16)}, "--crop-px"),
    "an infinite gain": (MATLAB, {"ADU": np.inf}, "--detector-gain"),
    "no gain at all": (MATLAB, {"ADU": 0.0}, "ADU: found 0, expected a positive number"),
    "patterns of two axes": (MATLAB, {"dp": np.ones((N, N))}, "dp"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_code_1(tmp_path, refused, monkeypatch, case):
    whole, changes, message = CASES[case]
    if case == "absurd chunks":
        monkeypatch.setattr("ptypinn.io.safe.hdf5_chunks.MAX_CHUNK_BYTES", 100)
    path = write(tmp_path / "scan.h5", {**whole, **changes})
    options = STEM_OPTIONS if whole in (STEM, MATLAB) else ()
    assert re.search(message, refused(path, *options))


def test_the_unchanged_files_are_read(tmp_path, capsys):
    for number, whole in enumerate((PTYLAB, CXI, STEM, MATLAB)):
        path = write(tmp_path / f"{number}.h5", whole)
        assert main(["info", str(path), *(STEM_OPTIONS if whole in (STEM, MATLAB) else ())]) == 0, capsys.readouterr()


@given(st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=5))
def test_bytes_changed_anywhere_do_no_harm(tmp_path_factory, changes):
    """The file is read after all, or refused in one line; nothing else."""
    path = write(tmp_path_factory.mktemp("changed") / "scan.h5", PTYLAB)
    content = bytearray(path.read_bytes())
    for where, value in changes:
        content[int(where * len(content))] = value
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        load(path).counts[:]


def test_counts_that_are_declared_and_not_stored_are_refused_at_once(tmp_path):
    path = tmp_path / "empty.cxi"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry_1/instrument_1/detector_1/data", (2_000_000, 64, 64), "u4", chunks=(1, 64, 64))
        file.create_dataset("entry_1/sample_1/geometry_1/translation", data=np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"32\.8 GB declared and nothing stored, expected data that is really there"):
        load(path)
