"""`ptypinn diagnose`: it finds the files of a run, names the stage, and writes nothing when it fails."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import ptypinn as pp
from ptypinn.models.model_file import PatchModel, PatchModelHeader
from ptypinn.runs.folder import FINISHED
from ptypinn.scale_audit.findings import CAUSES

pytestmark = pytest.mark.usefixtures("quick_pictures")


@pytest.fixture(scope="module")
def home(tmp_path_factory, scan_file) -> Path:
    """A folder with a scan, the run that solved it, the run with a probe of half its amplitude, and a model."""
    from ptypinn.cli.main import main

    folder = tmp_path_factory.mktemp("home")
    scan = pp.load(scan_file)
    pp.save(scan, folder / "scan_1.h5")
    pp.save(scan.replace(probe=scan.require_probe() * np.float32(0.5)), folder / "scan_2.h5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptypinn.cli.outputs.write_report", lambda recon, path, *_: path.write_text(""))
        patch.setattr("ptypinn.cli.outputs.png_bytes", lambda figure: b"\x89PNG")
        for name, number in (("good", 1), ("dim", 2)):
            solved = ["refine", str(folder / f"scan_{number}.h5"), "--output-dir", str(folder / name), "--quiet"]
            assert main([*solved, "--iterations", "12", "--no-refine-probe"]) == 0
    model(folder / "model.safetensors")
    return folder


def model(path: Path, kind: str = "cnn") -> Path:
    header = PatchModelHeader(kind, {"size": 32, "gridsize": 1}, 1e5, 20.0, math.log(20.0))
    return PatchModel(header, {}, torch.from_numpy(pp.load(path.parent / "scan_1.h5").require_probe()), str(path)).save(
        path
    )


def read_diagnoses(done) -> list[dict]:
    assert done.code == 0, done.err
    return json.loads(done.out)["diagnoses"]


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_folder_is_enough(ptypinn, home):
    before = snapshot(home)
    done = ptypinn("diagnose", home / "good")
    assert done.code == 0, done.err
    assert "verdict: no loss" in done.out and "what to do" not in done.out
    assert snapshot(home) == before
    (diagnosis,) = read_diagnoses(ptypinn("diagnose", home / "good", "--json"))
    assert diagnosis["healthy"] and diagnosis["notes"] == [] and diagnosis["scan"] == str(home / "scan_1.h5")
    assert diagnosis["product_of_stages"] == pytest.approx(diagnosis["output_vs_truth_ratio"], rel=1e-6)
    assert [entry["stage"] for entry in diagnosis["ledger"]][:4] == ["loading", "mask", "probe as given", "probe"]


def test_a_loss_is_a_result_with_exit_code_0(ptypinn, home):
    done = ptypinn("diagnose", home / "dim")
    assert done.code == 0, done.err
    assert "! probe" in done.out and "what to do about probe" in done.out
    (diagnosis,) = read_diagnoses(ptypinn("diagnose", home / "dim", "--json"))
    assert not diagnosis["healthy"]
    assert [finding["stage"] for finding in diagnosis["findings"]] == ["probe"]
    assert diagnosis["findings"][0]["factor"] == pytest.approx(2.0, rel=0.02)


def test_several_runs_one_after_another(ptypinn, home):
    diagnoses = read_diagnoses(ptypinn("diagnose", home / "good", home / "dim", "--json"))
    assert [(Path(each["run"]).name, each["healthy"]) for each in diagnoses] == [("good", True), ("dim", False)]
    lines = ptypinn("diagnose", home / "good", home / "dim").out.splitlines()
    assert sum(line.startswith("verdict: ") for line in lines) == 2


def test_files_are_recognised_by_content_in_any_order(ptypinn, home, tmp_path):
    shutil.copy(home / "good" / "reconstruction.h5", tmp_path / "one")
    shutil.copy(home / "scan_1.h5", tmp_path / "two")
    expected = read_diagnoses(ptypinn("diagnose", home / "good", "--json"))[0]["ledger"]
    for order in itertools.permutations([tmp_path / "one", tmp_path / "two"]):
        (diagnosis,) = read_diagnoses(ptypinn("diagnose", *order, "--json"))
        assert diagnosis["ledger"] == expected
        assert diagnosis["scan"] == str(tmp_path / "two")


def test_a_scan_that_is_gone_or_another_is_one_line(ptypinn, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "good", tmp_path / "good")
    metadata = json.loads((tmp_path / "good" / FINISHED).read_text())
    metadata["inputs"]["scan"]["path"] = str(tmp_path / "scan_1.h5")
    metadata["command"] = ["ptypinn", "refine", "scan_1.h5"]
    (tmp_path / "good" / FINISHED).write_text(json.dumps(metadata))
    shutil.copy(home / "scan_2.h5", tmp_path / "scan_1.h5")
    done = ptypinn("diagnose", "good")
    assert done.code == 0, done.err
    assert "\nnote: scan_1.h5 is not where it was, or has changed" in done.out
    assert "verdict: no loss" in done.out
    (diagnosis,) = read_diagnoses(ptypinn("diagnose", "scan_1.h5", "good", "--json"))
    assert "content differs" in diagnosis["notes"][0]
    shutil.copy(home / "scan_1.h5", tmp_path / "scan_1.h5")
    assert read_diagnoses(ptypinn("diagnose", "good", "--json"))[0]["scan"] == str(tmp_path / "scan_1.h5")


def test_the_scan_is_read_as_the_run_has_read_it(ptypinn, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan = pp.load(home / "scan_1.h5")
    arrays = {"positions_px": scan.positions_px, "probe_guess": scan.require_probe()[0]}
    np.savez("amplitudes.npz", diffraction=np.sqrt(np.asarray(scan.counts, np.float32)), **arrays)
    solve = ("refine", "amplitudes.npz", "--quiet", "--iterations", 3)
    assert ptypinn(*solve, "--domain", "amplitude", "--photons", "1e5", "--output-dir", "right").code == 0
    assert ptypinn(*solve, "--domain", "counts", "--photons", "1e5", "--output-dir", "wrong").code == 0
    right, wrong = read_diagnoses(ptypinn("diagnose", "right", "wrong", "--json"))
    assert right["notes"] == wrong["notes"] == []
    assert "loading" not in [finding["stage"] for finding in right["findings"]]
    assert "--domain amplitude" in wrong["findings"][0]["advice"]
    assert right["total_name"] == "sqrt_flux_closure"


def test_a_default_on_the_command_line_replaces_the_option_of_the_run(ptypinn, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan = pp.load(home / "scan_1.h5")
    arrays = {"positions_px": scan.positions_px, "probe_guess": scan.require_probe()[0]}
    np.savez("counts.npz", diffraction=np.asarray(scan.counts), **arrays)
    solve = ("refine", "counts.npz", "--quiet", "--iterations", 2, "--calibration", "p99")
    assert ptypinn(*solve, "--output-dir", "run").code == 0

    def expected(*options):
        (diagnosis,) = read_diagnoses(ptypinn("diagnose", "run", "--json", *options))
        return next(entry["expected"] for entry in diagnosis["ledger"] if entry["stage"] == "probe")

    assert expected("--calibration", "p99") == expected()
    assert expected("--calibration", "mean") != pytest.approx(expected(), rel=1e-3)
    assert expected("--photons", "4e4") == pytest.approx(200, rel=1e-5)


def test_pictures_and_a_run_folder_on_request(ptypinn, home, tmp_path, monkeypatch):
    monkeypatch.undo()
    done = ptypinn("diagnose", home / "dim", "--plot", tmp_path / "fall.png", "--output-dir", tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "fall.png").read_bytes().startswith(b"\x89PNG")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"diagnosis.json", "waterfall.png", "report.html", FINISHED} <= written
    diagnosis = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert diagnosis["findings"][0]["stage"] == "probe"
    again = ptypinn("diagnose", home / "dim", "--output-dir", tmp_path / "out")
    assert again.code == 1 and "--overwrite" in again.err
    two = ptypinn("diagnose", home / "dim", home / "good", "--plot", tmp_path / "two.png")
    assert two.code == 1 and "one at a time" in two.err and not (tmp_path / "two.png").exists()


def test_options_reach_the_diagnosis(ptypinn, home):
    strict = read_diagnoses(ptypinn("diagnose", home / "good", "--tolerance", "1e-9", "--json"))[0]
    assert {"solver", "network", "comparison"} & {finding["stage"] for finding in strict["findings"]}
    assert ptypinn("diagnose", home / "good", "--tolerance", "2").code == 1
    assert "at ceiling" not in ptypinn("diagnose", home / "good").out
    assert "at ceiling" in ptypinn("diagnose", home / "good", "--stats").out


def test_every_stage_that_a_verdict_can_name_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "amplitude-is-wrong.md").read_text()
    assert [stage for stage in CAUSES if f"`{stage}`" not in page] == []


def truncated(home: Path, folder: Path) -> list[Path]:
    content = (home / "good" / "reconstruction.h5").read_bytes()
    (folder / "cut.h5").write_bytes(content[: len(content) // 2])
    return [folder / "cut.h5"]


def foreign(home: Path, folder: Path) -> list[Path]:
    (folder / "letter.txt").write_text("Dear amplitude,")
    return [home / "good", folder / "letter.txt"]


def foreign_hdf5(home: Path, folder: Path) -> list[Path]:
    with h5py.File(folder / "other.h5", "w") as file:
        file["numbers"] = [1, 2]
    return [home / "good", folder / "other.h5"]


def of_another_scan(home: Path, folder: Path) -> list[Path]:
    scan = pp.load(home / "scan_1.h5")
    return [home / "good", pp.save(scan.subset(np.arange(9)), folder / "short.h5")]


def without_ledger(home: Path, folder: Path) -> list[Path]:
    recon = pp.Reconstruction.load(home / "good" / "reconstruction.h5")
    recon = dataclasses.replace(recon, scale=[], provenance={})
    return [recon.save(folder / "bare.h5")]


BAD = {
    "missing": (lambda home, folder: [folder / "none.h5"], "none.h5"),
    "truncated": (truncated, "cut.h5"),
    "foreign": (foreign, "letter.txt"),
    "foreign HDF5": (foreign_hdf5, "other.h5"),
    "an empty folder": (lambda home, folder: [folder], "reconstruction.h5"),
    "a scan alone": (lambda home, folder: [home / "scan_1.h5"], "a scan only"),
    "two scans": (lambda home, folder: [home / "good", home / "scan_1.h5", home / "scan_2.h5"], "one scan"),
    "of another scan": (of_another_scan, "is it of this scan?"),
    "without ledger": (without_ledger, "no scale ledger"),
    "a model of another run": (lambda home, folder: [home / "model.safetensors", home / "good"], "did not make"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, ptypinn, home, tmp_path):
    make, message = BAD[case]
    paths = make(home, tmp_path)
    before = snapshot(tmp_path), snapshot(home)
    done = ptypinn("diagnose", *paths, "--plot", tmp_path / "fall.png", "--output-dir", tmp_path / "out")
    assert done.code == 1
    assert done.out == ""
    assert done.err.count("\n") == 1 and done.err.startswith("ptypinn: error: "), done.err
    assert message in done.err
    assert (snapshot(tmp_path), snapshot(home)) == before
