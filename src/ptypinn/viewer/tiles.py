"""Encode arrays as PNG pictures: pure functions of values, visible pixels, and colour limits."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8
from PIL import Image

from ptypinn.report.figures.colours import AMPLITUDE_MAP, COUNTS_MAP, CYCLIC_MAP, DIFFERENCE_MAP, PHASE_MAP, colours_of

TILE_PX = 256
"""Edge of a tile, pixels."""
COMPRESSION = 1
"""Compression level of PNG: the fastest, since pictures are sent over the loopback."""

Values = Float[np.ndarray, "height width"]
Shown = Bool[np.ndarray, "height width"]


def encode_scalar_png(values: Values, shown: Shown | None, limits: tuple[float, float], colour_map: str) -> bytes:
    """Encode real values as a PNG with a palette.

    Args:
        values: Values; pixels that are not finite are transparent.
        shown: Visible pixels; the others are transparent. None shows all.
        limits: Values of the first and the last colour; values beyond are clipped.
        colour_map: Name of the colour map.
    """
    return _encode_palette_png(palette_indices(values, shown, limits), build_palette(colour_map))


def palette_indices(
    values: Values, shown: Shown | None, limits: tuple[float, float]
) -> UInt8[np.ndarray, "height width"]:
    """Return the palette entries of values: 0 for hidden pixels, 1 at the lower limit, 255 at the upper.

    Examples:
        >>> palette_indices(np.array([[0.0, 1.0, np.nan]], np.float32), None, (0.0, 1.0)).tolist()
        [[1, 255, 0]]
    """
    low, high = limits
    step = (LEVELS - 1) / (high - low)
    visible = np.isfinite(values) if shown is None else shown & np.isfinite(values)
    position = np.where(visible, (values - np.float32(low)) * np.float32(step), 0.0)
    return np.where(visible, 1 + np.round(np.clip(position, 0, LEVELS - 1)), 0).astype(np.uint8)


def encode_complex_png(phase: Values, modulus: Values, shown: Shown | None, max_modulus: float) -> bytes:
    """Encode complex values as a PNG: hue is the phase, brightness the modulus.

    Args:
        phase: Phase, radians.
        modulus: Modulus of the same pixels.
        shown: Visible pixels; None shows all.
        max_modulus: Modulus of the greatest brightness.
    """
    hue = np.floor((phase / (2 * np.pi) + 0.5) * HUES).astype(np.int32) % HUES
    shade = np.round(np.clip(modulus / max_modulus, 0, 1) * (SHADES - 1)).astype(np.int32)
    visible = np.full(phase.shape, True) if shown is None else shown
    alpha = np.where(visible, np.uint8(255), np.uint8(0))
    return _encode_png(Image.fromarray(np.dstack([build_hue_table()[hue, shade], alpha]), "RGBA"))


def encode_colour_strip(colour_map: str) -> bytes:
    """Encode a colour map as a horizontal strip, lowest value left."""
    return _encode_palette_png(np.arange(1, LEVELS + 1, dtype=np.uint8)[None], build_palette(colour_map))


def encode_phase_wheel() -> bytes:
    """Encode the colours of complex numbers: phase from -pi to pi to the right, modulus upwards."""
    return _encode_png(Image.fromarray(np.ascontiguousarray(build_hue_table().transpose(1, 0, 2)[::-4, ::2]), "RGB"))


def _encode_palette_png(entries: UInt8[np.ndarray, "height width"], colours: UInt8[np.ndarray, "256 3"]) -> bytes:
    picture = Image.fromarray(entries, "P")
    picture.putpalette(colours.tobytes())
    return _encode_png(picture, transparency=0)


def _encode_png(picture: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=COMPRESSION, **options)
    return buffer.getvalue()


COLOUR_MAPS = (AMPLITUDE_MAP, PHASE_MAP, COUNTS_MAP, "gray", CYCLIC_MAP, DIFFERENCE_MAP)
"""Available colour maps; all but the last two are sequential."""
LEVELS = 255
"""Number of colours of a map; index 0 of its palette is for hidden pixels."""
HUES, SHADES = 256, 256
LIGHTNESS, CHROMA = 0.76, 0.12
"""The brightest ring of hues in Oklab: the maximum chroma that all hues of this lightness have in sRGB."""
RED_RAD = 0.51
"""Hue angle in Oklab of phase 0, a red."""


@cache
def build_palette(name: str) -> UInt8[np.ndarray, "256 3"]:
    """Return a colour map as a palette: entry 0 is for hidden pixels, the others ascend from the lowest value."""
    return np.concatenate([np.zeros((1, 3), np.uint8), colours_of(name, LEVELS)])


@cache
def build_hue_table() -> UInt8[np.ndarray, "hues shades 3"]:
    """Return the colours of complex numbers: hue is the phase in [-pi, pi), brightness the modulus over its maximum.

    All hues of a shade have equal lightness, and shades are perceptually equidistant: a factor `s` on linear light is a
    factor of the cube root of `s` on every Oklab coordinate.
    """
    phase = -np.pi + 2 * np.pi * np.arange(HUES) / HUES + RED_RAD
    brightest = _linear_from_oklab(LIGHTNESS, CHROMA * np.cos(phase), CHROMA * np.sin(phase))
    shades = np.linspace(0.0, 1.0, SHADES) ** 3
    return _encode_srgb(np.clip(brightest[:, None, :] * shades[:, None], 0.0, 1.0))


def _linear_from_oklab(
    lightness: float, a: Float64[np.ndarray, " hues"], b: Float64[np.ndarray, " hues"]
) -> Float64[np.ndarray, "hues 3"]:
    """Convert Oklab colours to linear sRGB (B. Ottosson, A perceptual color space for image processing, 2020)."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return np.stack([red, green, blue], axis=-1)


def _encode_srgb(linear: Float64[np.ndarray, "*shape 3"]) -> UInt8[np.ndarray, "*shape 3"]:
    """Encode linear light in [0, 1] as sRGB bytes."""
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)
