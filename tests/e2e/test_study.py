"""`ptypinn study sim-lines` from the command line, on a scenario made tiny."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED

TINY = {
    "scenario": "gs2_custom",
    "size": 32,
    "object_size": 90,
    "base_patterns": 12,
    "buffer_px": 2,
    "width": 16,
    "n_groups": 8,
    "epochs": 1,
    "photons": 1e6,
    "device": "cpu",
    "threads": 1,
}
COMMON = {"schema_version", "stage", "command", "timings_s", "seed", "inputs", "config", "versions", "files"}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def test_a_tiny_scenario_in_a_process_of_its_own(ptypinn_process, tiny, tmp_path):
    done = ptypinn_process(
        *("study", "sim-lines", "--scenario", "gs2_custom", "--output-dir", "out"),
        *("--config", tiny, "--cluster-size", 2),
        *("--prediction-scale-source", "least_squares", "--reason", "smoke test"),
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    scale = [line for line in done.out.splitlines() if line.startswith("[scale] ")]
    assert any("scale_match_pct 99.999" in line for line in scale)
    assert any("verdict: no loss" in line for line in scale)
    run = tmp_path / "out"
    written = {"scan.h5", "model", "reconstruction.h5", "comparison.png", "report.html", "metrics.json", "log.txt"}
    assert written <= {entry.name for entry in run.iterdir()}
    assert "[scale] verdict" in (run / "log.txt").read_text()
    record = json.loads((run / FINISHED).read_text())
    assert set(record) > COMMON | {"schema", "forward_pass_diagnostics", "intensity_scaler_state", "ledger"}
    assert (record["schema_version"], record["stage"], record["scenario"]) == (1, "study sim-lines", "gs2_custom")
    assert record["prediction_scale"]["source"] == "least_squares"
    assert record["parameters"]["cluster_size"] == {"value": 2, "origin": "flag"}
    assert record["parameters"]["size"] == {"value": 32, "origin": "config file"}
    assert record["parameters"]["gridsize"] == {"value": 2, "origin": "profile"}
    assert record["parameters"]["scenario"] == {"value": "gs2_custom", "origin": "flag"}
    assert record["parameters"]["prediction_scale_source"] == {"value": "least_squares", "origin": "flag"}
    assert record["parameters"]["threads"] == {"value": 1, "origin": "config file"}
    batch = next(override for override in record["overrides"] if override["parameter"] == "cluster_size")
    assert (batch["profile"], batch["reason"]) == (4, "smoke test")
    assert record["photons_per_pattern"]["measured"] == pytest.approx(1e6, rel=0.01)


@pytest.mark.usefixtures("quick_pictures")
def test_finished_runs_are_resumed_or_replaced(ptypinn, tiny, tmp_path):
    command = ("study", "sim-lines", "--config", tiny, "--output-dir", tmp_path / "out", "--json", "--quiet")
    first = ptypinn(*command)
    assert first.code == 0, first.err
    before = (tmp_path / "out" / FINISHED).read_bytes()
    refused = ptypinn(*command)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "--overwrite" in refused.err
    assert (tmp_path / "out" / FINISHED).read_bytes() == before
    resumed = ptypinn(*command, "--resume", "--prediction-scale-source", "flux")
    record = json.loads((tmp_path / "out" / FINISHED).read_text())
    assert resumed.code == 0, resumed.err
    assert {name: step["reused"] for name, step in record["steps"].items()} == {
        "simulate": True,
        "train": True,
        "reconstruct": False,
    }
    assert ptypinn(*command, "--overwrite").code == 0
    record = json.loads((tmp_path / "out" / FINISHED).read_text())
    assert not any(step["reused"] for step in record["steps"].values())
    assert json.loads(first.out)["metrics"] == record["metrics"]


@pytest.mark.usefixtures("quick_pictures")
def test_the_config_of_a_study_repeats_it(ptypinn, tiny, tmp_path):
    common = ("study", "sim-lines", "--json", "--quiet", "--output-dir")
    first = ptypinn(*common, tmp_path / "a", "--config", tiny, "--scenario", "gs1_custom", "--probe-mask", 24)
    again = ptypinn(*common, tmp_path / "b", "--config", tmp_path / "a" / "config.yaml")
    assert first.code == again.code == 0, first.err + again.err
    assert json.loads(first.out)["metrics"] == json.loads(again.out)["metrics"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--photons", "-5"), "--photons"),
        (("--epochs", "0"), "--epochs"),
        (("--model", "oracle"), "--model"),
        (("--object-size", "20"), "--object-size"),
        (("--scenario", "gs1_custom", "--probe-file", "none.npy"), "none.npy"),
    ],
)
def test_nonsense_ends_in_one_line_and_writes_nothing(arguments, named, ptypinn, tmp_path):
    done = ptypinn("study", "sim-lines", "--output-dir", tmp_path / "out", *arguments)
    assert done.code == 1
    assert named in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--probe-file", "small.npy"), "small.npy"),
        (("--probe-file", "nan.npy"), "nan.npy"),
        (("--photons", "1e18"), "--photons"),
        (("--photons", "1e12", "--amplitude-mean", "0.01"), "--photons"),
        (("--device", "abacus"), "--device"),
    ],
)
def test_input_that_cannot_be_used_leaves_nothing_behind(arguments, named, ptypinn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("small.npy", np.ones((30, 30), np.complex64))
    np.save("nan.npy", np.full((64, 64), np.nan, np.complex64))
    done = ptypinn("study", "sim-lines", "--scenario", "gs1_custom", "--output-dir", "out", *arguments)
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert named in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick_pictures")
def test_a_study_that_fails_to_resume_stays_finished(ptypinn, tiny, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise InputError("scan", "patterns", "none", "some")

    command = ("study", "sim-lines", "--config", tiny, "--output-dir", tmp_path / "out", "--quiet")
    assert ptypinn(*command).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    monkeypatch.setattr("ptypinn.stages.train._data", refuse)
    assert ptypinn(*command, "--resume", "--learning-rate", "1e-4").code == 1
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_unknown_scenarios_and_studies_are_bad_usage(ptypinn, tmp_path):
    unknown = ptypinn("study", "sim-lines", "--output-dir", tmp_path / "out", "--scenario", "gs3_ideal")
    assert unknown.code == 2
    assert "gs1_custom" in unknown.err
    assert ptypinn("study", "sim-circles").code == ptypinn("study").code == 2
    assert "sim-lines" in ptypinn("study", "--help").out
    assert list(tmp_path.iterdir()) == []
