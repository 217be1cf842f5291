"""A snapshot has the newest object, complete, and a run that has ended leaves none."""

import json
from functools import partial

import h5py
import numpy as np
import pytest

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.io.reconstruction_file import Snapshots
from ptypinn.runs.folder import SNAPSHOT, RunFolder

SHAPE = (24, 30)


class Clock:
    def __init__(self, monkeypatch):
        self.now_s = 100.0
        monkeypatch.setattr("ptypinn.io.reconstruction_file.time.monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def full(value, **more):
    """Return a function that makes a reconstruction with a constant object."""
    return partial(
        Reconstruction,
        np.full(SHAPE, value, np.complex64),
        np.full(SHAPE, 5, np.float32),
        np.full((2, 8, 8), 1j, np.complex64),
        np.array([[0.0, 1.5], [2.25, 3.0]]),
        **more,
    )


def object_value(folder):
    with h5py.File(folder / SNAPSHOT) as file:
        return complex(file["object"][0, 0])


def test_the_newest_reconstruction_is_written_with_its_scan(clock, tmp_path):
    snapshots = Snapshots(tmp_path / SNAPSHOT, tmp_path / "scan.h5")
    recon = full(
        1j, origin_px=(3, -4), pixel_size_m=2e-8, patterns=np.array([4, 7]), provenance={"scan": {"sha256": "ab"}}
    )
    snapshots(recon)
    with h5py.File(tmp_path / SNAPSHOT) as file:
        for name in ("object", "illumination", "probe", "positions_px", "origin_px", "pixel_size_m", "patterns"):
            np.testing.assert_array_equal(file[name][()], getattr(recon(), name), err_msg=name)
        record = json.loads(file["provenance"][()])["scan"]
    assert record == {"sha256": "ab", "path": str(tmp_path / "scan.h5")}


def test_snapshots_are_no_more_frequent_than_the_interval_and_cost_nothing_in_between(clock, tmp_path):
    snapshots = Snapshots(tmp_path / SNAPSHOT, interval_s=2.0)
    snapshots(full(1j))
    clock.now_s += 1.9
    snapshots(pytest.fail)
    assert object_value(tmp_path) == 1j
    clock.now_s += 0.2
    snapshots(full(3j))
    assert object_value(tmp_path) == 3j


def test_an_object_too_large_has_no_snapshot(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("ptypinn.io.reconstruction_file.MAX_OBJECT_PX", SHAPE[0] * SHAPE[1] - 1)
    snapshots = Snapshots(tmp_path / SNAPSHOT)
    snapshots(full(1j))
    snapshots(pytest.fail)
    assert not (tmp_path / SNAPSHOT).exists()
    assert "an object of 720 pixels" in caplog.text


def test_slow_writing_makes_snapshots_rare(clock, tmp_path, monkeypatch):
    class SlowFile(h5py.File):
        def close(self):
            clock.now_s += 3.0
            super().close()

    monkeypatch.setattr("ptypinn.io.reconstruction_file.h5py.File", SlowFile)
    snapshots = Snapshots(tmp_path / SNAPSHOT, interval_s=2.0)
    snapshots(full(1j))
    clock.now_s += 90.0
    snapshots(full(2j))
    monkeypatch.undo()
    assert object_value(tmp_path) == 1j


def test_a_full_disk_stops_snapshots_and_not_the_run(tmp_path, monkeypatch, caplog):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ptypinn.io.reconstruction_file.replace_hdf5", full_disk)
    snapshots = Snapshots(tmp_path / SNAPSHOT, interval_s=0.0)
    snapshots(full(1j))
    snapshots(full(1j))
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


@pytest.mark.parametrize("ends", [None, KeyboardInterrupt])
def test_a_run_that_is_over_has_no_snapshot(ends, tmp_path):
    import contextlib

    place = tmp_path / "out"
    with contextlib.suppress(KeyboardInterrupt), RunFolder(place, "refine", {}) as run:
        Snapshots(run.file(SNAPSHOT))(full(1j))
        assert (place / SNAPSHOT).exists()
        if ends:
            raise ends
        run.finish()
        assert not (place / SNAPSHOT).exists()
    assert not (place / SNAPSHOT).exists()
    assert place.exists() == (ends is None)
