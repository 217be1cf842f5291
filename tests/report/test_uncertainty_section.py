"""What the report says about trust follows the figures."""

import dataclasses

import numpy as np
import pytest

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import compute_data_fit
from ptypinn.physics.illumination import compute_illumination_at
from ptypinn.report.figures.display import frame_of
from ptypinn.report.html.patterns_section import fit_images
from ptypinn.report.html.report import render_report
from ptypinn.report.html.uncertainty_section import trust_section, trust_sentences
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.simulate import simulate
from ptypinn.uncertainty import add_uncertainty


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(object_size=(100, 110), size=48, overlap=0.4, photons=1e6))


@pytest.fixture(scope="module")
def recon(scan):
    light = compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32)
    found = Reconstruction(scan.truth, light, scan.probe, scan.positions_px, provenance={"stage": "refine"})
    return add_uncertainty(found, scan, compute_data_fit(scan, found.object, found.probe, found.positions_px))


def spoiled(scan, recon):
    wrong = recon.object.copy()
    wrong[40:60, 40:60] *= np.exp(1j)
    bare = dataclasses.replace(recon, object=wrong)
    return add_uncertainty(bare, scan, compute_data_fit(scan, bare.object, bare.probe, bare.positions_px))


def test_a_good_picture_is_called_good_and_a_bad_one_is_not(scan, recon):
    good = " ".join(trust_sentences(recon, evaluate(recon, scan), frame_of(recon)))
    assert "as far as photons allow" in good and "No pattern fits more than 2 times worse" in good
    bad = spoiled(scan, recon)
    text = " ".join(trust_sentences(bad, evaluate(bad, scan), frame_of(bad)))
    assert "does not explain" in text and "No pattern fits" not in text
    assert "as far as photons allow" not in text


def test_figures_in_the_text_are_those_of_the_evaluation(scan, recon):
    result = evaluate(recon, scan)
    text = " ".join(trust_sentences(recon, result, frame_of(recon)))
    assert f"{result.metrics['residual_over_noise']:.3g} times" in text
    assert f"{result.metrics['error_over_uncertainty']:.3g} times" in text
    page = render_report(recon, result, scan)
    assert "How far to trust this" in page


def test_a_dark_pattern_does_not_take_all_the_colours():
    scan = simulate(SimulateConfig(object_size=(100, 100), size=32, n_patterns=64))
    light = compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32)
    recon = Reconstruction(scan.truth, light, scan.probe, scan.positions_px)
    counts = scan.counts.copy()
    counts[1] = 0
    dark, usual = (
        fit_images(recon, frame_of(recon), compute_data_fit(one, recon.object, recon.probe, recon.positions_px))
        for one in (scan.replace(counts=counts), scan)
    )
    for image, as_usual in zip(dark, usual, strict=True):
        assert np.nanmax(image.image) > 100
        assert image.scale.high < 1.5 * as_usual.scale.high


def test_maps_are_there_as_far_as_they_are_known(scan, recon):
    bare = dataclasses.replace(recon, uncertainty=None)
    dark = dataclasses.replace(recon, illumination=np.zeros_like(recon.illumination))
    judged = evaluate(recon, scan)
    for some, result, number in ((recon, judged, 3), (bare, judged, 2), (recon, evaluate(recon), 1), (dark, judged, 3)):
        blocks = trust_section(some, result, frame_of(some)).blocks
        assert sum(len(block.items) for block in blocks if block.kind == "figures") == number
    assert len(trust_section(bare, evaluate(bare), frame_of(bare)).blocks) == 1
