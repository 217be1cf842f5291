"""Benchmarks run for minutes and are no part of the tests, but they have to keep up with the package."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ptypinn import RefineConfig, SimulateConfig, refine, simulate

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.py")))
def test_benchmarks_import(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    try:
        assert importlib.import_module(name).__doc__
    finally:
        for module in set(sys.modules) - before:
            if str(FOLDER) in str(getattr(sys.modules[module], "__file__", "")):
                del sys.modules[module]


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("experiment_cases"), importlib.import_module("experiment_scores")


def test_every_fault_of_the_experiments_can_be_simulated(experiments):
    cases, _ = experiments
    for name, fault in cases.FAULTS.items():
        config = cases.Case(name, 1e6, seed=1).config()
        assert set(fault.entries) <= set(config.faults) and config.size == fault.size
        assert cases.FAULTS[fault.base].beam == fault.beam and cases.FAULTS[fault.base].has_probe
        assert cases.FAULTS[fault.base].entries == () and cases.FAULTS[fault.base].size == fault.size


def test_the_affine_part_of_position_errors_is_measured(experiments):
    _, scores = experiments
    rng = np.random.default_rng(0)
    true, angle = rng.uniform(0, 200, (300, 2)), 0.03
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch, noise = np.array([[1.04, 0.005], [0.005, 0.98]]), rng.standard_normal((300, 2))
    errors = scores.position_errors(true @ (turn @ stretch).T + noise + 17.0, true)
    assert errors["rotation_error_rad"] == pytest.approx(angle, abs=2e-3)
    assert errors["scale_error_y"] == pytest.approx(0.04, abs=3e-3)
    assert errors["scale_error_x"] == pytest.approx(-0.02, abs=3e-3)
    assert errors["shear_error"] == pytest.approx(0.01, abs=4e-3)
    assert errors["position_rms_px_beside_affine"] == pytest.approx(2**0.5, rel=0.1)
    assert errors["position_rms_px"] > 2


def test_claims_are_compared_with_what_was_put_in(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    claims = importlib.import_module("experiment_claims")
    faults = ("positions:1", "flux:0.1", "background:0.1", "coherence:0.8:0.2", "beam-offset:3:-4", "point-spread:0.5")
    scan = simulate(SimulateConfig(size=32, object_size=(72, 72), n_patterns=60, photons=1e4, faults=faults, seed=2))
    true = claims.true_sizes(scan, scan)
    expected = {"flux": 0.1, "modes": 0.2, "offset": 5.0, "point_spread": 0.5, "positions": 2**0.5}
    assert set(true) == {*expected, "background"}
    assert {name: true[name] for name in expected} == pytest.approx(expected, rel=0.2)
    assert 0.08 < true["background"] < 0.12
    record = {
        "flux": {"size": 0.11, "corrected": True},
        "positions": {"size": 2.0, "corrected": True},
        "background": {"size": 0.1, "corrected": False},
        "beam": {"size": 1.0, "corrected": True},
    }
    recon = refine(scan, RefineConfig(iterations=1, device="cpu"))
    recon = dataclasses.replace(recon, provenance={"experiment": record})
    comparison = claims.compare_claims(recon, scan, scan)
    assert set(comparison["named"]) == {"flux", "positions"}
    assert comparison["missed"] == ["background", "modes", "offset", "point_spread"]
    assert comparison["falsely_named"] == ["beam"]
    summary = claims.summarise_claims([comparison])
    assert "faults named: 2 of 6" in summary and "size within 20%: 1 of 2" in summary and "1 of 1 runs" in summary


def test_frames_and_readings_that_reading_leaves_out_count_as_put_in(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    cases, claims = (importlib.import_module(f"experiment_{name}") for name in ("cases", "claims"))
    case, faults = cases.Case("none", 1e4, seed=0), ("empty-frames:0.05", "repeated-frames:0.05", "cosmic-rays:40")
    simulated = simulate(SimulateConfig(size=32, object_size=(72, 72), n_patterns=60, photons=1e4, faults=faults))
    scan = case.read(simulated)
    assert scan.n_patterns == 54
    true = claims.true_sizes(simulated, case.measured_scan(scan))
    assert true["frames left out"] == 6
    assert true["cosmic rays"] == len(simulated.experiment.cosmic_rays)


def test_the_memory_of_the_service_is_measured_while_it_solves(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    watch = importlib.import_module("watch")
    record = watch.measure(n_scans=3, reference=2, every=1, folder=tmp_path)
    assert record["exit_code"] == 0 and record["runs_left"] == 3
    assert [sample["scans"] for sample in record["samples"]] == [1, 2, 3]
    assert record["samples"][0]["processes"] >= 2 and 0.8 < record["memory_ratio"]["rss_mib"] < 1.2


def test_the_benchmark_for_gpus_runs_on_the_cpu(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu, scenes = importlib.import_module("gpu"), importlib.import_module("scenes")
    monkeypatch.setattr(gpu, "POLISH", 0)
    scene = scenes.Scene("lines", 1e4)
    plan = gpu.Plan({32: 20}, 1, (scene,))
    *_, report = gpu.measure(torch.device("cpu"), plan)
    assert report["equality"]["within_tolerance"] and report["equality"]["deterministic_passes_agree"] is True
    assert report["passes"]["32"]["patterns_per_s"]["pass"] > 0 and report["skipped"] == []
    assert report["streaming"]["largest_relative_difference_of_losses"] == 0
    plateau = report["plateau"][scene.key]
    assert plateau["ours"]["error"] < plateau["plateau"] and plateau["cost"]["passes"] > 10
    (late,) = gpu.measure(torch.device("cpu"), dataclasses.replace(plan, limit_s=-1.0))
    assert late["skipped"] == ["equality", "passes 32", "rounds", "streaming", f"plateau {scene.key}"]


def test_a_part_of_the_benchmark_for_gpus_that_fails_is_on_record(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = importlib.import_module("gpu")
    assert gpu.attempt(lambda: 1 / 0) == "failed: ZeroDivisionError: division by zero"
