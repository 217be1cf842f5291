"""Damaged files of every format end in one line: a few of each kind here, many with `make test-faults`."""

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from mutants import read_mutant
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_heaps import require_sane_heaps
from ptypinn.io.safe.hdf5_open import open_hdf5
from sound_files import make_files

MUTANTS, CORPUS = Path(__file__).with_name("mutants.py"), Path(__file__).with_name("corpus")


def test_damaged_files_of_every_kind_are_read_or_refused_in_one_line():
    command = [sys.executable, str(MUTANTS), "--mutants", "9", "--seed", "3"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-300:]
    total, _, wrong = run.stdout.splitlines()[-1].partition(" mutants, ")
    assert int(total) >= 36 * 9
    assert wrong == "0 went wrong"


def test_what_ever_went_wrong_is_refused_in_one_line(tmp_path):
    problems, total = {}, 0
    for kind, file in make_files(tmp_path).items():
        content = file.path.read_bytes()
        for path in sorted((CORPUS / kind.replace(" ", "_")).glob("*")):
            file.path.write_bytes(path.read_bytes())
            problems[path.name] = read_mutant(file)
            total += 1
            with pytest.raises(InputError):
                file.read()
        file.path.write_bytes(content)
    assert total == sum(path.is_file() for path in CORPUS.rglob("*"))
    assert not any(problems.values()), problems


def test_a_heap_without_an_end_is_refused_and_every_other_is_read(tmp_path):
    path = tmp_path / "heap.h5"
    with h5py.File(path, "w") as file:
        for number in range(40):
            file.attrs[f"name{number}"] = "a text of some length " * number
    require_sane_heaps(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL")
    place = start + 16
    while index := int.from_bytes(content[place : place + 2], "little"):
        assert index < 100
        place += 16 + (int.from_bytes(content[place + 8 : place + 16], "little") + 7) // 8 * 8
    content[place + 8 : place + 16] = bytes(8)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.h5: file: found a damaged HDF5 file \(a heap without an end\)"):
        open_hdf5(damaged).__enter__()
