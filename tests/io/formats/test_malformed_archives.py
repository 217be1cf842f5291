"""Malformed NPZ, NPY and MATLAB files end in one line; nothing is unpickled, and bombs stay small."""

import contextlib
import io
import pickle
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load

N, M = 16, 6
NPZ = {"diffraction": np.full((M, N, N), 5, np.uint16), "positions_px": np.arange(2.0 * M).reshape(M, 2)}
MATLAB = {"dp": np.full((N, N, 2, 3), 5.0), "ADU": 1.0}
STEM_OPTIONS = ("--scan-step-m=1e-10", "--pixel-size-m=1e-11", "--detector-gain=1")


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def npy(array, shape=None, descr=None):
    """An NPY file whose header may lie."""
    out = io.BytesIO()
    header = {
        "descr": descr or array.dtype.str,
        "fortran_order": False,
        "shape": array.shape if shape is None else shape,
    }
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + array.tobytes()


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def with_member(path, content):
    members = {"diffraction.npy": content, "positions_px.npy": npy(NPZ["positions_px"])}
    return archive(path, members)


COUNTS = NPZ["diffraction"]
ARCHIVES = {
    "no archive": (lambda p, trace: p.write_bytes(b"PK\x03\x04" + bytes(50)), "no format"),
    "an empty archive": (lambda p, trace: archive(p, {}), "no format|only"),
    "text for an array": (lambda p, trace: with_member(p, b"hello"), "diffraction: found a truncated or damaged"),
    "a shape larger than the data": (lambda p, trace: with_member(p, npy(COUNTS, (10**9, N, N))), "diffraction"),
    "a shape smaller than the data": (lambda p, trace: with_member(p, npy(COUNTS, (M - 1, N, N))), "diffraction"),
    "a negative shape": (lambda p, trace: with_member(p, npy(COUNTS, (-M, -N, N))), "diffraction"),
    "a shape beyond integers": (lambda p, trace: with_member(p, npy(COUNTS, (2**70, N, N))), "diffraction"),
    "an unknown type": (lambda p, trace: with_member(p, npy(COUNTS, descr="<q9")), "diffraction"),
    "pickled objects": (
        lambda p, trace: with_member(p, npy(np.zeros(0), (1,), "|O") + pickle.dumps(Trap(trace))),
        "diffraction: found pickled Python objects",
    ),
    "objects inside records": (
        lambda p, trace: with_member(p, npy(np.zeros(0), (1,), [("a", "|O")]) + pickle.dumps(Trap(trace))),
        "diffraction: found pickled Python objects",
    ),
    "a bare pickle": (lambda p, trace: p.write_bytes(pickle.dumps(Trap(trace))), "no format"),
    "NaN counts": (lambda p, trace: np.savez(p, **{**NPZ, "diffraction": COUNTS * np.nan}), "--domain|nan"),
    "mismatched lengths": (lambda p, trace: np.savez(p, **{**NPZ, "positions_px": np.zeros((2, 2))}), "positions"),
    "complex counts": (lambda p, trace: np.savez(p, **{**NPZ, "diffraction": COUNTS * 1j}), "real numbers"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives(tmp_path, refused, case):
    make, message = ARCHIVES[case]
    path, trace = tmp_path / "scan.npz", tmp_path / "unpickled"
    make(path, trace)
    assert re.search(message, refused(path))
    assert not trace.exists()


NPYS = {
    "cut short": npy(np.ones((2, 3, N, N)))[:-8],
    "a shape larger than the file": npy(np.ones((2, 3, N, N)), (10**6, 10**6, N, N)),
    "pickled objects": npy(np.zeros(0), (1,), "|O") + pickle.dumps(1),
    "two axes": npy(np.ones((N, N))),
    "text": npy(np.full((2, 3, N, N), "a")),
    "negative counts": npy(np.full((2, 3, N, N), -1.0)),
    "no header": b"\x93NUMPY\x01\x00",
    "a header without end": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"{" * 100,
    "a version of the future": b"\x93NUMPY\x09\x00" + bytes(100),
}


@pytest.mark.parametrize("case", NPYS)
@pytest.mark.parametrize("budget", ["4096", "1e-9"])
def test_npy_files(tmp_path, refused, case, budget):
    path = tmp_path / "cube.npy"
    path.write_bytes(NPYS[case])
    refused(path, *STEM_OPTIONS, f"--memory-budget-gib={budget}")


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name, dims, content, kind=6):
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims)) + element(1, name)
    return element(14, head + content)


def mat5(*elements):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements)


def nested(depth):
    """Cells within cells, deep enough to overflow the stack of a reader that recurses."""
    name, head = element(1, b""), element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<2i", 1, 1))
    size, heads = 0, []
    for level in range(depth):
        part = head + (element(1, b"dp") if level == depth - 1 else name)
        size += len(part)
        heads.append(struct.pack("<II", 14, size) + part)
        size += 8
    return mat5(b"".join(reversed(heads)))


NUMBER = element(9, struct.pack("<d", 1.0))
MATS = {
    "cut short": mat5(matrix(b"dp", (1, 1), NUMBER))[:-4],
    "only a header": mat5(),
    "dimensions larger than the data": mat5(matrix(b"dp", (10**5, 10**5, 2, 2), NUMBER)),
    "negative dimensions": mat5(matrix(b"dp", (-4, -4, 2, 2), NUMBER)),
    "an element beyond the end": mat5(struct.pack("<II", 14, 2**32 - 16) + bytes(64)),
    "compressed rubbish": mat5(struct.pack("<II", 15, 64) + bytes(range(64))),
    "an unknown type": mat5(matrix(b"dp", (1, 1), element(99, bytes(8)))),
    "an unknown class": mat5(matrix(b"dp", (1, 1), NUMBER, kind=77)),
    "depth": nested(100_000),
    "nothing but rubbish": mat5(bytes(range(256)) * 4),
}


@pytest.mark.parametrize("case", MATS)
def test_matlab_files(tmp_path, refused, case):
    path = tmp_path / "scan.mat"
    path.write_bytes(MATS[case])
    refused(path, *STEM_OPTIONS)


@given(st.sampled_from(["npz", "npy", "mat", "mat compressed"]), st.floats(0, 0.999))
def test_files_cut_anywhere_are_refused(tmp_path_factory, kind, fraction):
    path = tmp_path_factory.mktemp("cut") / f"scan.{kind.split()[0]}"
    if kind == "npz":
        np.savez_compressed(path, **NPZ)
    elif kind == "npy":
        np.save(path, MATLAB["dp"])
    else:
        scipy.io.savemat(path, MATLAB, do_compression="compressed" in kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=rf"scan\.{kind.split()[0]}: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def deflated(first, repeat, megabytes):
    stream = zlib.compressobj(1)
    parts = [stream.compress(first), *(stream.compress(repeat) for _ in range(megabytes)), stream.flush()]
    return b"".join(parts)


def bombs(folder):
    """Small files that inflate, or say that they do, to gigabytes."""
    megabyte = bytes(2**20)
    with zipfile.ZipFile(folder / "zeros.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("diffraction.npy", "w", force_zip64=True) as member:
            member.write(npy(np.zeros(0, "u2"), (2**11, 256, 256)))
            for _ in range(256):
                member.write(megabyte)
        file.writestr("positions_px.npy", npy(np.zeros((2**11, 2))))
    size = 2**28
    head = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<2i", 1, size // 8)) + element(1, b"dp")
    tag = struct.pack("<II", 14, len(head) + 8 + size) + head + struct.pack("<II", 9, size)
    inflating = deflated(tag, megabyte, 256)
    (folder / "zeros.mat").write_bytes(mat5(struct.pack("<II", 15, len(inflating)) + inflating))
    with (folder / "sparse.npy").open("wb") as file:
        file.write(npy(np.zeros(0, "u2"), (10**6, 10**3, 16, 16)))
        file.truncate(file.tell() + 10**9 * 512)


WATCHED = """
import sys
from pathlib import Path
from ptypinn.config.load import LoadConfig
from ptypinn.io.load_save import load
from ptypinn.io.safe import hdf5
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
hdf5.MAX_ARRAY_BYTES = 1e8
before = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    step = {} if path.suffix == ".npz" else {"scan_step_m": 1e-10}
    try:
        load(path, LoadConfig(memory_budget_gib=0.1, detector_gain=1, pixel_size_m=1e-11, **step))
    except ValueError as error:
        print(error)
print((peak() - before) // 1024)
"""


def test_bombs_take_little_memory(tmp_path):
    bombs(tmp_path)
    run = subprocess.run([sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True, check=True)
    *lines, megabytes = run.stdout.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("sparse.npy", "zeros.mat", "zeros.npz"), strict=True):
        assert name in line
    assert int(megabytes) < 150


@given(st.booleans(), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_changed_anywhere_do_no_harm(tmp_path_factory, compressed, changes):
    """The file is read after all, or refused in one line; nothing else, and no crash of a library."""
    path = tmp_path_factory.mktemp("changed") / "scan.mat"
    entries = {**MATLAB, "p": {"fmag": np.ones((N, N, 2)), "renorm": 1.0, "cells": np.array([1, "a"], object)}}
    scipy.io.savemat(path, entries, do_compression=compressed)
    content = bytearray(path.read_bytes())
    for where, value in changes:
        content[128 + int(where * (len(content) - 128))] = value
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        load(path, LoadConfig(scan_step_m=1e-10, pixel_size_m=1e-11))
