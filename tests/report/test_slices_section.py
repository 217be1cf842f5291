"""The report shows every slice, with its depth, and says how the number was found."""

import dataclasses

import numpy as np
import pytest

from ptypinn.report.figures.display import find_visible_region
from ptypinn.report.html.page import Figures
from ptypinn.report.html.report import render_report
from ptypinn.report.html.slices_section import MAX_SLICES, projection_image, slice_images, slices_section
from ptypinn.stages.evaluate import evaluate
from thick_scans import SLICE_COUNT, make_thick_scan


@pytest.fixture(scope="module")
def made():
    return make_thick_scan()


def section_of(recon):
    return slices_section(recon, find_visible_region(recon))


def test_a_picture_of_every_slice_names_its_depth(made):
    section = section_of(made.recon)
    projection, phases, amplitudes = [block for block in section.blocks if isinstance(block, Figures)]
    assert [panel.title for panel in projection.items] == ["Projected phase"]
    titles = [panel.title for panel in phases.items]
    spacing = made.recon.provenance["slices"]["spacing_m"][0]
    assert titles[0] == "Slice 1, depth 0"
    assert len(titles) == len(amplitudes.items) == SLICE_COUNT
    assert f"{2e6 * spacing:.3g} µm" in titles[-1]


def test_phases_of_all_slices_share_one_scale_and_are_those_of_the_slices(made):
    phases, amplitudes = slice_images(made.recon, region := find_visible_region(made.recon))
    assert len({image.scale for image in phases}) == len({image.scale for image in amplitudes}) == 1
    shown = np.isfinite(amplitudes[1].image)
    np.testing.assert_allclose(amplitudes[1].image[shown], np.abs(made.recon.slices[1][region.box])[shown], rtol=1e-5)


def test_the_projected_phase_is_the_sum_over_slices(made):
    shown = projection_image(made.recon, region := find_visible_region(made.recon)).image
    expected = np.angle(made.recon.slices).sum(0)[region.box]
    inside = np.isfinite(shown)
    differences = (shown - expected)[inside]
    assert np.ptp(differences) < 1e-4  # the mean is left out
    assert shown[inside].std() > 0.1


def test_the_page_has_them_with_one_sentence_on_how_they_were_found(made):
    page = render_report(made.recon, evaluate(made.recon, made.scan), made.scan)
    assert "Slices along the beam" in page
    assert "as many as held-out pixels show" in page
    assert page.count("Slice 2, depth") >= 2


def test_a_thin_sample_has_an_empty_section_that_names_the_option(made):
    thin = dataclasses.replace(made.recon, slices=None, gap_fresnel_numbers=None, provenance={})
    assert "--slices auto" in section_of(thin).absent
    searched = dataclasses.replace(thin, provenance={"slices": {"number": 1, "chosen": True}})
    assert "no second slice" in section_of(searched).blocks[0].sentences[0]


def test_of_very_many_slices_some_are_drawn(made):
    many = dataclasses.replace(made.recon, slices=np.repeat(made.recon.slices, 9, 0), provenance={})
    phases, _ = slice_images(many, find_visible_region(many))
    assert [image.title for image in phases][:2] == ["Slice 1", "Slice 2"]
    assert [image.title for image in phases][-1] == f"Slice {9 * SLICE_COUNT}"
    assert len(phases) == MAX_SLICES
