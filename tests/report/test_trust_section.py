"""What the report says about trust follows the figures."""

import dataclasses

import numpy as np
import pytest

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.evaluate import evaluate
from ptypinn.metrics import data_fit
from ptypinn.report.report import render_report
from ptypinn.report.style import png_bytes
from ptypinn.report.trust_figures import fit_map_figure, uncertainty_figure
from ptypinn.report.trust_section import trust_section
from ptypinn.simulate import simulate
from ptypinn.trust import with_trust


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(object_size=(100, 110), size=48, overlap=0.4, photons=1e6))


@pytest.fixture(scope="module")
def recon(scan):
    illumination = np.zeros(scan.truth.shape, np.float32)
    for y, x in np.round(scan.positions_px).astype(int):
        illumination[y : y + scan.size, x : x + scan.size] += (np.abs(scan.probe) ** 2).sum(0)
    found = Reconstruction(scan.truth, illumination, scan.probe, scan.positions_px, provenance={"stage": "refine"})
    return with_trust(found, scan, data_fit(scan, found.object, found.probe, found.positions_px))


def spoiled(scan, recon):
    wrong = recon.object.copy()
    wrong[40:60, 40:60] *= np.exp(1j)
    bare = dataclasses.replace(recon, object=wrong)
    return with_trust(bare, scan, data_fit(scan, bare.object, bare.probe, bare.positions_px))


def test_a_good_picture_is_called_good_and_a_bad_one_is_not(scan, recon):
    good = " ".join(trust_section(recon, evaluate(recon, scan)).sentences)
    assert "as far as photons allow" in good and "No pattern fits more than 2 times worse" in good
    bad = spoiled(scan, recon)
    text = " ".join(trust_section(bad, evaluate(bad, scan)).sentences)
    assert "does not explain" in text and "No pattern fits" not in text
    assert "as far as photons allow" not in text


def test_figures_in_the_text_are_those_of_the_evaluation(scan, recon):
    result = evaluate(recon, scan)
    text = " ".join(trust_section(recon, result).sentences)
    assert f"{result.metrics['residual_over_noise']:.3g} times" in text
    assert f"{result.metrics['error_over_uncertainty']:.3g} times" in text
    page = render_report(recon, result, scan)
    assert "How far to trust this" in page


def test_maps_draw_with_and_without_uncertainty_light_or_more_than_one_pattern(scan, recon):
    bare = dataclasses.replace(recon, uncertainty=None)
    dark = dataclasses.replace(recon, illumination=np.zeros_like(recon.illumination))
    for some in (recon, bare, dark):
        assert png_bytes(uncertainty_figure(some), 40).startswith(b"\x89PNG")
        assert len(trust_section(some, evaluate(recon)).pictures) == 1
    one = scan.subset(np.array([3]))
    fit = data_fit(one, recon.object, recon.probe, one.positions_px)
    assert png_bytes(fit_map_figure(dataclasses.replace(recon, positions_px=one.positions_px), fit), 40)
