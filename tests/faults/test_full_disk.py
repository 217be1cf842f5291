"""A disk that fills while a file is written: one error that names folder, need and space, and an earlier file stays."""

import errno
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ptypinn import RefineConfig, SimulateConfig, refine, save, simulate
from ptypinn.io.registry import list_formats
from ptypinn.io.safe.hdf5_write import _ForgivingFile, create_hdf5, replace_hdf5, require_written
from ptypinn.models.model_file import load_weights, save_weights
from ptypinn.training.checkpoints import AtomicCheckpointIO
from ptypinn.utils.atomic_files import atomic_path, write_text

FRACTIONS = (0.0, 0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.99)
"""Sizes at which the disk is full, as fractions of the size of the file."""


def make_writers():
    """Return the writers of all files of some size, by name: functions of a path."""
    scan = simulate(SimulateConfig(size=32, object_size=(72, 72), n_patterns=60, seed=1))
    recon = refine(scan, RefineConfig(iterations=1, device="cpu"))
    weights = load_weights()
    writers = {
        "weights": lambda path: save_weights(weights.network, {}, path),
        "checkpoint": lambda path: AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(9999)}}, path),
        "text": lambda path: write_text(path, "a" * 5000),
    }
    for name, kind in list_formats().items():
        if kind.write is not None:
            writers[f"scan-{name}"] = lambda path, name=name: save(scan, path, name)
        if kind.write_reconstruction is not None:
            writers[f"reconstruction-{name}"] = lambda path, name=name: save(recon, path, name)
    return writers


def fill_disks(folder):
    """Print for every writer what it raised at every size; limits of the process stand for full disks."""
    outcomes = {}
    for name, write in make_writers().items():
        path = Path(folder) / name / "file.bin"
        write(path)
        content = path.read_bytes()
        outcomes[name] = []
        for fraction in FRACTIONS:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(fraction * len(content)), resource.RLIM_INFINITY))
            try:
                write(path)
                outcome = "written"
            except OSError as error:
                outcome = f"{error.errno} {error.filename} {error.strerror}"
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            left = [entry.name for entry in path.parent.iterdir()]
            outcomes[name].append([outcome, left == ["file.bin"] and path.read_bytes() == content])
    sys.stdout.write(json.dumps(outcomes))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("full"))]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def test_no_writer_ends_the_process_and_each_names_the_folder(outcomes):
    assert {"scan-native", "scan-cxi", "scan-ptyd", "reconstruction-native", "checkpoint"} <= set(outcomes)
    for name, results in outcomes.items():
        for outcome, _ in results:
            assert outcome.startswith((f"{errno.EFBIG} ", f"{errno.ENOSPC} ")), (name, outcome)
            assert re.search(rf"/{name} no space left: (at least|more than) .* MB are needed for file.bin", outcome)


def test_an_earlier_file_stays_and_nothing_else_is_left(outcomes):
    assert all(intact for results in outcomes.values() for _, intact in results)


def test_a_file_that_cannot_fit_is_not_begun(tmp_path):
    with pytest.raises(OSError, match=r"at least 1e\+09 MB are needed for a.h5, .* MB are free") as caught:
        replace_hdf5(tmp_path / "a.h5", 10**15).__enter__()
    assert caught.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_large_data_is_given_up_soon(tmp_path, monkeypatch):
    done = []

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_patterns():
        with create_hdf5(tmp_path / "a.h5") as file:
            data = file.create_dataset("data", (4000, 64, 64), "u4", chunks=(1, 64, 64))
            monkeypatch.setattr(os, "pwrite", fail)
            for number in range(4000):
                data[number] = np.ones((64, 64))
                require_written((number + 1) / 4000)
                done.append(number)

    with pytest.raises(OSError, match="No space left"):
        write_patterns()
    assert len(done) < 1000  # what the cache of HDF5 holds


def test_a_file_that_turns_out_too_large_for_the_disk_is_given_up_on_its_way(tmp_path, monkeypatch):
    noise, done = np.random.default_rng(0).integers(0, 2**32, (64, 64, 64), dtype=np.uint32), []
    monkeypatch.setattr(_ForgivingFile, "measure_free_space", lambda _: 2**25)

    def write_patterns(count):
        with replace_hdf5(tmp_path / "a.h5") as file:
            data = file.create_dataset("data", (count, 64, 64), "u4", chunks=(64, 64, 64))
            for start in range(0, count, 64):
                data[start : start + 64] = noise
                require_written((start + 64) / count)
                done.append(start)

    with pytest.raises(OSError, match=r"at least [12]\d\d MB are needed for a.h5"):
        write_patterns(19200)  # 315 MB where 34 MB are free
    assert 0 < len(done) < 40
    assert not list(tmp_path.iterdir())
    write_patterns(3200)  # 52 MB, for an estimate may be wrong by a factor


def test_a_failure_of_the_writer_itself_is_its_own(tmp_path):
    with pytest.raises(ZeroDivisionError), create_hdf5(tmp_path / "a.h5"):
        raise ZeroDivisionError
    with pytest.raises(OSError, match="busy"), atomic_path(tmp_path / "b"):
        raise OSError(errno.EBUSY, "busy")
    assert not (tmp_path / "b").exists()


if __name__ == "__main__":
    fill_disks(sys.argv[1])
