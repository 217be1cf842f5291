"""Scan files are found by their content, without their counts."""

import os
import shutil
import time

import h5py
import numpy as np
import pytest

from ptypinn.viewer import scan_index
from ptypinn.viewer.scan_index import ScanIndex


@pytest.fixture
def lab(home, tmp_path, monkeypatch):
    """Scans among other files: links, a pipe, texts with the suffix of a scan, a run."""
    monkeypatch.setattr("ptypinn.viewer.scan_index.MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr("ptypinn.viewer.scan_index.PAUSE_FACTOR", 0)
    folder = tmp_path / "lab"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for place in ("scan.h5", "deep/er/scan.h5", ".hidden/scan.h5"):
        shutil.copy(home.parent / "scan.h5", folder / place)
    shutil.copytree(home / "good", folder / "good")
    np.savez(folder / "good" / "newest_pattern.npz", diffraction=np.ones((3, 8, 8)))
    np.savez(folder / "other.npz", numbers=np.ones(3))
    (folder / "text.h5").write_text("nothing")
    (folder / "half.h5").write_bytes((home.parent / "scan.h5").read_bytes()[:4000])
    (folder / "link.h5").symlink_to(home.parent / "scan.h5")
    (folder / "away").symlink_to(home.parent)
    os.mkfifo(folder / "pipe.h5")
    return folder


def search(index):
    """Return the scans of a search that begins now."""
    index.wait(30.0)
    index._due_s = 0.0
    index.scans()
    index.wait(30.0)
    return sorted(index._scans.values(), key=lambda scan: scan.name)


def test_scans_are_found_at_any_depth_and_nothing_else_is(lab):
    scans = search(ScanIndex([lab]))
    assert [scan.name for scan in scans] == ["deep/er/scan.h5", "scan.h5"]
    assert {scan.format for scan in scans} == {"ptypinn HDF5"}
    assert all(len(scan.id) == 12 and int(scan.id, 16) >= 0 for scan in scans)
    assert all(scan.size_bytes == (lab / scan.name).stat().st_size for scan in scans)


def test_a_file_is_looked_into_once_per_version_and_its_counts_are_not_read(lab, monkeypatch):
    looks, recognise = [], scan_index._recognise
    monkeypatch.setattr(scan_index, "_recognise", lambda path: looks.append(path.name) or recognise(path))
    monkeypatch.setattr("ptypinn.io.load_save.read_scan", lambda *_: pytest.fail("the scan was read"))
    index = ScanIndex([lab])
    for _ in range(3):
        search(index)
        index.wait(30.0)
    assert sorted(looks) == ["half.h5", "other.npz", "scan.h5", "scan.h5", "text.h5"]
    os.utime(lab / "scan.h5", (1, 1))
    search(index)
    index.wait(30.0)
    assert looks.count("scan.h5") == 3


def test_scans_appear_and_go_and_ids_stay(lab):
    index = ScanIndex([lab])
    first, second = search(index)
    version = index.version()
    index.wait(30.0)
    (lab / "deep" / "er" / "scan.h5").unlink()
    assert index.scan(first.id) is None
    search(index)
    index.wait(30.0)
    assert index.version() != version
    assert ScanIndex([lab]).scan(second.id) == second  # also before the first search
    assert index.scan("000000000000") is None
    (lab / "scan.h5").unlink()
    (lab / "scan.h5").symlink_to("/etc/hostname")
    assert index.scan(second.id) is None


def test_a_slow_search_blocks_nobody(lab, monkeypatch):
    monkeypatch.setattr(scan_index, "_recognise", lambda path: time.sleep(0.5) or "")
    index, start_s = ScanIndex([lab]), time.monotonic()
    assert index.scans() == [] and index.version() and not index.is_complete
    assert time.monotonic() - start_s < 0.4
    index.wait(30.0)
    assert index.is_complete


def test_a_search_is_bounded(lab, monkeypatch):
    monkeypatch.setattr(scan_index, "MAX_FILES", 2)
    assert len(search(ScanIndex([lab]))) <= 2


def test_a_slow_first_search_delays_no_later_one_by_minutes(tmp_path, monkeypatch):
    times_s = iter([0.0, 100.0, 120.0])
    index = ScanIndex([tmp_path])
    monkeypatch.setattr("ptypinn.viewer.scan_index.time.monotonic", lambda: next(times_s, 120.0))
    monkeypatch.setattr(index, "_find_scans", lambda checks: iter(()))
    next(times_s)
    index._run_search()
    assert 120.0 < index._due_s <= 150.0


def test_a_file_is_looked_into_again_when_a_file_that_it_refers_to_comes(lab):
    index = ScanIndex([lab])
    shutil.copy(lab / "scan.h5", lab / "whole.h5")
    with h5py.File(lab / "whole.h5") as whole, h5py.File(lab / "master.h5", "w") as master:
        for name in ("cxi_version", "number_of_entries"):
            whole.copy(name, master)
        master["entry_1"] = h5py.ExternalLink("parts/part.h5", "entry_1")
    assert "master.h5" not in {scan.name for scan in search(index)}
    (lab / "parts").mkdir()
    (lab / "whole.h5").rename(lab / "parts" / "part.h5")
    assert "master.h5" in {scan.name for scan in search(index)}


def test_a_file_that_could_not_be_read_is_looked_into_again_later(lab, monkeypatch):
    def fail(path):
        raise MemoryError

    monkeypatch.setattr(scan_index, "RETRY_S", 0.0)
    monkeypatch.setattr(scan_index, "_recognise", fail)
    index = ScanIndex([lab])
    assert search(index) == []
    monkeypatch.undo()
    monkeypatch.setattr("ptypinn.viewer.scan_index.MIN_INTERVAL_S", 0.0)
    assert [scan.name for scan in search(index)] == ["deep/er/scan.h5", "scan.h5"]


def test_files_that_are_gone_take_no_memory(lab):
    index = ScanIndex([lab])
    for number in range(5):
        (lab / f"text{number}.h5").write_text("nothing")
        search(index)
        (lab / f"text{number}.h5").unlink()
    search(index)
    assert sorted(path.name for path in index._checks) == ["half.h5", "other.npz", "scan.h5", "scan.h5", "text.h5"]
