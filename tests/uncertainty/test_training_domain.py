"""Warnings: scans unlike those that the weights saw, corrections that do harm, and what a saved file still tells."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import compute_data_fit
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.simulate import simulate
from ptypinn.uncertainty import TRAITS, add_uncertainty, out_of_domain, scan_traits

CARD = {
    "saw": {
        "photons_per_pattern": [1e3, 1e8],
        "overlap": {"known_probe": [0.2, 0.8], "guessed_probe": [0.5, 0.8]},
        "size_px": [24, 96],
        "modes": [1, 2],
        "dead_pixels": [0, 50],
        "samples": {"lines": 0.5},
    }
}
CONFIG = SimulateConfig(
    object_size=(72, 80), size=32, probe="disk", probe_diameter_px=11.0, curvature_rad=3.0, overlap=0.6, photons=1e5
)


def reconstruction_of(scan):
    illumination = np.zeros(scan.truth.shape, np.float32)
    for y, x in np.round(scan.positions_px).astype(int):
        illumination[y : y + scan.size, x : x + scan.size] += (np.abs(scan.probe) ** 2).sum(0)
    return Reconstruction(scan.truth, illumination, scan.probe, scan.positions_px)


@pytest.fixture(scope="module")
def scan():
    return simulate(CONFIG)


def test_traits_are_those_of_the_simulation(scan):
    traits = scan_traits(scan)
    assert set(traits) == set(TRAITS)
    assert traits["photons"] == pytest.approx(1e5, rel=1e-5)
    assert traits["overlap"] == pytest.approx(0.6, abs=0.05)
    assert (traits["size_px"], traits["modes"], traits["masked_share"]) == (32, 1, 0)
    assert traits["probe_diameter_px"] == pytest.approx(11, rel=0.15)
    bare = scan_traits(scan.replace(probe=None))
    assert set(bare) == {"size_px", "masked_share", "masked_pixels", "patterns"}


def test_a_scan_like_those_in_training_raises_no_warning(scan):
    assert out_of_domain(scan_traits(scan), CARD) == []


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"photons": 10.0}, TRAITS["photons"].label),
        ({"photons": 1e9}, TRAITS["photons"].label),
        ({"overlap": 0.05}, TRAITS["overlap"].label),
        ({"size_px": 128.0}, TRAITS["size_px"].label),
        ({"modes": 3.0}, TRAITS["modes"].label),
        ({"masked_pixels": 200.0}, TRAITS["masked_pixels"].label),
    ],
)
def test_every_trait_outside_its_range_is_named_with_range_and_advice(scan, change, label):
    (sentence,) = out_of_domain(scan_traits(scan) | change, CARD)
    assert label in sentence
    assert "--polish" in sentence and "refine" in sentence
    (polished,) = out_of_domain(scan_traits(scan) | change, CARD, polished=True)
    assert "--polish" not in polished and "refine" in polished
    assert sentence.count("\n") == 0


@given(
    st.dictionaries(st.sampled_from([*TRAITS, "photons_per_pattern"]), st.none() | st.text() | st.lists(st.floats()))
)
def test_no_card_is_too_odd_to_read(saw):
    for card in ({}, {"saw": saw}, {"saw": {"overlap": saw}}, {"saw": "all"}):
        for sentence in out_of_domain(dict.fromkeys(TRAITS, 3.0), card):
            assert sentence.startswith("Outside what the network was trained on")


def test_a_saved_file_still_warns_and_an_evaluation_warns_once(scan, tmp_path):
    recon = reconstruction_of(scan)
    fit = compute_data_fit(scan, recon.object, recon.probe, recon.positions_px)
    card = {"saw": {"photons": [1e6, 1e8]}}
    messages = add_uncertainty(recon, scan, fit, card, residual_before=0.2 * fit.amplitude_residual)
    back = Reconstruction.load(messages.save(tmp_path / "r.h5"))
    json.dumps(back.provenance, allow_nan=False)
    for result in (evaluate(back), evaluate(back, scan)):
        assert sum("trained on 1e+06 to 1e+08" in text for text in result.warnings) == 1
        assert len(result.warnings) == len(set(result.warnings))


def test_warnings_on_the_fit_appear_once_with_the_scan_and_stay_without_it(scan):
    recon = reconstruction_of(scan)
    dim = dataclasses.replace(recon, object=(0.6 * recon.object).astype(np.complex64))
    messages = add_uncertainty(dim, scan, compute_data_fit(scan, dim.object, dim.probe, dim.positions_px))
    for result in (evaluate(messages), evaluate(messages, scan)):
        assert sum("times the measured counts" in text for text in result.warnings) == 1


def test_a_harmful_correction_is_reported_and_one_within_the_noise_is_not(scan):
    recon = reconstruction_of(scan)
    wrong = dataclasses.replace(
        recon, object=(recon.object * np.exp(0.3j * np.angle(recon.object))).astype(np.complex64)
    )
    for outcome, harmful in ((recon, False), (wrong, True)):
        fit = compute_data_fit(scan, outcome.object, outcome.probe, outcome.positions_px)
        warnings = add_uncertainty(outcome, scan, fit, residual_before=0.5 * fit.amplitude_residual).provenance[
            "trust"
        ]["warnings"]
        assert any("made the data fit worse" in text for text in warnings) is harmful
        assert add_uncertainty(outcome, scan, fit).provenance["trust"]["warnings"] == []
