"""`ptypinn study dose` and `ptypinn study report` as people and programs meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from ptypinn.config.shared import JobsConfig
from ptypinn.config.studies import DoseConfig
from ptypinn.runs.folder import FINISHED

SMALL = ("--photons", "1e4,1e6", "--seeds", 1, "--object-size", 100, "--base-patterns", 30)
TINY = (*SMALL, "--iterations", 6)
SHIPPED = Path(__file__).parents[2] / "configs" / "dose.yaml"


def test_a_dose_study_writes_results_curves_and_record(ptypinn, tmp_path):
    common = ("study", "dose", "--output-dir", tmp_path / "out", *TINY, "--workers", 0, "--json")
    done = ptypinn(*common)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["jobs"], result["skipped"]) == (4, 0)
    assert result["slopes"]["gs1_custom"]["value"] == pytest.approx(0.5, abs=0.01)
    for name in ("dose_study.json", "dose_study.md", "config.yaml", "report.html", FINISHED):
        assert (tmp_path / "out" / name).is_file()
    assert (tmp_path / "out" / "dose_study.png").read_bytes().startswith(b"\x89PNG")
    again = ptypinn(*common)
    assert json.loads(again.out)["skipped"] == 4
    changed = ptypinn(*common, "--iterations", 7)
    assert changed.code == 1
    assert "iterations 6 (now 7)" in changed.err and "Traceback" not in changed.err
    assert (tmp_path / "out" / FINISHED).is_file()


@pytest.mark.usefixtures("quick_pictures")
@pytest.mark.parametrize("command", [("study", "dose", *TINY, "--workers", 0), ("study", "sim-lines", "--resume")])
def test_finished_runs_of_other_stages_are_left_alone(command, ptypinn, scan_file, tmp_path):
    folder = tmp_path / "out"
    assert ptypinn("refine", scan_file, "--output-dir", folder, "--iterations", 2, "--quiet").code == 0
    before = {entry: entry.read_bytes() for entry in folder.iterdir()}
    refused = ptypinn(*command, "--output-dir", folder, "--quiet")
    assert refused.code == 1 and refused.err.count("\n") == 1
    assert "a finished run of refine" in refused.err and "--overwrite" in refused.err
    assert {entry: entry.read_bytes() for entry in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--solver", "magic", "refine, cnn"), ("--seeds", "0", "at least 1"), ("--scheduler", "tcp://127.0.0.1:9", "")],
)
def test_bad_choices_are_one_line(option, value, message, ptypinn, tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.runs.jobs.workers.CONNECT_S", 0.3)
    done = ptypinn("study", "dose", "--output-dir", tmp_path / "out", *SMALL, option, value, "--quiet")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert option in done.err and message in done.err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_study_says_how_to_resume(ptypinn, tmp_path, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ptypinn.studies.dose.run_jobs", interrupt)
    done = ptypinn("study", "dose", "--output-dir", tmp_path / "out", *TINY, "--quiet")
    assert done.code == 1
    assert done.err == "ptypinn: error: interrupted; the same command continues with the jobs that are not finished\n"


@pytest.mark.usefixtures("quick_pictures")
def test_runs_are_summed_up_on_one_page(ptypinn, scan_file, tmp_path):
    for name, iterations in (("a", 3), ("b", 5)):
        folder = tmp_path / "runs" / name
        assert ptypinn("refine", scan_file, "--output-dir", folder, "--iterations", iterations, "--quiet").code == 0
        (folder / "scan.h5").write_bytes(scan_file.read_bytes())
    (tmp_path / "runs" / "b" / FINISHED).unlink()
    report = ("study", "report", tmp_path / "runs", "--output-dir", tmp_path / "runs" / "report")
    done = ptypinn(*report, "--json", "--quiet")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert [row["run"] for row in result["runs"]] == ["a"]
    assert FINISHED in result["skipped"][0]["reason"]
    for name in ("bias_summary.json", "bias_summary.md", "report.html", FINISHED):
        assert (tmp_path / "runs" / "report" / name).is_file()
    refused = ptypinn(*report, "--quiet")
    assert refused.code == 1 and "--overwrite" in refused.err
    again = ptypinn(*report, "--overwrite")
    assert again.code == 0 and "1 runs" in again.out and "left out" in again.out
    nothing = ptypinn("study", "report", tmp_path / "runs" / "b", "--output-dir", tmp_path / "none", "--quiet")
    assert nothing.code == 1 and nothing.err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_the_shipped_configuration_runs_the_documented_study(ptypinn, tmp_path):
    parser = ArgumentParser()
    for config in (DoseConfig, JobsConfig):
        parser.add_class_arguments(config, nested_key=None)
    assert set(yaml.safe_load(SHIPPED.read_text())) <= {
        *DoseConfig.__dataclass_fields__,
        *JobsConfig.__dataclass_fields__,
    }
    parser.parse_path(SHIPPED)
    smaller = (*SMALL, "--epochs", 1, "--photons", "[1e5]", "--scenarios", "[gs1_custom]", "--workers", 0, "--quiet")
    done = ptypinn("study", "dose", "--config", SHIPPED, "--output-dir", tmp_path / "out", *smaller)
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "out" / "dose_study.json").read_text())["jobs"]
    assert {row["arm"]: row["output_vs_truth_ratio"] / row["expected_ratio"] for row in rows} == pytest.approx(
        {"scaled": 1.0, "held": 1.0}, rel=0.15
    )
