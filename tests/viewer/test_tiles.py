"""Tiles show the values they are made of: palette, limits, transparency, hue and brightness."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ptypinn.viewer.tiles import (
    COLOUR_MAPS,
    build_hue_table,
    build_palette,
    encode_colour_strip,
    encode_complex_png,
    encode_phase_wheel,
    encode_scalar_png,
    palette_indices,
)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def ramp(low, high):
    return np.linspace(low, high, 255, dtype=np.float32)[None]


@pytest.mark.parametrize("colours", COLOUR_MAPS)
def test_values_from_limit_to_limit_take_every_colour_in_order(colours):
    drawn = pixels(encode_scalar_png(ramp(-2.0, 3.0), None, (-2.0, 3.0), colours))
    np.testing.assert_array_equal(drawn[0, :, :3], build_palette(colours)[1:])
    np.testing.assert_array_equal(drawn[0, :, 3], 255)
    np.testing.assert_array_equal(pixels(encode_colour_strip(colours)), drawn)


@given(low=st.floats(-100, 100), span=st.floats(1e-3, 1e3), shift=st.floats(-3, 3))
def test_values_beyond_the_limits_take_the_nearest_colour(low, span, shift):
    values = np.float32(low + span * shift + np.zeros((1, 1)))
    index = int(palette_indices(values, None, (low, low + span))[0, 0])
    share = (float(values[0, 0]) - low) / span
    assert abs(index - (1 + 254 * min(max(share, 0), 1))) < 1 + 0.02 * (abs(low) / span)


def test_pixels_that_are_not_shown_are_transparent():
    values, shown = np.array([[1.0, np.nan, np.inf, 1.0]], np.float32), np.array([[True, True, True, False]])
    for drawn in (
        encode_scalar_png(values, shown, (0.0, 1.0), "viridis"),
        encode_scalar_png(values, None, (0.0, 1.0), "viridis"),
    ):
        assert pixels(drawn)[0, 1, 3] == pixels(drawn)[0, 2, 3] == 0
    assert pixels(encode_scalar_png(values, shown, (0.0, 1.0), "viridis"))[0, :, 3].tolist() == [255, 0, 0, 0]
    hidden = encode_complex_png(np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32), shown, 1.0)
    assert pixels(hidden)[0, :, 3].tolist() == [255, 255, 255, 0]


def test_hue_is_the_phase_and_joins_at_pi():
    phase = np.array([[-np.pi, np.pi - 1e-4, 0.0, np.pi / 2]], np.float32)
    drawn = pixels(encode_complex_png(phase, np.ones_like(phase), None, 1.0))[0, :, :3].astype(int)
    assert np.abs(drawn[0] - drawn[1]).max() <= 6
    assert np.abs(drawn[0] - drawn[2]).max() > 60
    assert np.abs(drawn[2] - drawn[3]).max() > 30


def test_all_hues_of_a_shade_are_equally_light_and_shades_evenly_spaced():
    linear = np.where((c := build_hue_table() / 255.0) <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lightness = np.cbrt(linear @ to_cones.T) @ np.array([0.2104542553, 0.7936177850, -0.0040720468])
    brightest = lightness[:, -1]
    assert np.ptp(brightest) < 0.01
    steps = np.diff(lightness[:, 20::20].mean(axis=0))
    assert steps.std() < 0.05 * steps.mean()


def test_modulus_darkens_and_the_wheel_shows_it():
    modulus = np.array([[0.0, 0.5, 1.0, 2.0]], np.float32)
    drawn = pixels(encode_complex_png(np.zeros_like(modulus), modulus, None, 1.0))[0, :, :3].sum(axis=1).tolist()
    assert drawn[0] == 0
    assert 0 < drawn[1] < drawn[2] == drawn[3]
    wheel = pixels(encode_phase_wheel())
    assert wheel[0].sum() > 10 * wheel[-1, :, :3].sum()
