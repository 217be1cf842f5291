"""Positions that are off: found where the counts demand it, named, and left alone where nothing is wrong."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn import ReconstructConfig, SimulateConfig, evaluate, reconstruct, simulate
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.solvers import positions
from ptypinn.solvers.positions import fit_affine, rotate

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
        patch.setattr(positions, "MAX_SOLVES", 1)
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
    assert recon.has_solved_positions


def test_scattered_positions_are_found():
    scan = simulated("positions:1.5")
    recon = reconstruct(without_truth(scan), config=KNOWN)
    assert position_error(recon, scan) < 0.5
    ideal = reconstruct(without_truth(scan), config=dataclasses.replace(KNOWN, assume="ideal"))
    assert recon.metrics["amplitude_residual"] < 0.5 * ideal.metrics["amplitude_residual"]
    assert not ideal.has_solved_positions


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


@given(angle=st.floats(-3, 3), seed=st.integers(0, 9))
def test_a_rotation_keeps_distances_and_its_centre(angle, seed):
    places = np.random.default_rng(seed).uniform(-9, 9, (6, 2))
    turned = rotate(places, angle, places[0])
    np.testing.assert_allclose(turned[0], places[0], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(turned - turned[3], axis=1), np.linalg.norm(places - places[3], axis=1))
    np.testing.assert_allclose(rotate(turned, -angle, places[0]), places, atol=1e-9)


@given(seed=st.integers(0, 9), lost=st.integers(0, 6))
def test_an_affine_map_is_found_beside_lost_patterns(seed, lost):
    rng = np.random.default_rng(seed)
    places, asked = rng.uniform(0, 40, (60, 2)), rng.uniform(-40, 80, (7, 2))
    matrix, shift = rng.normal(0, 0.05, (2, 2)), rng.normal(0, 3, 2)
    moves = places @ matrix + shift
    moves[:lost] += rng.uniform(8, 12, (lost, 2))
    np.testing.assert_allclose(fit_affine(places, moves, asked, iterations=30), asked @ matrix + shift, atol=0.3)


def test_independent_moves_are_not_extrapolated():
    rng = np.random.default_rng(0)
    places, moves = rng.uniform(0, 40, (60, 2)), rng.normal(0, 2, (60, 2))
    far = fit_affine(places, moves, np.array([[200.0, -200.0]]))
    np.testing.assert_allclose(far[0], moves.mean(0), atol=1e-9)
