"""A run folder is finished, recognisably unfinished, or not there at all."""

import json

import numpy as np
import pytest
import yaml

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED, STEPS, RunFolder
from ptypinn.utils.atomic_files import write_text


def run(path, **options):
    return RunFolder(path, "refine", {"iterations": 3, "range": (0.0, 1.0)}, command=["ptypinn", "refine"], **options)


def interrupt_after_writing(path):
    write_text(path, "state")
    raise KeyboardInterrupt


def remove_and_stop(path):
    path.unlink()
    raise KeyboardInterrupt


def test_a_finished_run_records_its_origin(tmp_path):
    with run(tmp_path / "out") as folder:
        with folder.timed("refine"):
            folder.progress("refine", 3, 3, loss=0.5)
        folder.finish({"complex_error": np.float32(0.25), "frc": float("nan")}, {"scan": {"sha256": "00"}}, seed=7)
    record = json.loads((tmp_path / "out" / FINISHED).read_text())
    assert record["schema_version"] == 1
    assert record["seed"] == 7
    assert record["inputs"] == {"scan": {"sha256": "00"}}
    assert record["timings_s"]["refine"] >= 0
    assert {"python", "ptypinn", "torch", "numpy"} <= set(record["versions"])
    assert record["files"] == ["config.yaml", "log.txt", "metrics.json"]
    assert json.loads(folder.file("metrics.json").read_text()) == {"complex_error": 0.25, "frc": None}
    assert yaml.safe_load(folder.file("config.yaml").read_text()) == {"iterations": 3, "range": [0.0, 1.0]}
    log = folder.file("log.txt").read_text()
    assert "refine 3/3" in log
    assert log.endswith("done\n")


def test_a_run_records_the_files_that_it_has_written_and_no_others(tmp_path):
    for name in ("notes.txt", "sub/log.txt", "again.png"):
        write_text(tmp_path / name, "before")
    with run(tmp_path) as folder:
        for name in ("object.png", "again.png", "sub/figure.pdf"):
            write_text(tmp_path / name, "result")
        folder.finish()
    record = json.loads((tmp_path / FINISHED).read_text())
    assert record["files"] == ["again.png", "config.yaml", "log.txt", "object.png", "sub/figure.pdf"]


def test_failure_before_any_product_leaves_nothing(tmp_path):
    with pytest.raises(InputError), run(tmp_path / "new" / "out"):
        raise InputError("scan", "probe", "none", "one")
    assert list(tmp_path.iterdir()) == []


def test_failure_before_any_product_does_not_change_a_finished_run(tmp_path):
    with run(tmp_path) as folder:
        folder.finish({"complex_error": 0.5})
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(InputError), run(tmp_path, overwrite=True):
        raise InputError("scan", "probe", "none", "one")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_failure_after_a_product_keeps_it_and_marks_the_run_unfinished(tmp_path):
    with run(tmp_path) as folder:
        folder.finish()
    with pytest.raises(KeyboardInterrupt), run(tmp_path, overwrite=True) as folder:
        interrupt_after_writing(folder.file("last.ckpt"))
    assert not folder.file(FINISHED).exists()
    assert folder.file("last.ckpt").read_text() == "state"
    assert "failed: KeyboardInterrupt" in folder.file("log.txt").read_text()


def test_failure_after_a_product_is_replaced_does_not_pass_for_the_earlier_run(tmp_path):
    with run(tmp_path) as folder:
        (tmp_path / "checkpoints").mkdir()
        for name in ("reconstruction.h5", "checkpoints/last.ckpt"):
            write_text(folder.file(name), "first")
        folder.finish()
    for name in ("reconstruction.h5", "checkpoints/last.ckpt"):
        with pytest.raises(KeyboardInterrupt), run(tmp_path, overwrite=True) as folder:
            interrupt_after_writing(folder.file(name))
        assert not folder.file(FINISHED).exists()
        with run(tmp_path) as folder:
            folder.finish()


def test_folders_of_others_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError), run(tmp_path):
        raise InputError("scan", "probe", "none", "one")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


def test_a_finished_run_is_not_overwritten_by_default(tmp_path):
    with run(tmp_path) as folder:
        folder.finish()
    with pytest.raises(InputError, match="--overwrite"):
        run(tmp_path)
    with run(tmp_path, overwrite=True):
        pass


def test_only_a_run_of_the_same_stage_is_resumed(tmp_path):
    with run(tmp_path) as folder:
        folder.finish()
    with run(tmp_path, resume=True) as folder:
        folder.finish()
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"a finished run of refine in .*--overwrite"):
        RunFolder(tmp_path, "study dose", {}, resume=True)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before
    with RunFolder(tmp_path, "study dose", {}, overwrite=True):
        pass


@pytest.mark.parametrize("mark", [b"{", b"[]", b"\xff", b'{"stage": 3}'])
def test_a_damaged_record_is_not_resumed(mark, tmp_path):
    (tmp_path / FINISHED).write_bytes(mark)
    with pytest.raises(InputError, match=r"a finished run in .*--overwrite"):
        run(tmp_path, resume=True)
    assert (tmp_path / FINISHED).read_bytes() == mark


def test_failure_after_a_product_is_removed_does_not_pass_for_the_earlier_run(tmp_path):
    with run(tmp_path) as folder:
        write_text(folder.file("last.ckpt"), "first")
        folder.finish()
    with pytest.raises(KeyboardInterrupt), run(tmp_path, overwrite=True) as folder:
        remove_and_stop(folder.file("last.ckpt"))
    assert not folder.file(FINISHED).exists()


def test_failure_before_any_product_does_not_change_the_record_of_steps(tmp_path):
    with run(tmp_path) as folder:
        write_text(folder.file(STEPS), "first")
        folder.finish()
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt), run(tmp_path, overwrite=True) as folder:
        interrupt_after_writing(folder.file(STEPS))
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="--output-dir"):
        run(tmp_path / "out")


def test_a_stage_adds_to_the_record_and_replaces_nothing_of_it(tmp_path):
    with run(tmp_path) as folder:
        folder.finish(seed=3, extra={"scenario": "lines", "ratio": np.float64("nan"), "seed": 8, "stage": "other"})
    record = json.loads((tmp_path / FINISHED).read_text())
    assert (record["scenario"], record["ratio"], record["seed"], record["stage"]) == ("lines", None, 3, "refine")
