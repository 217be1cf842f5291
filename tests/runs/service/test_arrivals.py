"""Changes are reported, whatever the names, the links and the folders are; where they cannot be, the folder is looked
through."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.runs.service.arrivals import MAX_DEPTH, Notices, Selection


@pytest.fixture
def selection(tmp_path):
    (tmp_path / "scans").mkdir()
    return Selection(tmp_path / "scans", tmp_path / "scans" / "runs", ["*.h5", "scan_*.npz"])


@given(path=st.text(st.characters(blacklist_characters="\0"), min_size=1))
def test_any_path_is_accepted_or_not(tmp_path_factory, path):
    root = tmp_path_factory.getbasetemp()
    accepted = Selection(root, root / "runs", ["*.h5"]).accepts(path.lstrip("/"))
    assert not accepted or (path.lower().endswith(".h5") and not path.split("/")[-1].startswith("."))


def test_names_decide_and_neither_hidden_nor_deep_files_count(selection):
    names = ["a.h5", "A.H5", "deep/b.h5", "scan_1.npz", "é.h5"]
    others = ["a.txt", ".a.h5", ".deep/a.h5", "runs/a.h5", "runs/b/a.h5", "x.npz", "d/" * (MAX_DEPTH + 1) + "a.h5"]
    assert [name for name in names + others if selection.accepts(name)] == names


def test_a_walk_yields_what_counts_and_names_what_it_cannot_enter(selection, monkeypatch):
    for name in ("a.h5", "deep/b.h5", "runs/c.h5", ".hidden/d.h5", "closed/e.h5", "f.txt"):
        (selection.root / name).parent.mkdir(exist_ok=True)
        (selection.root / name).touch()
    (selection.root / "loop").symlink_to(selection.root)
    scandir, unreadable = os.scandir, []

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert sorted(selection.walk(lambda folder, error: unreadable.append(folder))) == ["a.h5", "deep/b.h5"]
    assert unreadable == ["closed"]


def test_a_change_is_reported(selection):
    stopped, lines = threading.Event(), []
    notices = Notices(selection.root, False, lines.append)
    for number, paths in enumerate(notices.steps(stopped)):
        if number == 1:
            (selection.root / "a.h5").write_text("counts")
        if "a.h5" in paths or number > 100:
            stopped.set()
    assert "a.h5" in paths and notices.is_notified and lines == []


def test_names_that_are_no_text_do_not_end_the_notices(selection):
    stopped = threading.Event()
    notices = Notices(selection.root, False, print)
    for number, paths in enumerate(notices.steps(stopped)):
        if number == 1:
            open(os.fsencode(selection.root) + b"/bad\xff.h5", "w").close()
        if number == 5:
            (selection.root / "a.h5").write_text("counts")
        if "a.h5" in paths or number > 100:
            stopped.set()
    assert "a.h5" in paths and notices.is_notified


def test_a_folder_that_is_replaced_is_watched_again(selection):
    stopped = threading.Event()
    for number, paths in enumerate(Notices(selection.root, False, print).steps(stopped)):
        if number == 1:
            selection.root.rename(selection.root.with_name("old"))
        if number == 4:
            selection.root.mkdir()
        if number == 8:
            (selection.root / "a.h5").write_text("counts")
        if "a.h5" in paths or number > 100:
            stopped.set()
    assert "a.h5" in paths


def test_without_notices_steps_go_on(selection, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr("watchfiles.watch", fail)
    stopped, lines = threading.Event(), []
    notices = Notices(selection.root, False, lines.append)
    steps = notices.steps(stopped)
    while notices.is_notified:
        assert next(steps) == {""}
    assert next(steps) == set() and len(lines) == 1 and "limit" in lines[0]
    assert not Notices(selection.root, True, print).is_notified
