"""Panels hold the values that their colours stand for, at a bounded size; scales, bars and outlines fit them."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from ptypinn.report.figures.colours import (
    MAPS,
    ColourScale,
    difference_scale,
    phase_scale,
    positive_scale,
    robust_limits,
    turn_scale,
)
from ptypinn.report.figures.display import (
    MAX_POINTS,
    MAX_PX,
    bin_image,
    choose_binning,
    contour_path,
    find_visible_region,
    view_object,
)
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.panels import encode_png, make_panel
from ptypinn.report.html.patterns_section import position_map
from ptypinn.utils.number_format import format_length, scale_bar

shapes = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
images = arrays.arrays(np.float32, shapes, elements=st.floats(-5, 5, width=32))


@given(images, st.integers(1, 7))
def test_blocks_hold_the_mean_of_their_pixels(image, step):
    small = bin_image(image, step)
    assert small.shape == tuple(-(-edge // step) for edge in image.shape)
    for (y, x), value in np.ndenumerate(small):
        block = image[y * step : (y + 1) * step, x * step : (x + 1) * step]
        assert value == pytest.approx(block.mean(), abs=1e-5)


@given(images, st.integers(1, 4))
def test_pixels_that_are_left_out_change_nothing(image, step):
    keep = np.zeros(image.shape, bool)
    keep[::2] = True
    spoiled = np.where(keep, image, np.float32(np.nan))
    np.testing.assert_array_equal(bin_image(spoiled, step), bin_image(image, step, keep))
    assert np.isnan(bin_image(image, step, np.zeros_like(keep))).all()


@given(images, st.floats(-3, 0), st.floats(0.5, 3), st.sampled_from(MAPS))
def test_every_pixel_has_the_colour_of_its_value(image, low, high, name):
    scale = ColourScale(name, low, high)
    image = image.copy()
    image[0, 0] = np.nan
    picture = Image.open(io.BytesIO(encode_png(image, scale)))
    assert picture.mode == "P" and picture.size == image.shape[::-1]
    pixels = np.asarray(picture.convert("RGBA"))
    assert pixels[0, 0, 3] == 0 and (pixels[np.isfinite(image), 3] == 255).all()
    level = np.clip((image - low) / (high - low), 0, 1)
    expected = scale.colours(1001)[np.round(1000 * np.nan_to_num(level)).astype(int)].astype(int)
    assert np.abs(pixels[..., :3] - expected)[np.isfinite(image)].max(initial=0) <= 6


def test_large_objects_make_small_pictures(recon):
    y, x = 3000, 2600
    image = np.random.default_rng(0).standard_normal((y, x)).astype(np.float32)
    panel = make_panel(ScaledImage("noise", image, ColourScale("viridis", -2.0, 2.0)), 1e-8, max_px=512)
    assert max(panel.width, panel.height) <= 512
    assert len(panel.source) < 4 / 3 * 512 * 512
    length, label = scale_bar(x, 1e-8)
    assert panel.bar == (length / x, label)
    view = view_object(recon, find_visible_region(recon), max_px=20)
    assert max(view.amplitude.shape) <= 20
    assert view.binning == choose_binning(find_visible_region(recon).visible.shape, 20)
    assert choose_binning((4096, 4096), MAX_PX) == 4


def test_the_view_shows_the_object_where_it_is_illuminated(recon):
    region = find_visible_region(recon)
    view = view_object(recon, region)
    pixels = np.isfinite(view.amplitude)
    np.testing.assert_allclose(view.amplitude[pixels], np.abs(recon.object[region.box])[pixels], rtol=1e-5)
    assert view.well_illuminated.any() and pixels[view.well_illuminated].all()
    differs = np.exp(1j * view.phase[pixels]) * np.conj(recon.object[region.box][pixels])
    assert np.std(np.angle(differs * np.conj(differs.mean()))) < 1e-5


@pytest.mark.parametrize("radius", [3, 20, 60])
def test_an_outline_goes_round_its_region(radius):
    y, x = np.indices((150, 160))
    region = np.hypot(y - 70, x - 80) <= radius
    points = np.array(re.findall(r"[\d.]+", contour_path(region)), float).reshape(-1, 2)
    np.testing.assert_allclose(np.hypot(*(points - 0.5 - (80, 70)).T), radius, atol=1.5)


def test_outlines_of_ragged_regions_are_bounded():
    region = np.random.default_rng(0).random((400, 400)) > 0.5
    assert len(re.findall(r"[\d.]+", contour_path(region))) <= 2 * MAX_POINTS
    assert contour_path(np.zeros((9, 9), bool)) == ""


def test_a_position_colours_what_is_nearest():
    places, values = np.array([[10.0, 10.0], [10.0, 30.0]]), np.array([1.0, 2.0])
    drawn = position_map(places, values, (slice(0, 20), slice(0, 40)), 2, 8.0)
    assert drawn.shape == (10, 20)
    assert (drawn[4:6, 3:7] == 1).all() and (drawn[4:6, 13:17] == 2).all()
    assert np.isnan(drawn[0, 0]) and np.isnan(drawn[5, 10])


@given(st.floats(-100, 100), st.floats(1e-3, 1e3), st.sampled_from(MAPS))
def test_ticks_are_round_and_inside(low, span, name):
    ticks = ColourScale(name, low, low + span).ticks
    assert 1 <= len(ticks) <= 6
    places = [place for place, _ in ticks]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 100
    assert len({label for _, label in ticks}) == len(ticks)


def test_scales_say_what_they_are_of():
    assert [label for _, label in turn_scale().ticks] == ["-π", "-π/2", "0", "π/2", "π"]
    assert ColourScale("magma", -1.0, 4.0, decades=True).ticks == [(20.0, "1"), (60.0, "100"), (100.0, "10⁴")]
    assert phase_scale(np.linspace(-2, 2, 99)).cyclic and not phase_scale(np.linspace(-1, 1, 99)).cyclic
    flat = phase_scale(np.full(9, 0.3))
    assert flat.low < 0.3 < flat.high
    assert difference_scale(np.array([-1.0, 3.0])).low == pytest.approx(-3, rel=0.02)
    assert positive_scale(np.zeros(4)).high > 0
    assert ColourScale("magma", math.nan, 1.0).ticks == []


@pytest.mark.parametrize(
    ("width", "pixel"), [(10, None), (64, None), (3000, None), (200, 29e-9), (777, 1.3e-11), (50, 1e-3)]
)
def test_scale_bars_are_round_and_fit(width, pixel):
    length, label = scale_bar(width, pixel)
    assert 0.09 * width <= length <= 0.31 * width
    assert label.split()[0].lstrip("0.").rstrip("0") in ("1", "2", "5")


def test_lengths_take_the_prefix_that_suits_them():
    assert [format_length(x) for x in (2e-6, 1e-9, 4.5e-11, 0.02)] == ["2 µm", "1 nm", "45 pm", "20 mm"]


def test_limits_ignore_gaps_and_never_coincide():
    assert robust_limits(np.full((3, 3), np.nan)) == (0.0, 1.0)
    low, high = robust_limits(np.array([[2.0, 2.0], [2.0, np.nan]]))
    assert low < 2 < high
