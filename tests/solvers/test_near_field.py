"""Near-field scans are reconstructed from what their files hold: patterns, positions, detector distance and energy."""

from functools import partial

import numpy as np
import pytest
import torch

import ptypinn as pp
from near_field_scans import FOCUS_M, make_near_field_scan
from ptypinn.data.near_field import GEOMETRY, to_near_field
from ptypinn.errors import InputError
from ptypinn.solvers import near_field
from ptypinn.solvers.beam_window import BeamWindow
from ptypinn.solvers.iterative import IterativeSolver


@pytest.fixture(scope="module", autouse=True)
def few_iterations():
    """Slow phases, which the last iterations are for, are nothing that these tests are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_field, "SLOW_ITERATIONS", 60)
        patch.setattr(near_field, "SEARCH_PATTERNS", 36)
        yield


@pytest.fixture(scope="module")
def made():
    return make_near_field_scan(photons=1e6)


@pytest.fixture(scope="module")
def scan(made, tmp_path_factory):
    """The scan from a file, with its photons known."""
    path = pp.save(made.scan, tmp_path_factory.mktemp("near") / "scan.h5")
    return pp.load(path, pp.LoadConfig(photons=1e6))


@pytest.fixture(scope="module")
def recon(scan):
    return pp.reconstruct(scan, config=pp.ReconstructConfig(threads=1, device="cpu"))


def test_object_amplitude_and_focus_come_out(made, recon):
    error, factor = made.error(recon)
    geometry = recon.provenance["scan"][GEOMETRY]
    assert error < 0.07
    assert factor == pytest.approx(1, abs=0.01)
    assert geometry["focus_distance_m"] == pytest.approx(FOCUS_M, rel=0.01)
    assert abs(geometry["focus_distance_m"] - FOCUS_M) < 2 * geometry["uncertainty_m"]
    assert recon.metrics["amplitude_residual"] < 1.05 * recon.metrics["expected_residual"]


@pytest.mark.parametrize("photons", [1e5, 1e6])
def test_a_focus_that_starts_far_off_is_found_within_its_uncertainty(photons):
    scan = to_near_field(make_near_field_scan(photons=photons).scan, 1.08 * FOCUS_M)
    config = pp.ReconstructConfig(threads=1, device="cpu")
    finish = partial(near_field._to_reconstruction, config=config)
    solver = IterativeSolver(config, torch.device("cpu"), lambda *_, **__: None, None, finish)
    geometry = near_field._refine_focus(scan, BeamWindow.of(scan), solver).provenance[GEOMETRY]
    assert geometry["focus_distance_m"] == pytest.approx(FOCUS_M, rel=0.02)
    assert abs(geometry["focus_distance_m"] - FOCUS_M) < 2 * geometry["uncertainty_m"]
    assert geometry["uncertainty_m"] < 0.02 * FOCUS_M


def test_a_reconstruction_explains_its_scan_from_files(scan, recon, tmp_path):
    again = pp.Reconstruction.load(recon.save(tmp_path / "recon.h5"))
    evaluation = pp.evaluate(again, scan)
    assert evaluation.metrics["amplitude_residual"] == pytest.approx(recon.metrics["amplitude_residual"], rel=1e-4)


def test_a_given_focus_is_taken_and_the_picture_is_the_same_again(made, tmp_path, monkeypatch):
    monkeypatch.setattr(near_field, "LAST_ITERATIONS", 10)
    monkeypatch.setattr(near_field, "SLOW_ITERATIONS", 5)
    path = pp.save(made.scan.subset(np.arange(30)), tmp_path / "scan.h5")
    scan = pp.load(path, pp.LoadConfig(photons=1e6, focus_distance_m=FOCUS_M))
    config = pp.ReconstructConfig(threads=1, device="cpu", assume="ideal")
    first, second = (pp.reconstruct(scan, config=config) for _ in range(2))
    assert first.provenance["scan"][GEOMETRY]["focus_distance_m"] == FOCUS_M
    np.testing.assert_array_equal(first.object, second.object)


def test_slices_are_refused(scan):
    with pytest.raises(InputError, match="--slices: found 2, expected 1, for near-field scans"):
        pp.reconstruct(scan, config=pp.ReconstructConfig(slices=2))


@pytest.mark.parametrize(("name", "value"), [("rounds", 4), ("tile_px", 64), ("workers", 2), ("beam", "solve")])
def test_options_that_nothing_reads_in_the_near_field_are_refused(scan, name, value):
    option = name.replace("_", "-")
    with pytest.raises(InputError, match=f"--{option}: found {value}, expected a far-field scan"):
        pp.reconstruct(scan, config=pp.ReconstructConfig(**{name: value}))


def test_the_real_scan_is_explained_and_its_star_is_in_focus(petra):
    scan = pp.load(petra, pp.LoadConfig(select="0-:4", focus_distance_m=3.65e-3))
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(threads=1, device="cpu", probe_modes=1))
    assert recon.metrics["amplitude_residual"] < 0.0025
    bright = np.angle(recon.object[recon.illumination > 0.5 * recon.illumination.max()])
    assert np.ptp(np.percentile(bright, [5, 95])) > 0.45  # spokes of gold, and gaps between
