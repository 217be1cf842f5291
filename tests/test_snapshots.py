"""Whoever watches sees the newest object whole, and a run that is over leaves none."""

import h5py
import numpy as np
import pytest

from ptypinn.runs import SNAPSHOT, RunFolder
from ptypinn.snapshots import Snapshots

SHAPE = (24, 30)


class Clock:
    def __init__(self, monkeypatch):
        self.now_s = 100.0
        monkeypatch.setattr("ptypinn.snapshots.time.monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def scan():
    from ptypinn.config.simulate import SimulateConfig
    from ptypinn.simulate import simulate

    config = SimulateConfig(size=16, probe_diameter_px=8.0, object_size=SHAPE, n_patterns=9, photons=1e4)
    return simulate(config).replace(pixel_size_m=2e-8)


def written(folder):
    with h5py.File(folder / SNAPSHOT) as file:
        return complex(file["object"][0, 0]), dict(file.attrs)


def full(value):
    return np.full(SHAPE, value, np.complex64)


def test_the_newest_object_is_kept_with_its_place_and_pixel(clock, scan, tmp_path):
    watch = Snapshots(tmp_path, scan, interval_s=2.0)
    watch(full(1j))
    value, notes = written(tmp_path)
    assert value == 1j
    assert notes["pixel_size_m"] == 2e-8
    assert tuple(notes["origin_px"]) == (0, 0)
    with h5py.File(tmp_path / SNAPSHOT) as file:
        light = file["illumination"][()]
    power = np.sum(np.abs(scan.require_probe()) ** 2) * scan.n_patterns
    assert light.shape == SHAPE
    assert light.sum() == pytest.approx(power, rel=1e-4)
    clock.now_s += 1.9
    watch(full(2j))
    assert written(tmp_path)[0] == 1j
    clock.now_s += 0.2
    watch(full(3j))
    assert written(tmp_path)[0] == 3j


def test_slow_writing_makes_snapshots_rare(clock, scan, tmp_path, monkeypatch):
    class SlowFile(h5py.File):
        def close(self):
            clock.now_s += 3.0
            super().close()

    monkeypatch.setattr("ptypinn.snapshots.h5py.File", SlowFile)
    watch = Snapshots(tmp_path, scan, interval_s=2.0)
    watch(full(1j))
    clock.now_s += 90.0
    watch(full(2j))
    monkeypatch.undo()
    assert written(tmp_path)[0] == 1j


def test_a_full_disk_stops_snapshots_and_not_the_run(scan, tmp_path, monkeypatch, caplog):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ptypinn.snapshots.atomic_path", full_disk)
    watch = Snapshots(tmp_path, scan, interval_s=0.0)
    watch(full(1j))
    watch(full(1j))
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


@pytest.mark.parametrize("ends", [None, KeyboardInterrupt])
def test_a_run_that_is_over_has_no_snapshot(ends, scan, tmp_path):
    import contextlib

    place = tmp_path / "out"
    with contextlib.suppress(KeyboardInterrupt), RunFolder(place, "refine", {}) as run:
        Snapshots(run.path, scan)(full(1j))
        assert (place / SNAPSHOT).exists()
        if ends:
            raise ends
        run.finish()
        assert not (place / SNAPSHOT).exists()
    assert not (place / SNAPSHOT).exists()
    assert place.exists() == (ends is None)
