"""Charts of a page are sound SVG: curves lie where their values are, gaps stay gaps, labels are text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps

from ptypinn.report.figures.colours import MAPS, colours_of
from ptypinn.report.html.metrics_section import history_chart
from ptypinn.report.html.svg_chart import Axis, Curve, axis_for, legend_rows, line_chart
from ptypinn.utils.number_format import log_values, round_values, tick_labels

positive = st.floats(1e-8, 1e8)


def paths_of(svg: str, colour: str) -> list[str]:
    root = ET.fromstring(svg)
    return [path.get("d") for path in root.iter("path") if f"var(--{colour})" in path.get("style")]


@given(positive, st.floats(1.01, 1e6), st.booleans())
def test_round_values_are_few_even_and_inside(low, factor, integer):
    high = low * factor
    values = round_values(low, high, 5, integer)
    assert len(values) <= 6
    assert all(low - 1e-8 * (high - low) <= value <= high + 1e-8 * (high - low) for value in values)
    np.testing.assert_allclose(np.diff(values, n=2), 0, atol=1e-9 * high)
    if integer:
        assert all(value == round(value) for value in values)
    else:
        assert len(values) >= 2
    assert len(set(tick_labels(values, high - low))) == len(values)


@given(positive, st.floats(10.1, 1e12))
def test_values_of_a_logarithmic_axis_are_few_and_inside(low, factor):
    values = log_values(low, low * factor)
    assert 1 <= len(values) <= 9 and values == sorted(values)
    assert low * (1 - 1e-8) <= values[0] and values[-1] <= low * factor * (1 + 1e-8)


@pytest.mark.parametrize("log", [False, True])
def test_curves_lie_where_their_values_are(log):
    values = np.array([100.0, 10.0, 1.0])
    axis = axis_for(values, log=log)
    svg = line_chart(Axis(1.0, 3.0), axis, [Curve(np.arange(1.0, 4.0), values, "loss")])
    path = max(paths_of(svg, "accent"), key=len)
    points = np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path), float)
    np.testing.assert_allclose(np.diff(points[:, 0], n=2), 0, atol=0.2)
    heights = (points[-1, 1] - points[:, 1]) / (points[-1, 1] - points[0, 1])
    expected = np.log(values) / np.log(100) if log else (values - 1) / 99
    np.testing.assert_allclose(heights, expected, atol=2e-3)


def test_values_that_are_not_finite_leave_gaps():
    values = [3.0, 2.0, np.nan, 1.5, 1.0]
    path = max(paths_of(history_chart({"loss": values}, "iteration"), "accent"), key=len)
    assert path.count("M") == 2 and path.count("L") == 2
    assert "nan" not in path


def test_text_is_text_and_colours_are_those_of_the_page():
    svg = history_chart({"<b>loss</b>": [2.0, 1.0], "held_out_loss": [2.0, 1.5]}, "epoch")
    root = ET.fromstring(svg)
    texts = ["".join(text.itertext()) for text in root.iter("text")]
    assert "<b>loss</b>" in texts and "held out loss" in texts and "epoch" in texts
    assert "var(--accent)" in svg and "var(--second)" in svg and "#" not in svg and "http" not in svg
    assert not [element.get("id") for element in root.iter() if element.get("id")]


def test_long_legends_take_several_rows():
    curves = [Curve(np.zeros(1), np.zeros(1), "a rather long name of a loss") for _ in range(4)]
    assert [len(row) for row in legend_rows(curves, 330.0)] == [1, 1, 1, 1]
    assert [len(row) for row in legend_rows(curves, 900.0)] == [4]


@pytest.mark.parametrize("name", [*MAPS, "gray"])
@pytest.mark.parametrize("number", [2, 17, 255])
def test_colour_tables_are_those_of_matplotlib(name, number):
    expected = np.round(255 * colormaps[name](np.linspace(0, 1, number))[:, :3])
    np.testing.assert_array_equal(colours_of(name, number), expected)
