"""Beam on the detector and point spread: solved for where the counts demand it, left alone where they do not."""

import dataclasses

import numpy as np
import pytest
import torch

from ptypinn import EvaluateConfig, ReconstructConfig, SimulateConfig, reconstruct, simulate
from ptypinn.data.beam_centre import flatten_curvature
from ptypinn.metrics.beam import beam_warnings, measure_beam
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.metrics.point_spread import measure_point_spread
from ptypinn.physics.slow_freedoms import curved_phase
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.stages.evaluate import evaluate

CPU = torch.device("cpu")
KNOWN = ReconstructConfig(device="cpu", refine_probe=False)
IDEAL = dataclasses.replace(KNOWN, assume="ideal")


def simulated(*faults):
    size = {"size": 32, "object": "dead_leaves", "object_size": (80, 80), "n_patterns": 100}
    return simulate(SimulateConfig(**size, photons=1e6, seed=4, faults=list(faults)))


@pytest.fixture(scope="module")
def clean():
    return simulated()


@pytest.fixture(scope="module")
def moving():
    return simulated("descan:3")


@pytest.fixture(scope="module")
def blurred():
    return simulated("point-spread:0.6")


def complex_error(recon, scan):
    config = EvaluateConfig(remove_ramp=True, remove_shift=True)
    return evaluate(recon, scan, config=config).metrics["complex_error"]


@pytest.fixture(scope="module")
def steadied(moving):
    return reconstruct(moving.replace(truth=None), config=KNOWN)


@pytest.fixture(scope="module")
def sharpened(blurred):
    return reconstruct(blurred.replace(truth=None), config=KNOWN)


def test_the_beam_of_every_frame_comes_out(steadied, moving, clean):
    true = moving.experiment.beam_px
    assert np.abs(steadied.beam_px - (true - true.mean(0))).max() < 0.05
    assert complex_error(steadied, moving) < 1.3 * complex_error(reconstruct(clean, config=KNOWN), clean)


def test_the_point_spread_comes_out(sharpened, blurred):
    assert sharpened.point_spread_px == pytest.approx(0.6, abs=0.05)
    plain = reconstruct(blurred.replace(truth=None), config=IDEAL)
    assert complex_error(sharpened, blurred) < 0.7 * complex_error(plain, blurred)
    assert measure_point_spread(blurred, plain).explained > 0.025


@pytest.mark.parametrize("name", ["steadied", "sharpened"])
def test_terms_are_on_record_in_words_and_part_of_the_prediction(name, request):
    recon, scan = (request.getfixturevalue(fixture) for fixture in (name, {"steadied": "moving"}.get(name, "blurred")))
    term = "beam" if name == "steadied" else "point_spread"
    record = recon.provenance["experiment"][term]
    assert record["corrected"]
    assert record["misfit_after"] < 1 + (record["misfit_before"] - 1) / 3
    assert any("The misfit falls" in sentence for sentence in experiment_sentences(recon))
    fit = compute_data_fit(recon.scan_part(scan), recon.object, recon.probe, recon.positions_px)
    assert fit.amplitude_residual == pytest.approx(recon.metrics["amplitude_residual"], rel=1e-6)


def test_nothing_is_proposed_on_a_clean_scan(clean):
    recon = reconstruct(clean, config=KNOWN)
    assert recon.beam_px is None
    assert recon.point_spread_px is None
    assert measure_point_spread(clean, recon).explained < 0.02


@pytest.mark.parametrize("options", [{"beam": "still", "point_spread": "none"}, {"point_spread": "none"}])
def test_terms_can_be_forbidden(options, moving, blurred):
    scan = moving if "beam" in options else blurred
    others = {"positions": "recorded", "background": "none", "flux": "constant"}
    recon = reconstruct(scan, config=dataclasses.replace(KNOWN, **options, **others))
    assert (recon.beam_px, recon.point_spread_px) == (None, None)


@pytest.mark.parametrize("options", [{"beam": "solve"}, {"point_spread": "solve"}])
def test_terms_that_are_forced_are_solved_for_on_a_clean_scan(options, clean):
    recon = reconstruct(clean.replace(truth=None), config=dataclasses.replace(IDEAL, **options))
    if "beam" in options:
        assert np.abs(recon.beam_px).max() < 0.05
    else:
        assert 0 < recon.point_spread_px < 0.3


def test_slow_motion_of_the_patterns_is_measured_without_a_reconstruction(moving):
    evidence = measure_beam(moving, CPU)
    true = moving.experiment.beam_px
    assert np.abs(evidence.path_px - (true - true.mean(0))).max() < 0.5
    assert evidence.significance > 10


def test_flattening_changes_no_count_and_a_motion_that_may_be_curvature_raises_a_warning(steadied, moving):
    matrix = torch.tensor([[0.02, 0.0], [0.0, 0.0]], dtype=torch.float64)
    phase = curved_phase(matrix, steadied.object.shape, (40.0, 40.0), moving.size).numpy()
    bent = dataclasses.replace(steadied, object=(steadied.object * phase).astype(np.complex64))
    flat = flatten_curvature(bent)
    assert np.abs(flat.beam_px - bent.beam_px).max() > 0.2
    fits = [
        compute_data_fit(moving.replace(beam_px=recon.beam_px), recon.object, recon.probe, recon.positions_px)
        for recon in (bent, flat)
    ]
    assert fits[0].amplitude_residual == pytest.approx(fits[1].amplitude_residual, rel=1e-4)
    assert len(beam_warnings(flat)) == 1
    assert not any("beam" in sentence for sentence in evaluate(steadied, moving).warnings)  # its probe is known
