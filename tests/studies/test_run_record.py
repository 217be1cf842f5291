"""Runs at any depth are listed, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptypinn.runs.folder import FINISHED, RECONSTRUCTION
from ptypinn.studies.aggregate import _names
from ptypinn.studies.run_record import find_runs


@pytest.mark.parametrize("state", ["finished", "interrupted", "left out"])
def test_a_summary_among_the_runs_hides_none_of_them(state, make_run, tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "deep" / "b")]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / RECONSTRUCTION).write_text("of a job of a dose study, which is no run")
    for name in ("config.yaml", "log.txt"):
        (tmp_path / name).write_text("")
    if state == "finished":
        (tmp_path / FINISHED).write_text('{"stage": "study report"}')
    assert find_runs([tmp_path], leave_out=tmp_path if state == "left out" else None) == runs


def test_a_run_that_was_stopped_is_found_and_so_is_what_lies_in_a_finished_one(make_run, tmp_path):
    stopped, run = tmp_path / "stopped", make_run(tmp_path / "run")
    (stopped / "model").mkdir(parents=True)
    (stopped / "log.txt").write_text("started\n")
    (run / "model").mkdir()
    (run / "model" / "log.txt").write_text("of the training\n")
    assert find_runs([tmp_path]) == [run, stopped]


def test_links_are_not_followed_and_no_run_counts_twice(make_run, tmp_path):
    runs = [make_run(tmp_path / "runs" / name) for name in ("a", "b")]
    (tmp_path / "runs" / "loop").symlink_to("..")
    (tmp_path / "runs" / "twin").symlink_to("a")
    (tmp_path / "elsewhere").symlink_to("runs")
    assert find_runs([tmp_path / "runs", tmp_path / "runs" / "twin", tmp_path / "runs" / ".." / "runs"]) == runs
    assert find_runs([tmp_path / "elsewhere"]) == [tmp_path / "elsewhere" / name for name in ("a", "b")]


def test_names_are_no_longer_than_they_must_be(tmp_path):
    assert _names([tmp_path / "a", tmp_path / "b" / "a", Path("/a")]) == [f"{tmp_path.name}/a", "b/a", "a"]
