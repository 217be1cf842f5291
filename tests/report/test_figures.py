"""Figures draw in every case, and as drawings of a page they carry the page's colours and names of their own."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.object import comparison_figure, object_figure, probe_figure, uncertainty_figure
from ptypinn.report.figures.study import convergence_figure
from ptypinn.report.figures.style import png_bytes, svg_of
from ptypinn.report.html.metrics_section import frc_chart
from ptypinn.report.html.page import Drawing
from ptypinn.report.text.metric_labels import history_panels
from ptypinn.stages.evaluate import evaluate

HISTORY = {"loss": [9.0, 3.0, 1.0], "held_out_loss": [9.5, 3.5, 1.5], "step": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize("modes", [1, 3, 7])
def test_probes_with_any_number_of_modes_draw(recon, modes):
    probe = np.repeat(recon.probe[:1], modes, axis=0)
    assert png_bytes(probe_figure(dataclasses.replace(recon, probe=probe)), 30).startswith(b"\x89PNG")


@pytest.mark.parametrize("field", [np.ones, np.zeros])
def test_uniform_and_unilluminated_objects_draw(recon, field):
    flat = dataclasses.replace(recon, object=field(recon.object.shape, np.complex64))
    dim = dataclasses.replace(flat, illumination=np.zeros_like(recon.illumination), uncertainty=None)
    for case in (flat, dim):
        assert png_bytes(object_figure(case), 30).startswith(b"\x89PNG")
        assert png_bytes(uncertainty_figure(case), 30).startswith(b"\x89PNG")


def test_curves_draw_with_gaps_and_at_the_limit(recon, scan):
    history = {"loss": [float("nan"), 2.0, 1.0], "other": [float("nan")] * 3, "third": [-1.0, 0.0, 1.0]}
    png_bytes(convergence_figure(history), 30)
    png_bytes(convergence_figure({}), 30)
    result = evaluate(recon, scan)
    assert result.frc.half_bit_reaches_nyquist
    assert ET.fromstring(frc_chart(result.frc)).tag == "svg"


def test_losses_share_a_panel():
    assert {key: list(panel) for key, panel in history_panels(HISTORY).items()} == {
        "loss": ["loss", "held_out_loss"],
        "step": ["step"],
    }


def test_polishing_counts_its_own_steps_in_a_panel_of_its_own():
    polished = {**HISTORY, "polish_loss": [1.0, 0.9], "polish_held_out_loss": [1.1, 1.0]}
    panels = {key: list(panel) for key, panel in history_panels(polished).items()}
    assert panels["loss"] == ["loss", "held_out_loss"]
    assert panels["polish_loss"] == ["polish_loss", "polish_held_out_loss"]
    assert list(history_panels({"probe_loss": [3.0, 2.0], "loss": [3.0, 1.0]})) == ["probe_loss", "loss"]


def test_prediction_scaling_is_in_the_titles(recon, scan):
    scaled = dataclasses.replace(recon, prediction_scale={"source": "least_squares", "factor": 1.25})
    note = "amplitude scaled by 1.25 (least squares)"
    assert object_figure(scaled).get_suptitle() == note
    assert object_figure(scaled, "star").get_suptitle() == f"star, {note}"
    comparison = evaluate(scaled, scan).comparison
    assert note in comparison_figure(comparison, None, scaled.scale_note).get_suptitle()
    assert object_figure(recon).get_suptitle() == ""


def test_a_drawing_follows_the_page():
    drawing = Drawing.of_figure(convergence_figure(HISTORY), "curve", "a loss that falls")
    root = ET.fromstring(drawing.svg)
    assert root.tag == "svg" and "viewBox" in root.attrib and "width" not in root.attrib
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert names and all(name.startswith("curve-") for name in names) and len(names) == len(set(names))
    for element in root.iter():
        assert element.get("href", "#curve-").startswith("#curve-")
    assert "var(--accent)" in drawing.svg and "var(--ink)" in drawing.svg
    assert LIGHT_THEME["accent"] not in drawing.svg and "DejaVu" not in drawing.svg and "http" not in drawing.svg
    assert "held out loss" in "".join(root.itertext())
    assert svg_of(convergence_figure(HISTORY), "curve") == drawing.svg
