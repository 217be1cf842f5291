"""Probes that iterations for object and probe have moved or turned are put back, and predict the same counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn import ReconstructConfig, SimulateConfig, reconstruct, simulate
from ptypinn.data.beam_centre import BeamOffset, mean_slope, move_ramp_to_probe
from ptypinn.physics.patches import shift_images
from ptypinn.solvers.joint_solve import align_probe
from ptypinn.solvers.unrolled import reconstruct as unrolled

offsets = st.floats(-1.5, 1.5)


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(size=48, object="dead_leaves", object_size=(88, 88), n_patterns=90, seed=3))


def moved_probe(scan, shift, turn):
    moved = shift_images(torch.from_numpy(scan.probe), torch.tensor([shift], dtype=torch.float64))
    images = (0.2j * moved).numpy().astype(np.complex64)[None]
    weights = np.linspace(-1, 1, scan.n_patterns)[:, None]
    varying = scan.replace(
        probe=moved.numpy().astype(np.complex64),
        probe_variation=images,
        probe_weights=weights,
    )
    return move_ramp_to_probe(varying, BeamOffset(*turn, scan.size))


def overlap(one, other):
    return abs(np.vdot(one, other)) / np.linalg.norm(one) / np.linalg.norm(other)


@settings(max_examples=20)
@given(st.tuples(offsets, offsets), st.tuples(offsets, offsets))
def test_a_probe_is_put_back_with_its_variation(scan, shift, turn):
    aligned = align_probe(moved_probe(scan, shift, turn), scan.probe)
    assert overlap(aligned.probe, scan.probe) > 0.98
    assert overlap(aligned.probe_variation[0], aligned.probe) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(aligned.probe) == pytest.approx(np.linalg.norm(scan.probe), rel=1e-5)


def test_a_probe_in_its_place_stays(scan):
    np.testing.assert_allclose(align_probe(scan, 3 * scan.probe).probe, scan.probe, atol=1e-4 * abs(scan.probe).max())


def test_solves_go_on_from_a_probe_that_has_moved_and_turned(scan, monkeypatch):
    solves = {}

    def solve_again(centred, recon, solver, *_):
        start = moved_probe(scan, (0.6, -0.8), (0.9, 0.7)).replace(probe_variation=None, probe_weights=None)
        solves["moved"], solves["before"] = solver.solve(start), recon
        return recon

    monkeypatch.setattr(unrolled, "solve_experiment", solve_again)
    reconstruct(scan, config=ReconstructConfig(device="cpu"))
    assert mean_slope(solves["moved"]) == pytest.approx(mean_slope(solves["before"]), abs=0.02)
    assert overlap(solves["moved"].probe, solves["before"].probe) > 0.98
