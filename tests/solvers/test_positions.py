"""Positions that are off: found where the counts demand it, named, and left alone where nothing is wrong."""

import dataclasses

import numpy as np
import pytest
import torch

from ptypinn import ReconstructConfig, SimulateConfig, evaluate, reconstruct, simulate
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.solvers import positions
from ptypinn.solvers.positions import PositionEstimate

CPU = torch.device("cpu")
KNOWN = ReconstructConfig(device="cpu", refine_probe=False)


def simulated(*faults):
    config = SimulateConfig(
        size=32, object="dead_leaves", object_size=(72, 72), n_patterns=90, photons=1e6, seed=4, faults=faults
    )
    return simulate(config)


def without_truth(scan):
    return scan.replace(truth=None, experiment=None)


@pytest.fixture(scope="module", autouse=True)
def few_iterations():
    """Small scans settle sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "CORE_ITERATIONS", 60)
        patch.setattr(positions, "ITERATIONS", 60)
        patch.setattr("ptypinn.solvers.position_cycles.MAX_CYCLES", 1)
        yield


def position_error(recon, scan):
    """Largest error of 95 % of the positions after the best shift, pixels."""
    errors = recon.positions_px + recon.origin_px - scan.experiment.positions_px
    return np.quantile(np.linalg.norm(errors - np.median(errors, 0), axis=1), 0.95)


@pytest.fixture(scope="module")
def turned():
    scan = simulated("rotation:12")
    return scan, reconstruct(without_truth(scan), config=KNOWN)


def test_a_turned_scan_is_turned_back(turned):
    scan, recon = turned
    assert position_error(recon, scan) < 0.2
    record = recon.provenance["experiment"]["positions"]
    assert record["corrected"]
    assert abs(record["rotation_deg"]) == pytest.approx(12, abs=0.3)
    assert record["misfit_after"] < 1.1 < record["misfit_before"]


def test_it_is_said_in_words_and_raises_no_warning(turned):
    scan, recon = turned
    (sentence,) = [text for text in experiment_sentences(recon) if "recorded positions" in text]
    assert "turned by" in sentence
    assert not [text for text in evaluate(recon, without_truth(scan)).warnings if "positions" in text]


def test_the_scan_of_a_reconstruction_has_its_positions(turned):
    scan, recon = turned
    part = recon.scan_part(scan)
    np.testing.assert_allclose(part.positions_px, recon.positions_px + recon.origin_px)
    assert recon.has_solved("positions")


def test_scattered_positions_are_found():
    scan = simulated("positions:1.5")
    recon = reconstruct(without_truth(scan), config=KNOWN)
    assert position_error(recon, scan) < 0.5
    ideal = reconstruct(without_truth(scan), config=dataclasses.replace(KNOWN, assume="ideal"))
    assert recon.metrics["amplitude_residual"] < 0.5 * ideal.metrics["amplitude_residual"]
    assert not ideal.has_solved("positions")


def test_large_errors_are_found_and_a_lost_pattern_with_them():
    scan = without_truth(simulated("positions:3"))
    true, lost = simulated().positions_px, 44
    recorded = scan.positions_px.copy()
    recorded[lost] += (9.0, -9.0)
    scan = scan.replace(positions_px=recorded)
    start = PositionEstimate(recorded, scan.probe, None, misfit=2 * positions.MAX_CORE_MISFIT)
    solved = positions.solve_positions(scan, start, CPU, refine_probe=False)
    errors = solved.positions_px - true
    distances = np.linalg.norm(errors - np.median(errors, 0), axis=1)
    assert np.quantile(distances, 0.95) < 0.5
    assert distances[lost] < 0.5


def test_right_positions_are_left_alone():
    scan = simulated()
    recon = reconstruct(without_truth(scan), config=KNOWN)
    assert "positions" not in recon.provenance.get("experiment", {})
    np.testing.assert_array_equal(recon.positions_px + recon.origin_px, scan.positions_px)


def test_few_rounds_are_no_evidence():
    assert "positions" in KNOWN.solved_terms()
    assert "positions" not in dataclasses.replace(KNOWN, rounds=4).solved_terms()
    assert "positions" in dataclasses.replace(KNOWN, rounds=4, positions="solve").solved_terms()
    assert "positions" not in dataclasses.replace(KNOWN, positions="recorded").solved_terms()
