"""Bad input ends in one line and exit code 1, and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

import ptypinn as pp

N, M = 16, 6


def arrays(**changes: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    counts = rng.poisson(5.0, (M, N, N)).astype(np.uint16)
    good = {
        "diffraction": counts,
        "positions_px": rng.uniform(0, 20, (M, 2)),
        "probe_guess": np.ones((N, N), np.complex64),
    }
    return {name: np.asarray(value) for name, value in {**good, **changes}.items() if value is not None}


def npz(path: Path, **changes: object) -> Path:
    np.savez(path, **arrays(**changes))
    return path


def missing(folder: Path) -> Path:
    return folder / "none.h5"


def not_a_scan(folder: Path) -> Path:
    (folder / "scan.h5").write_text("patterns, honestly")
    return folder / "scan.h5"


def truncated(folder: Path) -> Path:
    path = folder / "scan.h5"
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = np.ones((M, N, N), np.uint16)
    path.write_bytes(path.read_bytes()[:-500])
    return path


def without_data(folder: Path) -> Path:
    with h5py.File(folder / "scan.h5", "w") as file:
        file["entry_1/title"] = "empty"
    return folder / "scan.h5"


def with_value(value: float) -> Callable[[Path], Path]:
    counts = arrays()["diffraction"].astype(float)
    counts[2, 3, 4] = value
    return lambda folder: npz(folder / "scan.npz", diffraction=counts)


def with_arrays(**changes: object) -> Callable[[Path], Path]:
    return lambda folder: npz(folder / "scan.npz", **changes)


def all_masked(folder: Path) -> Path:
    with h5py.File(folder / "scan.cxi", "w") as file:
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"] = arrays()["diffraction"]
        detector["mask"] = np.ones((N, N), np.uint32)
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = 1.0, 75e-6, 75e-6
        file["entry_1/instrument_1/source_1/energy"] = 1.4e-15
        translation = np.zeros((M, 3))
        translation[:, :2] = np.random.default_rng(0).uniform(0, 1e-6, (M, 2))
        file["entry_1/sample_1/geometry_1/translation"] = translation
    return folder / "scan.cxi"


METRES_AS_PIXELS = arrays()["positions_px"] * 1e6
CASES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "missing file": (missing, ("none.h5",)),
    "not a scan": (not_a_scan, ("scan.h5",)),
    "truncated": (truncated, ("scan.h5", "truncated")),
    "missing dataset": (without_data, ("scan.h5",)),
    "missing array": (with_arrays(diffraction=None), ("scan.npz", "diffraction")),
    "NaN": (with_value(np.nan), ("scan.npz", "nan", "pattern 2, pixel (3, 4)")),
    "negative": (with_value(-3.0), ("scan.npz", "-3", "pattern 2, pixel (3, 4)")),
    "lengths differ": (
        with_arrays(positions_px=np.zeros((M + 1, 2))),
        ("scan.npz", "7 positions for 6 patterns", "--select"),
    ),
    "probe size": (with_arrays(probe_guess=np.ones((N + 2, N + 2), np.complex64)), ("scan.npz", "probe")),
    "not square": (with_arrays(diffraction=np.ones((M, N, N + 2), np.uint16)), ("scan.npz", "square")),
    "giant canvas": (with_arrays(positions_px=METRES_AS_PIXELS), ("scan.npz", "canvas", "unit")),
    "empty scan": (
        with_arrays(diffraction=np.ones((0, N, N), np.uint16), positions_px=np.zeros((0, 2))),
        ("scan.npz", "0 patterns"),
    ),
    "mask hides everything": (all_masked, ("scan.cxi", "mask")),
}


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES)
def test_bad_scans_end_in_one_line_and_leave_nothing(case, ptypinn, tmp_path, monkeypatch):
    make, text = CASES[case]
    monkeypatch.chdir(tmp_path)
    scan = make(tmp_path)
    before = snapshot(tmp_path)
    domain = ["--domain", "counts"] if scan.suffix == ".npz" else []
    done = ptypinn("refine", scan, "--output-dir", tmp_path / "runs" / "out", *domain)
    assert done.code == 1
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("ptypinn: error: ")
    assert all(words in done.err for words in text), done.err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("stage", ["info", "train", "reconstruct"])
def test_every_stage_says_what_is_wrong_with_a_scan(stage, ptypinn, tmp_path):
    needed = {
        "info": [],
        "train": ["--output-dir", tmp_path / "out"],
        "reconstruct": ["--output-dir", tmp_path / "out", "--model", tmp_path / "model"],
    }
    done = ptypinn(stage, tmp_path / "none.h5", *needed[stage])
    assert done.code == 1
    assert "none.h5" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_projection_scan_is_refused_by_solvers(ptypinn, tmp_path):
    data = Path(os.environ.get("PTYPINN_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
    scan = data / "petra3_p25_nearfield" / "PETRAIII_P25_Near_Field_Ptycho.cxi"
    if not scan.exists():
        pytest.skip(f"real data not found: {scan.name}")
    done = ptypinn("refine", scan, "--output-dir", tmp_path / "out")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "near-field" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (["--iterations", "0"], "--iterations"),
        (["--probe-modes", "-1"], "--probe-modes"),
        (["--device", "abacus"], "--device"),
        (["--loss", "hinge"], "--loss: found 'hinge', expected one of amplitude, poisson"),
    ],
)
def test_impossible_options_name_the_flag(options, flag, ptypinn, scan_file, tmp_path):
    done = ptypinn("refine", scan_file, "--output-dir", tmp_path / "out", "--quiet", *options)
    assert done.code == 1
    assert flag in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_reconstruction_that_is_none_is_named(ptypinn, scan_file, tmp_path):
    done = ptypinn("evaluate", scan_file)
    assert done.code == 1
    assert "scan.h5" in done.err
    assert ptypinn("evaluate", tmp_path).code == 1


def test_a_folder_that_cannot_be_made_ends_in_one_line(ptypinn, scan_file, tmp_path):
    (tmp_path / "file").write_text("")
    done = ptypinn("refine", scan_file, "--output-dir", tmp_path / "file" / "out", "--quiet")
    assert done.code == 1
    assert str(tmp_path / "file" / "out") in done.err
    assert done.err.count("\n") == 1


@pytest.fixture(scope="module")
def patch_network(scan_file, tmp_path_factory):
    """A patch network, trained for an epoch."""
    folder = tmp_path_factory.mktemp("trained")
    config = pp.TrainConfig(width=16, epochs=1, n_groups=4, cluster_size=4, device="cpu", threads=1)
    return pp.train(pp.load(scan_file), config, output_dir=folder)


UNREAD = [("--polish", 20), ("--rounds", 9), ("--probe-modes", 3), ("--refine-positions",), ("--workers", 2)]


@pytest.mark.usefixtures("quick_pictures")
def test_options_that_a_patch_network_does_not_read_are_refused_and_not_recorded(
    ptypinn, scan_file, patch_network, tmp_path
):
    command = ("reconstruct", scan_file, "--model", patch_network, "--quiet", "--output-dir", tmp_path / "out")
    for option in UNREAD:
        done = ptypinn(*command, *option)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert f"{option[0]}: found " in done.err
    (tmp_path / "options.yaml").write_text("polish: 20\n")
    assert "--polish: found 20" in ptypinn(*command, "--config", tmp_path / "options.yaml").err
    assert not (tmp_path / "out").exists()
    assert ptypinn(*command).code == 0
    recorded = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert recorded["subset"] == "all"
    assert not {"polish", "rounds", "probe_modes", "refine_positions", "workers"} & recorded.keys()
    again = ptypinn(*command[:5], "--output-dir", tmp_path / "again", "--config", tmp_path / "out" / "config.yaml")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("reconstruct", "--output-dir", "out", "--subset", "train"), "--subset"),
        (("reconstruct", "--output-dir", "out", "--no-refine-probe", "--probe-rounds", 4), "--probe-rounds"),
        (("refine", "--output-dir", "out", "--engine", "ptychi", "--tolerance", 0.1), "--tolerance"),
        (("train", "--output-dir", "out", "--split-fraction", 0.5), "--split-fraction"),
        (("finetune", "--output-dir", "out", "--widths", "4,4,4,4"), "--widths"),
        (("info", "--orient-iterations", 3), "--orient-iterations"),
    ],
)
def test_options_that_others_leave_unread_are_refused(command, option, ptypinn, scan_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = ptypinn(command[0], scan_file, *command[1:])
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.startswith(f"ptypinn: error: {option}: found ")
    assert list(tmp_path.iterdir()) == []
