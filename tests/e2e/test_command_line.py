"""The command line as people and programs meet it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

import ptypinn as pp
from ptypinn.cli.main import COMMANDS
from ptypinn.runs.folder import FINISHED, RECONSTRUCTION, SNAPSHOT
from ptypinn.training.callbacks import CURVE

SMALL = ("--size", 32, "--object-size", "80,80", "--n-patterns", 36, "--photons", 100000)


def test_help_version_and_bad_usage(ptypinn_process):
    help_page, version = ptypinn_process("--help"), ptypinn_process("--version")
    assert help_page.code == version.code == 0
    assert all(name.split()[0] in help_page.out for name in COMMANDS)
    assert version.out.split()[-1] == pp.__version__
    unknown = ptypinn_process("divine", "scan.h5")
    assert unknown.code == 2
    assert "Traceback" not in unknown.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("refine",),
        ("refine", "scan.h5"),
        ("refine", "scan.h5", "--output-dir", "out", "--iterations", "many"),
        ("refine", "scan.h5", "--output-dir", "out", "--itertions", "3"),
        ("refine", "scan.h5", "--output-dir", "out", "--engine", "steam"),
        ("refine", "scan.h5", "--output-dir", "out", "--refine-probe", "false"),
        ("study",),
        ("study", "everything"),
        ("refine", "scan.h5", "--output-dir", "out", "--config", "none.yaml"),
    ],
)
def test_bad_usage_exits_with_2(arguments, ptypinn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = ptypinn(*arguments)
    assert done.code == 2
    assert "usage" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name, ptypinn):
    page = ptypinn(*name.split(), "--help-all").out
    assert "--config" in page
    for config in COMMANDS[name].configs:
        for field in config.__dataclass_fields__:
            option = re.split(rf"(?m)^  --{field.replace('_', '-')}[ ,]", page, maxsplit=1)
            assert len(option) == 2, f"{field} is not in the help"
            sentence = option[1].removeprefix("--no-").split("\n  --")[0].split(maxsplit=1)
            assert len(sentence) == 2 and len(sentence[1].split()) >= 2, f"{field} has no sentence"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shows_the_main_options_and_the_full_help_all(name, ptypinn):
    short, full = (ptypinn(*name.split(), option).out for option in ("--help", "--help-all"))
    shown, options = ({*re.findall(r"^  --([a-z][\w-]*)", page, re.M)} for page in (short, full))
    common = {option.replace("_", "-") for option in COMMANDS[name].common}
    assert common <= shown <= options, common - shown
    assert len(common) <= 16
    assert not re.search(r"--[a-z]+[a-z-]*_", short + full)


def test_simulate_refine_evaluate_info_in_processes_of_their_own(ptypinn_process, tmp_path):
    simulated = ptypinn_process("simulate", "--output", "scan.h5", *SMALL, "--json", cwd=tmp_path)
    assert simulated.code == 0, simulated.err
    assert json.loads(simulated.out)["patterns"] == 36
    refined = ptypinn_process("refine", "scan.h5", "--output-dir", "out", "--iterations", 15, "--json", cwd=tmp_path)
    assert refined.code == 0, refined.err
    assert "refine 1/15" in refined.err
    result = json.loads(refined.out)
    run = tmp_path / "out"
    assert result["output_dir"] == "out"
    written = {"config.yaml", "log.txt", "metrics.json", "object.png", "probe.png", "comparison.png", "uncertainty.png"}
    written |= {"reconstruction.h5", "report.html", FINISHED}
    assert written <= {entry.name for entry in run.iterdir()}
    assert (run / "object.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "metrics.json").read_text())["metrics"] == result["metrics"]
    assert pp.Reconstruction.load(run / "reconstruction.h5").metrics["complex_error"] < 0.2
    record = json.loads((run / FINISHED).read_text())
    report = (run / "report.html").read_text(encoding="utf-8")
    assert all(f'<data value="{value}">' in report for value in result["metrics"].values())
    assert record["inputs"]["scan"]["sha256"] in report and "--iterations 15" in report
    assert record["stage"] == "refine"
    assert len(record["inputs"]["scan"]["sha256"]) == 64


@pytest.mark.usefixtures("quick_pictures")
def test_a_config_file_holds_the_same_options_and_flags_override_it(ptypinn, scan_file, tmp_path):
    (tmp_path / "refine.yaml").write_text("iterations: 2\nprobe_modes: 2\nrefine_positions: true\n")
    done = ptypinn(
        *("refine", scan_file, "--config", tmp_path / "refine.yaml", "--probe-modes", 1),
        *("--output-dir", tmp_path / "out", "--quiet"),
    )
    assert done.code == 0, done.err
    assert done.err == ""
    stored = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (stored["iterations"], stored["probe_modes"], stored["refine_positions"]) == (2, 1, True)


@pytest.mark.usefixtures("quick_pictures")
def test_the_config_of_a_run_repeats_it_exactly(ptypinn, scan_file, tmp_path):
    common = ("refine", scan_file, "--quiet", "--output-dir")
    first = ptypinn(*common, tmp_path / "a", "--iterations", 2, "--no-refine-probe")
    again = ptypinn(*common, tmp_path / "b", "--config", tmp_path / "a" / "config.yaml")
    assert first.code == again.code == 0, first.err + again.err
    a, b = (pp.Reconstruction.load(tmp_path / name / "reconstruction.h5").object for name in "ab")
    np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("quick_pictures")
def test_refine_continues_from_a_run_folder_and_evaluate_compares_two(ptypinn, scan_file, tmp_path):
    common = ("refine", scan_file, "--quiet", "--no-refine-probe", "--output-dir")
    assert ptypinn(*common, tmp_path / "a", "--iterations", 3).code == 0
    assert ptypinn(*common, tmp_path / "b", "--iterations", 3, "--initial", tmp_path / "a").code == 0
    errors = [json.loads((tmp_path / name / "metrics.json").read_text())["metrics"]["complex_error"] for name in "ab"]
    assert errors[1] < errors[0]
    against = ("--reference", tmp_path / "b", "--output-dir", tmp_path / "compared")
    compared = ptypinn("evaluate", tmp_path / "a", *against, "--json")
    assert compared.code == 0, compared.err
    inputs = json.loads((tmp_path / "compared" / FINISHED).read_text())["inputs"]
    assert inputs == {"recon": {"file": str(tmp_path / "a")}, "reference": {"file": str(tmp_path / "b")}}
    assert 0 < json.loads(compared.out)["metrics"]["complex_error"] < 1
    scores = ptypinn("evaluate", tmp_path / "a", "--scan", scan_file, "--output-dir", tmp_path / "judged", "--json")
    assert scores.code == 0, scores.err
    assert json.loads(scores.out)["metrics"]["complex_error"] == pytest.approx(errors[0])
    inputs = json.loads((tmp_path / "judged" / FINISHED).read_text())["inputs"]
    assert inputs["recon"] == {"file": str(tmp_path / "a")}
    assert inputs["scan"]["sha256"]
    shown = json.loads(ptypinn("info", tmp_path / "a", "--json").out)
    assert shown["file"] == str(tmp_path / "a" / RECONSTRUCTION)
    assert ptypinn("convert", tmp_path / "a", tmp_path / "object.tiff", "--quiet").code == 0
    assert (tmp_path / "object.tiff").stat().st_size > 0
    (tmp_path / "empty").mkdir()
    refused = ptypinn("info", tmp_path / "empty")
    assert refused.code == 1 and f"{tmp_path / 'empty' / RECONSTRUCTION}: " in refused.err


@pytest.mark.usefixtures("quick_pictures")
def test_a_finished_run_is_not_replaced_without_overwrite(ptypinn, scan_file, tmp_path):
    common = ("refine", scan_file, "--quiet", "--iterations", 1, "--output-dir", tmp_path / "out")
    assert ptypinn(*common).code == 0
    before = (tmp_path / "out" / FINISHED).read_bytes()
    refused = ptypinn(*common)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert (tmp_path / "out" / FINISHED).read_bytes() == before
    assert ptypinn(*common, "--overwrite").code == 0


@pytest.mark.usefixtures("quick_pictures")
@pytest.mark.parametrize(
    "command",
    [
        ("refine", "--iterations", 1),
        ("reconstruct", "--rounds", 1, "--no-refine-probe"),
        ("finetune", "--init-weights", "none", "--widths", "4,4,4,4", "--epochs", 1, "--rounds", 1),
        ("demo", "--object-size", 64, "--size", 32, "--rounds", 1),
    ],
    ids=lambda command: command[0],
)
def test_a_run_can_be_watched_in_progress(command, ptypinn, scan_file, tmp_path, monkeypatch):
    records = []
    monkeypatch.setattr(
        "ptypinn.io.reconstruction_file.Snapshots._write", lambda watch, recon: records.append((watch, recon))
    )
    stage, *options = command
    scan = [] if stage == "demo" else [scan_file]
    done = ptypinn(stage, *scan, *options, "--device", "cpu", "--output-dir", tmp_path / "out", "--quiet")
    assert done.code == 0, done.err
    watch, recon = records[0]
    assert watch._path == tmp_path / "out" / SNAPSHOT
    assert watch._scan_path == ({"path": str(scan_file)} if scan else {})
    assert recon.illumination.any()


def test_an_interrupted_training_prints_how_to_continue(ptypinn, scan_file, tmp_path, monkeypatch):
    calls = []

    def train(scan: pp.ScanData, config: pp.TrainConfig, *, output_dir: Path, resume: bool, **_: object) -> Path:
        calls.append((resume, config.epochs))
        (output_dir / "last.ckpt").write_text("state")
        (output_dir / CURVE).write_text("epoch,train_loss,val_loss,learning_rate\n0,0.5,,0.001\n1,0.25,0.3,0.0005\n")
        if not resume:
            raise KeyboardInterrupt
        return output_dir / "model.safetensors"

    monkeypatch.setattr("ptypinn.stages.train.train", train)
    common = ("train", scan_file, "--output-dir", tmp_path, "--epochs", 7)
    stopped = ptypinn(*common)
    assert stopped.code == 1
    assert "--resume" in stopped.err
    assert not (tmp_path / FINISHED).exists()
    assert ptypinn(*common, "--resume").code == 0
    assert (tmp_path / FINISHED).exists()
    assert calls == [(False, 7), (True, 7)]
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "Did it learn?" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_info_prints_and_draws(ptypinn, scan_file, tmp_path):
    done = ptypinn("info", scan_file, "--plot", tmp_path / "info.png")
    assert done.code == 0, done.err
    assert "36" in done.out
    assert (tmp_path / "info.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(ptypinn("info", scan_file, "--json").out)["n_patterns"] == 36


def test_info_ranks_orientations(ptypinn, scan_file, tmp_path):
    fast = ("--orient", "--orient-patterns", 9, "--orient-iterations", 1, "--quiet")
    done = ptypinn("info", scan_file, *fast, "--plot", tmp_path / "orient.png")
    assert done.code == 0, done.err
    assert "(as read)" in done.out
    assert (tmp_path / "orient.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads(ptypinn("info", scan_file, *fast, "--json").out)["orientation"]["ranking"]) == 8


def test_simulate_replaces_no_file_without_overwrite(ptypinn, scan_file):
    before = scan_file.read_bytes()
    refused = ptypinn("simulate", "--output", scan_file, *SMALL)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert scan_file.read_bytes() == before


def test_termination_ends_in_one_line_without_half_files(scan_file, tmp_path):
    command = [sys.executable, "-m", "ptypinn", "refine", str(scan_file), "--output-dir", str(tmp_path / "out")]
    running = subprocess.Popen(
        [*command, "--iterations", "100000", "--tolerance", "0", "--no-prior"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert running.stderr is not None
    assert "refine" in running.stderr.readline()
    running.send_signal(signal.SIGTERM)
    _, text = running.communicate(timeout=60)
    assert running.returncode == 1
    assert text.splitlines()[-1].startswith("ptypinn: error: interrupted")
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(scan_file, tmp_path, monkeypatch):
    scan = pp.load(scan_file)
    path = pp.save(scan, tmp_path / "scan.h5")
    before = path.read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.Group, "create_dataset", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pp.save(scan, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan.h5"]


def test_a_scan_without_a_probe_needs_no_option(ptypinn, tmp_path):
    optics = {"probe": "zone_plate", "pupil_radius": 0.5, "central_stop": 0.0, "defocus_waves": -1.2}
    scan = pp.simulate(pp.SimulateConfig(size=32, object_size=(64, 64), overlap=0.7, photons=1e6, **optics))
    pp.save(scan.replace(probe=None, probe_gauge="relative", truth=None), tmp_path / "scan.cxi")
    out = tmp_path / "run"
    done = ptypinn("reconstruct", tmp_path / "scan.cxi", "--output-dir", out, "--assume", "ideal", "--rounds", 6)
    assert done.code == 0, done.err
    assert "probe 1/" in done.err
    assert "downstream of the focus" in done.out
    assert "downstream of the focus" in (out / "report.html").read_text(encoding="utf-8")
    refused = ptypinn("train", tmp_path / "scan.cxi", "--output-dir", tmp_path / "model")
    assert refused.code == 1 and "--probe" in refused.err and refused.err.count("\n") == 1


@pytest.mark.usefixtures("quick_pictures")
def test_a_beam_monitor_goes_from_simulation_to_report(ptypinn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faults = ("--faults", "flux:0.2", "flux-drift:0.1")
    assert ptypinn("simulate", *SMALL, *faults, "--monitor", "--output", "known.h5", "--quiet").code == 0
    assert ptypinn("simulate", *SMALL, *faults, "--output", "bare.h5", "--quiet").code == 0
    np.savetxt("monitor.txt", pp.load("bare.h5").experiment.flux)
    facts = [
        json.loads(ptypinn("info", *arguments, "--json").out)
        for arguments in (("known.h5",), ("bare.h5", "--monitor", "monitor.txt"), ("bare.h5",))
    ]
    assert [fact["beam_monitor"] and fact["beam_monitor"]["applied"] for fact in facts] == [True, True, None]
    assert facts[0]["flux_variation"] == pytest.approx(facts[1]["flux_variation"])
    options = ("--output-dir", "run", "--threads", 1, "--rounds", 3, "--json")
    done = ptypinn("reconstruct", "bare.h5", "--monitor", "monitor.txt", *options)
    assert done.code == 0
    record = json.loads(done.out)["experiment"]["monitor"]
    assert record["from"] == "monitor.txt"
    assert record["applied"]
    clash = ptypinn("reconstruct", "known.h5", "--output-dir", "other", "--flux", "constant")
    assert clash.code == 1
    assert "--flux: found constant beside a beam monitor" in clash.err
