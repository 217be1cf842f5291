"""Colours can be told apart: text from its ground, lines from the page, values from each other."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from ptypinn.report.figures.colours import (
    CYCLIC_MAP,
    DARK_THEME,
    DIFFERENCE_MAP,
    LIGHT_THEME,
    MAPS,
    THEME_VARIABLES,
    colours_of,
    gradients,
)

TEXT, GRAPHIC = 4.5, 3.0
LINES = ("rule", "accent", "second", "third", "fourth", "fifth")


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours `#rrggbb` by WCAG 2: 1 to 21; text needs 4.5, graphics 3."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [LIGHT_THEME, DARK_THEME])
def test_text_and_lines_stand_out(theme):
    for ground in ("page", "card"):
        for name in ("ink", "muted", "accent", "warn-ink"):
            assert contrast(theme[name], theme[ground]) >= TEXT, (name, ground)
        for name in LINES:
            assert contrast(theme[name], theme[ground]) >= GRAPHIC, (name, ground)
    for name in ("warn", "good", "open"):
        assert contrast(theme[f"{name}-ink"], theme[name]) >= TEXT, name


def test_both_themes_name_the_same_colours():
    assert LIGHT_THEME.keys() == DARK_THEME.keys()
    assert len(THEME_VARIABLES) == len({*THEME_VARIABLES.values()}) + 1  # black is ink too


def lightness(name: str) -> np.ndarray:
    return rgb2lab(colours_of(name, 255)[None] / 255)[0, :, 0]


@pytest.mark.parametrize("name", [name for name in MAPS if name not in (CYCLIC_MAP, DIFFERENCE_MAP)])
def test_sequential_maps_grow_lighter_in_even_steps(name):
    steps = np.diff(lightness(name), n=1)
    assert (steps > -0.2).all() and steps.sum() > 70
    assert steps.reshape(2, -1).sum(1).min() > 0.4 * steps.sum()


def test_the_map_of_differences_is_lightest_in_the_middle_and_even_on_both_sides():
    values = lightness(DIFFERENCE_MAP)
    assert abs(int(np.argmax(values)) - 127) <= 2
    assert np.abs(values - values[::-1]).max() < 12


def test_the_map_of_phases_is_cyclic():
    lab = rgb2lab(colours_of(CYCLIC_MAP, 255)[None] / 255)[0]
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert np.linalg.norm(lab[0] - lab[-1]) < 3 * steps.max()


def test_gradients_are_those_of_the_maps():
    stops = gradients()["viridis"].split(", ")
    assert stops[0] == "#440154" and stops[-1] == "#fde725"
