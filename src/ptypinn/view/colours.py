"""Colour tables: what a value, or a complex number, looks like."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float64, UInt8
from matplotlib import colormaps

from ptypinn.report.colours import AMPLITUDE_MAP, COUNTS_MAP, CYCLIC_MAP, DIFFERENCE_MAP, PHASE_MAP

MAPS = (AMPLITUDE_MAP, PHASE_MAP, COUNTS_MAP, "gray", CYCLIC_MAP, DIFFERENCE_MAP)
"""Colour maps on offer; all but the last two are sequential."""
LEVELS = 255
"""Colours of a map; index 0 of its palette is left for what is not shown."""
HUES, SHADES = 256, 256
LIGHTNESS, CHROMA = 0.76, 0.12
"""The brightest ring of hues in Oklab: as colourful as every hue of this lightness can be."""
RED_RAD = 0.51
"""Hue angle in Oklab of phase 0, a red."""


@cache
def palette(name: str) -> UInt8[np.ndarray, "256 3"]:
    """A colour map as a palette: entry 0 is for what is not shown, the others rise from the lowest value."""
    colours = colormaps[name](np.linspace(0.0, 1.0, LEVELS), bytes=True)[:, :3]
    return np.concatenate([np.zeros((1, 3), np.uint8), colours])


@cache
def hue_table() -> UInt8[np.ndarray, "hues shades 3"]:
    """Colours of complex numbers: hue is the phase in [-pi, pi), brightness the modulus as a share of the largest.

    All hues of a shade are equally light, and shades are equally far apart to the eye: scaling linear light by `s`
    scales every Oklab coordinate by the cube root of `s`.
    """
    phase = -np.pi + 2 * np.pi * np.arange(HUES) / HUES + RED_RAD
    brightest = _linear_from_oklab(LIGHTNESS, CHROMA * np.cos(phase), CHROMA * np.sin(phase))
    shades = np.linspace(0.0, 1.0, SHADES) ** 3
    return _encoded(np.clip(brightest[:, None, :] * shades[:, None], 0.0, 1.0))


def _linear_from_oklab(
    lightness: float, a: Float64[np.ndarray, " hues"], b: Float64[np.ndarray, " hues"]
) -> Float64[np.ndarray, "hues 3"]:
    """Linear sRGB of Oklab colours (B. Ottosson, A perceptual color space for image processing, 2020)."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return np.stack([red, green, blue], axis=-1)


def _encoded(linear: Float64[np.ndarray, "*shape 3"]) -> UInt8[np.ndarray, "*shape 3"]:
    """Linear light in [0, 1] as sRGB bytes."""
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)
