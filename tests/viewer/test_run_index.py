"""Runs are found, have ids that reveal nothing, and are described by their current status."""

import json
import os
import shutil
import time

import pytest

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED, LOG
from ptypinn.viewer.room import Room
from ptypinn.viewer.run_index import RunIndex
from ptypinn.viewer.run_status import SILENT_S, read_status

NAMES = ["alone.h5", "deep/dim", "good", "live", "lost"]


def test_runs_of_a_folder_are_found_at_any_depth(home):
    runs = RunIndex([home]).runs()
    assert [run.name for run in runs] == NAMES
    assert len({run.id for run in runs}) == len(NAMES)
    assert all(len(run.id) == 12 and int(run.id, 16) >= 0 for run in runs)


def test_an_id_stays_and_leads_back_to_its_run(home):
    first, again = RunIndex([home]), RunIndex([home / "good", home])
    for run in first.runs():
        assert first.run(run.id) == run
        assert again.run(run.id).path == run.path
    assert first.run("000000000000") is None


def test_a_run_or_a_file_may_be_given_itself(home):
    assert [run.name for run in RunIndex([home / "good"]).runs()] == ["good"]
    assert [run.name for run in RunIndex([home / "alone.h5", home / "deep"]).runs()] == ["alone.h5", "dim"]


def test_new_runs_appear_and_old_ones_go(home, tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.run_index.MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr("ptypinn.viewer.run_index.PAUSE_FACTOR", 0)
    (tmp_path / "a").symlink_to(home / "good")
    for name in ("config.yaml", LOG):
        (tmp_path / name).write_text("")
    index = RunIndex([tmp_path])
    assert [run.name for run in index.runs()] == [tmp_path.name]  # links are not followed
    inner = tmp_path / "b"
    inner.mkdir()
    for name in ("config.yaml", LOG):
        (inner / name).write_text("")
    assert len(index.runs()) == 2
    inner_run = next(run for run in index.runs() if run.path == inner)
    (inner / LOG).unlink()
    inner.joinpath("config.yaml").unlink()
    inner.rmdir()
    assert index.run(inner_run.id) is None


def test_a_run_alone_is_no_place_for_scans_and_jobs(home, tmp_path):
    shutil.copytree(home / "good", tmp_path / "good")
    shutil.copy(home.parent / "scan.h5", tmp_path / "good" / "scan.h5")
    for path, count in ((tmp_path / "good", 0), (tmp_path, 1)):
        room = Room([path], {})
        room.scans.scans()
        room.scans.wait(30.0)
        assert len(room.scans.scans()) == count
        assert room.is_single == (count == 0)
        room.close()


def test_an_empty_folder_has_no_runs_yet(tmp_path):
    assert RunIndex([tmp_path]).runs() == []


@pytest.mark.parametrize("what", ["missing", "text"])
def test_nothing_to_look_at_is_said_in_one_line(what, tmp_path):
    place = tmp_path / what
    if what == "text":
        place.write_text("nothing")
    with pytest.raises(InputError, match=what) as error_info:
        RunIndex([place])
    assert "\n" not in str(error_info.value)


def read_all(home, **options):
    return {run.name: read_status(run, **options) for run in RunIndex([home]).runs()}


def test_status_has_warnings_and_metrics(home):
    statuses = read_all(home)
    assert {name: status.status for name, status in statuses.items()} == {
        **dict.fromkeys(("good", "deep/dim", "lost"), "finished"),
        "live": "running",
        "alone.h5": "file",
    }
    assert statuses["good"].warnings == []
    assert len(statuses["deep/dim"].warnings) == 1
    assert statuses["live"].warnings is None
    assert statuses["good"].stage == statuses["live"].stage == "refine"
    metrics = {metric["label"]: metric["value"] for metric in statuses["good"].metrics}
    assert float(metrics["Complex error"]) == 0.0125
    assert statuses["alone.h5"].metrics == statuses["good"].metrics
    assert all(status.changed.startswith("20") for status in statuses.values())


def test_a_run_that_is_done_again_is_read_again(home, recon):
    before = read_all(home)["good"]
    record = home / "good" / FINISHED
    text = record.read_text()
    try:
        record.write_text(text.replace('"stage": "refine"', '"stage": "reconstruct"'))
        assert read_all(home)["good"].stage == "reconstruct"
    finally:
        record.write_text(text)
    assert read_all(home)["good"] == before


def test_details_hold_log_progress_and_curves(home):
    live = read_all(home, details=True)["live"]
    assert live.log[-1].startswith("refine 40/40")
    assert (live.progress["done"], live.progress["total"]) == (40, 40)
    assert live.curves == {"loss": [(1.0, 100.0), (2.0, 50.0), (40.0, 2.5)]}
    assert read_all(home, details=True)["good"].curves == {"loss": [(1.0, 100.0), (2.0, 10.0), (3.0, 1.0)]}


def unfinished(folder, log):
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    (folder / LOG).write_text(log)
    return read_status(RunIndex([folder]).runs()[0], details=True)


def test_failed_and_silent_runs_differ_from_running_ones(tmp_path):
    start = "2026-01-02T03:04:05Z train: ptypinn train scan.h5\n"
    assert unfinished(tmp_path / "a", start + "failed: InputError: no probe\n").status == "failed"
    running = unfinished(tmp_path / "b", start + "train 3/10  loss 0.5  val_loss 0.7\n")
    assert (running.status, running.stage, running.started) == ("running", "train", "2026-01-02T03:04:05Z")
    long_ago = time.time() - 2 * SILENT_S
    os.utime(tmp_path / "b" / LOG, (long_ago, long_ago))
    assert read_status(RunIndex([tmp_path / "b"]).runs()[0]).status == "silent"


def test_a_training_shows_its_learning_curve(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "learning_curve.csv").write_text("epoch,train_loss,val_loss\n0,2.0,\n1,1.0,1.5\n")
    (tmp_path / "a" / "config.yaml").write_text("")
    (tmp_path / "a" / LOG).write_text("2026-01-02T03:04:05Z train: ptypinn train scan.h5\n")
    curves = read_status(RunIndex([tmp_path / "a"]).runs()[0], details=True).curves
    assert curves == {"train_loss": [(0.0, 2.0), (1.0, 1.0)], "val_loss": [(1.0, 1.5)]}


def test_before_two_epochs_a_training_shows_the_losses_of_its_log(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "learning_curve.csv").write_text("epoch,train_loss,val_loss\n0,2.0,2.5\n")
    (tmp_path / "a" / "config.yaml").write_text("")
    log = "2026-01-02T03:04:05Z finetune: ptypinn finetune\nfinetune 1/9  loss 3\nfinetune 2/9  loss 2\n"
    (tmp_path / "a" / LOG).write_text(log)
    curves = read_status(RunIndex([tmp_path / "a"]).runs()[0], details=True).curves
    assert curves == {"loss": [(1.0, 3.0), (2.0, 2.0)]}


def test_a_demonstration_shows_the_losses_of_its_last_stage(tmp_path):
    log = "2026-01-02T03:04:05Z demo: ptypinn demo\nsimulate 4/4\nreconstruct 1/8  loss 7\nreconstruct 2/8  loss 5\n"
    assert unfinished(tmp_path / "a", log).curves == {"loss": [(1.0, 7.0), (2.0, 5.0)]}


def test_a_long_log_is_read_from_its_end(tmp_path):
    lines = [f"refine {n}/9999  loss {1 + n}" for n in range(9999)]
    status = unfinished(tmp_path / "a", "\n".join(["2026-01-02T03:04:05Z refine: ptypinn", *lines]) + "\n")
    assert status.stage == "refine"
    assert status.progress["done"] == 9998
    assert len(status.log) <= 60


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"stage": {"a": 1}, "finished": []}', "[" * 10**5])
def test_damaged_records_are_no_obstacle(text, tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("config.yaml", LOG):
        (folder / name).write_text("")
    (folder / FINISHED).write_text(text)
    (folder / "metrics.json").write_text(json.dumps({"warnings": 3, "metrics": [1]}))
    status = read_status(RunIndex([folder]).runs()[0], details=True)
    assert status.warnings is None
    assert status.metrics == []


def test_numbers_beyond_any_float_are_left_out(tmp_path):
    folder = tmp_path / "a"
    assert unfinished(folder, f"refine {'1' * 5000}/5\n").progress == {}
    (folder / FINISHED).write_text('{"stage": "refine"}')
    (folder / "metrics.json").write_text(f'{{"metrics": {{"complex_error": {"9" * 400}, "flux_closure": 1.0}}}}')
    status = read_status(RunIndex([folder]).runs()[0])
    assert [row["value"] for row in status.metrics] == ["1"]


def test_an_odd_run_hides_no_other_from_the_list(viewer, monkeypatch):
    def read(run):
        return 1 / 0 if run.name == "lost" else read_status(run)

    monkeypatch.setattr("ptypinn.viewer.handlers.read_status", read)
    states = {run["name"]: run["status"] for run in viewer.get("/api/runs").json["runs"]}
    assert states["lost"] == "unreadable" and states["good"] == "finished"


def test_the_search_for_the_probe_has_a_curve_of_its_own(tmp_path):
    log = "".join(
        f"reconstruct {step}\n" for step in ("1/4  probe_loss 7", "2/4  probe_loss 5", "3/4  loss 6", "4/4  loss 4")
    )
    curves = unfinished(tmp_path / "a", log).curves
    assert curves == {"probe_loss": [(1.0, 7.0), (2.0, 5.0)], "loss": [(3.0, 6.0), (4.0, 4.0)]}


def test_names_that_are_no_utf_8_have_pages(home, tmp_path, view_folder):
    folder = tmp_path / "odd"
    shutil.copytree(home / "good", folder / os.fsdecode(b"run\xff"))
    viewer = view_folder(folder)
    ((name, run_id),) = viewer.ids.items()
    assert name == "run\\udcff"
    assert viewer.get(f"/run/{run_id}").status == 200


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.room.walk_folders", lambda path: iter(()))
    with pytest.raises(InputError, match="a folder that cannot be read"):
        Room([tmp_path], {})
