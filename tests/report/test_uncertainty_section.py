"""Statements of the report on fit and uncertainty follow the metrics."""

import dataclasses

import numpy as np
import pytest

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import compute_data_fit
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.report.figures.display import find_visible_region
from ptypinn.report.figures.panels import make_panels
from ptypinn.report.html.object_section import uncertainty_section, uncertainty_sentences
from ptypinn.report.html.patterns_section import fit_images
from ptypinn.report.html.report import render_report
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.simulate import simulate
from ptypinn.uncertainty import add_uncertainty


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(object_size=(100, 110), size=48, overlap=0.4, photons=1e6))


@pytest.fixture(scope="module")
def recon(scan):
    illumination = compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32)
    exact = Reconstruction(scan.truth, illumination, scan.probe, scan.positions_px, provenance={"stage": "refine"})
    return add_uncertainty(exact, scan, compute_data_fit(scan, exact.object, exact.probe, exact.positions_px))


def spoiled(scan, recon):
    wrong = recon.object.copy()
    wrong[40:60, 40:60] *= np.exp(1j)
    bare = dataclasses.replace(recon, object=wrong)
    return add_uncertainty(bare, scan, compute_data_fit(scan, bare.object, bare.probe, bare.positions_px))


def text_on(recon, scan):
    return " ".join(uncertainty_sentences(recon, evaluate(recon, scan), find_visible_region(recon)))


def test_a_good_picture_is_called_good_and_a_bad_one_is_not(scan, recon):
    good = text_on(recon, scan)
    assert "as far as counting noise allows" in good and "No pattern fits more than 2 times worse" in good
    bad = text_on(spoiled(scan, recon), scan)
    assert "does not explain" in bad and "No pattern fits" not in bad
    assert "as far as counting noise allows" not in bad


def test_numbers_in_the_text_are_those_of_the_evaluation(scan, recon):
    evaluation, text = evaluate(recon, scan), text_on(recon, scan)
    assert f"{evaluation.metrics['residual_over_noise']:.3g} times" in text
    assert f"{evaluation.metrics['error_over_uncertainty']:.3g} times" in text
    assert "Fit to the data and uncertainty" in render_report(recon, evaluation, scan)


def test_a_dark_pattern_does_not_take_all_the_colours():
    scan = simulate(SimulateConfig(object_size=(100, 100), size=32, n_patterns=64))
    illumination = compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32)
    recon = Reconstruction(scan.truth, illumination, scan.probe, scan.positions_px)
    counts = scan.counts.copy()
    counts[1] = 0
    with_dark, without = (
        fit_images(
            recon, find_visible_region(recon), compute_data_fit(one, recon.object, recon.probe, recon.positions_px)
        )
        for one in (scan.replace(counts=counts), scan)
    )
    for image, expected in zip(with_dark, without, strict=True):
        assert np.nanmax(image.image) > 100
        assert image.scale.high < 1.5 * expected.scale.high


def test_maps_are_drawn_for_what_was_measured(scan, recon):
    bare = dataclasses.replace(recon, uncertainty=None)
    dim = dataclasses.replace(recon, illumination=np.zeros_like(recon.illumination))
    full = evaluate(recon, scan)
    cases = ((recon, full, 3), (bare, full, 2), (recon, evaluate(recon), 1), (dim, full, 3))
    for case, evaluation, number in cases:
        blocks = uncertainty_section(case, evaluation, make_panels(case)).blocks
        assert sum(len(block.items) for block in blocks if block.kind == "figures") == number
    assert len(uncertainty_section(bare, evaluate(bare), make_panels(bare)).blocks) == 1
