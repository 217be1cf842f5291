"""Scans are looked at by a process of their own, for the pages that wait, and again when any of their files changes."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from ptypinn.viewer import scan_facts, scan_index
from ptypinn.viewer.scan_facts import FactsCache
from ptypinn.viewer.scan_index import ScanIndex
from ptypinn.viewer.scan_process import Look

DATA = "entry_1/instrument_1/detector_1/data"


def search(lab):
    index = ScanIndex([lab])
    index.scans()
    index.wait(30.0)
    return index.scans()[0]


@pytest.fixture
def cache():
    facts = FactsCache()
    yield facts
    facts.close()


def look(cache, scan, **options):
    deadline = time.monotonic() + 60
    while (facts := cache.get(scan, options)).state in ("waiting", "reading"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return facts


def test_a_look_states_what_info_states(lab, cache, ptypinn_info):
    scan = search(lab)
    facts = look(cache, scan)
    content = facts.describe()
    stated = ptypinn_info(scan.path)
    assert (content["warnings"], content["missing"]) == (stated["warnings"], stated["missing"])
    assert content["positions"]["count"] == stated["n_patterns"] == len(content["positions"]["centres_px"])
    assert content["table"]["Scan"] and ["Object pixel", "20 nm"] in content["headline"]
    assert set(facts.look.pictures) == {"mean_pattern", "probe"}
    assert all(png.startswith(b"\x89PNG") for png in facts.look.pictures.values())
    assert cache.get(scan, {}) is facts  # the same version is not read again
    part = look(cache, scan, select="0-99", centre_px=(16, 16))
    assert part.describe()["positions"]["count"] == 100


@pytest.fixture
def ptypinn_info(capsys):
    from ptypinn.cli.main import main

    def run(path):
        assert main(["info", str(path), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_a_scan_that_cannot_be_read_has_its_line_and_no_folder(lab, cache):
    scan = search(lab)
    scan.path.write_bytes(scan.path.read_bytes()[:-3000])
    facts = look(cache, scan)
    assert facts.state == "failed"
    error = facts.describe()["error"]
    assert "scan.h5" in error and str(lab) not in error and "\n" not in error
    assert "--photons" in look(cache, scan, photons=-1.0).look.error


def test_the_server_reads_no_counts(lab, cache, monkeypatch):
    scan = search(lab)
    monkeypatch.setattr("ptypinn.stages.info.info", lambda *_: pytest.fail("looked at in this process"))
    assert look(cache, scan).state == "done"


def test_a_look_that_dies_is_a_line(lab, cache, monkeypatch):
    scan = search(lab)
    monkeypatch.setattr("ptypinn.viewer.scan_process.sys.executable", "/bin/false")
    assert look(cache, scan).describe()["error"] == "scan.h5: ended with exit code 1"


def test_a_program_in_the_current_folder_is_not_imported(lab, cache, monkeypatch):
    scan = search(lab)
    (lab / "numpy.py").write_text(f"open({str(lab / 'hacked')!r}, 'w')")
    monkeypatch.chdir(lab)
    monkeypatch.setenv("PYTHONPATH", str(Path(scan_index.__file__).parents[2]))
    assert look(cache, scan).state == "done"
    assert not (lab / "hacked").exists()


def spread(lab):
    """Move the counts of the scan to a file that its file refers to through a third one."""
    with h5py.File(lab / "scan.h5", "r+") as file, h5py.File(lab / "part.h5", "w") as part:
        part["data"] = counts = file[DATA][()]
        del file[DATA]
        layout = h5py.VirtualLayout(counts.shape, counts.dtype)
        layout[:] = h5py.VirtualSource("part.h5", "data", shape=counts.shape)
        with h5py.File(lab / "all.h5", "w") as whole:
            whole.create_virtual_dataset("data", layout)
        file[DATA] = h5py.ExternalLink("all.h5", "data")
    return lab / "part.h5"


def rewrite(part):
    with h5py.File(part, "r+") as file:
        file["data"][:] = np.roll(file["data"][:], 5, axis=2)


def test_a_change_of_a_file_that_a_scan_refers_to_is_noticed(lab, cache):
    part = spread(lab)
    scan = search(lab)
    before, version = look(cache, scan), cache.version(scan.id)
    assert before.state == "done" and cache.version(scan.id) == version and cache.get(scan, {}) is before
    rewrite(part)
    assert search(lab).version == scan.version  # the scan file itself is as it was
    assert cache.version(scan.id) != version and cache.find(scan, {}) is None
    after = look(cache, scan)
    assert after.version != before.version
    assert after.look.pictures["mean_pattern"] != before.look.pictures["mean_pattern"]


def test_the_address_of_a_picture_changes_with_the_mask(view_folder, lab):
    viewer = view_folder(lab)
    mask = np.ones((32, 32), bool)
    np.save(lab / "mask.npy", mask)
    deadline = time.monotonic() + 60
    while not (ids := [each["id"] for each in viewer.get("/api/scans").json["scans"] if each["name"] == "scan.h5"]):
        assert time.monotonic() < deadline
    values = "?values=" + json.dumps({"mask": "mask.npy", "mask_convention": "good"}).replace(" ", "%20").replace(
        '"', "%22"
    )

    def facts():
        while (content := viewer.get(f"/api/scans/{ids[0]}/facts{values}").json)["state"] != "done":
            assert time.monotonic() < deadline and content["state"] != "failed", content
            time.sleep(0.1)
        return content

    def picture(content):
        return viewer.get(f"{content['base']}/mean_pattern.png{content['query']}")

    before = facts()
    shown = picture(before).body
    mask[:9] = False
    np.save(lab / "mask.npy", mask)
    assert picture(before).status == 410
    after = facts()
    assert after["base"] != before["base"] and picture(after).body != shown


class HeldProcess:
    """A look that ends when it is let go."""

    def __init__(self, path, options):
        self.path = path

    def run(self, is_unwanted):
        self.order.append(self.path.name)
        while not self.go.wait(0.01):
            if is_unwanted():
                return None
        return Look()

    def kill(self):
        self.go.set()


@pytest.fixture
def held(monkeypatch):
    """Looks that are held, the order in which they begin, and many scans."""
    HeldProcess.order, HeldProcess.go = [], threading.Event()
    monkeypatch.setattr(scan_facts, "LookProcess", HeldProcess)

    def many(count):
        return [
            scan_index.Scan(f"{k:012x}", f"{k}", Path(f"/gone/{k}"), Path("/gone"), "", "1", 1, "")
            for k in range(count)
        ]

    yield HeldProcess, many
    HeldProcess.go.set()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_scan_that_was_asked_for_last_is_looked_at_first(cache, held):
    process, many = held
    scans = many(6)
    for scan in scans:
        cache.get(scan, {})
        wait_for(lambda: process.order)  # the first begins
    cache.get(scans[2], {})  # a page asks again
    process.go.set()
    wait_for(lambda: len(process.order) == 6)
    assert process.order == ["0", "2", "5", "4", "3", "1"]


def test_scans_that_no_page_follows_any_more_are_not_looked_at(cache, held, monkeypatch):
    process, many = held
    passed_s = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed_s)
    monkeypatch.setattr(scan_facts, "time", clock)
    monkeypatch.setattr(scan_facts, "LEFT_S", 3600.0)
    scans = many(1000)
    for scan in scans:
        cache.get(scan, {})
        cache.version(scan.id)
    assert len(cache._facts) <= scan_facts.MAX_SCANS
    wait_for(lambda: process.order)
    passed_s = 7200.0
    last = scans[-1].id
    assert cache.version(last)  # its page stays: the first look is ended
    wait_for(lambda: process.order[-1] == "999")
    process.go.set()
    wait_for(lambda: cache.version(last).split()[1] == "done")
    cache._workers.submit(int).result()
    assert len(process.order) <= 2 and len(cache._facts) <= 2


def test_a_failure_is_looked_at_again_after_a_while(lab, cache, monkeypatch):
    scan = search(lab)
    monkeypatch.setattr(HeldProcess, "run", lambda self, is_unwanted: Look(error="out of memory"))
    monkeypatch.setattr(scan_facts, "LookProcess", HeldProcess)
    monkeypatch.setattr(scan_facts, "stamp_places", lambda places: "")
    first = look(cache, scan)
    assert cache.get(scan, {}) is first
    first.ended_s -= scan_facts.RETRY_S + 1
    assert cache.get(scan, {}) is not first


def test_results_take_bounded_memory(cache, held, monkeypatch):
    process, many = held
    process.go.set()
    monkeypatch.setattr(process, "run", lambda self, is_unwanted: Look(content=b"0" * 1000))
    monkeypatch.setattr(scan_facts, "MAX_BYTES", 3500)
    for scan in many(9):
        cache.get(scan, {})
        cache._workers.submit(int).result()
    assert [key[0] for key in cache._facts] == [scan.id for scan in many(9)[-3:]]
