"""Names of run folders are safe and tell scans apart; only runs that a service has made are deleted."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.runs.lock import RunLock
from ptypinn.runs.service.retention import base_name, choose_run, delete_run, read_run, trash_folder
from service_jobs import write_run

NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=()), min_size=1, max_size=300).filter(
    lambda name: not name.startswith(".")
)


@given(names=st.lists(NAMES, min_size=1, max_size=3))
def test_names_stay_in_the_folder_and_hold_nothing_odd(names):
    name = base_name(os.sep.join(names))
    parts = name.split("/")
    assert len(parts) == len(names) and name.isascii() and name.isprintable()
    assert all(part and not part.startswith((".", "-")) and len(part) <= 140 and " " not in part for part in parts)


@given(first=NAMES, second=NAMES)
def test_names_without_suffix_that_differ_have_folders_that_differ(first, second):
    first, second = first.replace(".", "_"), second.replace(".", "_")
    assert (base_name(first) == base_name(second)) == (first == second)


def test_plain_names_stay_as_they_are():
    assert base_name("2026-01/sample_3/scan+0042.2.h5") == "2026-01/sample_3/scan+0042.2"


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("counts")
    return path


def test_a_run_folder_is_used_by_one_scan(tmp_path, scan):
    runs, owners = tmp_path / "runs", {"a": "other.h5"}
    assert choose_run(runs, "a.h5", scan, {}.get) == ("a", {})
    assert choose_run(runs, "a.h5", scan, owners.get) == ("a-2", {})
    write_run(runs / "a", scan)
    assert choose_run(runs, "a.h5", scan, {}.get) == ("a-2", {"a": "counts"})
    (runs / "a-2").write_text("a file")
    assert choose_run(runs, "a.h5", scan, {}.get)[0] == "a-3"
    assert choose_run(runs, "a.h5", tmp_path / "other" / "a.h5", {}.get) == ("a-3", {})
    (runs / "a-3").symlink_to(tmp_path)
    assert choose_run(runs, "a.h5", scan, {}.get)[0] == "a-4"


def test_a_folder_with_files_of_others_is_no_run_folder(tmp_path, scan):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    assert choose_run(tmp_path / "runs", "a.h5", scan, {}.get)[0] == "a"
    (tmp_path / "runs" / "a" / "notes.txt").touch()
    assert choose_run(tmp_path / "runs", "a.h5", scan, {}.get)[0] == "a-2"
    assert choose_run(tmp_path / "runs", "a.h5", scan, {"a": "a.h5"}.get)[0] == "a"


def test_a_run_is_deleted_whole(tmp_path, scan):
    runs = tmp_path / "runs"
    write_run(runs / "deep" / "a", scan)
    assert delete_run(runs, "deep/a", scan) == ""
    assert list(runs.rglob("*")) == [trash_folder(runs).parent]


def test_the_run_of_a_series_is_deleted_with_its_scan(tmp_path):
    runs = tmp_path / "runs"
    (runs / "series-00001").mkdir(parents=True)
    write_run(runs / "series-00001", runs / "series-00001" / "scan.h5")
    assert delete_run(runs, "series-00001", Path("series-00001")) == ""
    assert not (runs / "series-00001").exists()


@pytest.mark.parametrize(
    "change", ["a stranger", "a stranger below", "a link below", "another scan", "no record", "a link", "a lock"]
)
def test_what_is_not_the_run_of_the_service_stays(tmp_path, scan, change):
    runs, place = tmp_path / "runs", tmp_path / "runs" / "a"
    write_run(place, scan)
    if change == "a stranger":
        (place / "notes.txt").touch()
    if change.endswith("below"):
        record = json.loads((place / "run_metadata.json").read_text())
        (place / "run_metadata.json").write_text(json.dumps({**record, "files": ["figures", "object.png"]}))
    if change == "a stranger below":
        write_run(place / "figures", scan)
    if change == "a link below":
        (place / "figures").mkdir()
        (place / "figures" / "elsewhere").symlink_to(tmp_path)
    if change == "no record":
        (place / "run_metadata.json").write_text("[]")
    if change == "a link":
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    lock = RunLock(place)
    if change == "a lock":
        lock.acquire()
    reason = delete_run(runs, "a", scan.with_name("b.h5") if change == "another scan" else scan)
    lock.release()
    assert reason and (place / "object.png").exists()


@given(content=st.binary(max_size=200))
def test_any_record_is_read(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("run")
    (folder / "run_metadata.json").write_bytes(content)
    record = read_run(folder)
    assert record is None or isinstance(record.path, str)
    assert read_run(Path("nowhere")) is None
