"""Arrays as PNG pictures: pure functions of values, what is shown of them, and colour limits."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from ptypinn.view.colours import HUES, LEVELS, SHADES, hue_table, palette

TILE = 256
"""Edge of a tile, pixels."""
COMPRESSION = 1
"""Of PNG: the fastest, as pictures go over the loopback."""

Values = Float[np.ndarray, "height width"]
Shown = Bool[np.ndarray, "height width"]


def scalar_png(values: Values, shown: Shown | None, limits: tuple[float, float], colours: str) -> bytes:
    """Real values as a PNG with a palette.

    Args:
        values: What to draw; pixels that are not finite stay transparent.
        shown: Pixels to draw; the others stay transparent. None draws all.
        limits: Values of the first and the last colour; values beyond them get the nearer one.
        colours: Colour map.
    """
    return _palette_png(indices(values, shown, limits), palette(colours))


def indices(values: Values, shown: Shown | None, limits: tuple[float, float]) -> UInt8[np.ndarray, "height width"]:
    """Palette entries of values: 0 for what is not shown, 1 at the lower limit, 255 at the upper."""
    low, high = limits
    step = (LEVELS - 1) / (high - low)
    visible = np.isfinite(values) if shown is None else shown & np.isfinite(values)
    place = np.where(visible, (values - np.float32(low)) * np.float32(step), 0.0)
    return np.where(visible, 1 + np.round(np.clip(place, 0, LEVELS - 1)), 0).astype(np.uint8)


def complex_png(phase: Values, modulus: Values, shown: Shown | None, highest: float) -> bytes:
    """Complex values as a PNG: hue is the phase, brightness the modulus.

    Args:
        phase: Radians.
        modulus: Of the same pixels.
        shown: Pixels to draw; None draws all.
        highest: Modulus that is drawn brightest.
    """
    hue = np.floor((phase / (2 * np.pi) + 0.5) * HUES).astype(np.int32) % HUES
    shade = np.round(np.clip(modulus / highest, 0, 1) * (SHADES - 1)).astype(np.int32)
    visible = np.full(phase.shape, True) if shown is None else shown
    alpha = np.where(visible, np.uint8(255), np.uint8(0))
    return _png(Image.fromarray(np.dstack([hue_table()[hue, shade], alpha]), "RGBA"))


def scale_png(colours: str) -> bytes:
    """A colour map as a strip, lowest value left."""
    return _palette_png(np.arange(1, LEVELS + 1, dtype=np.uint8)[None], palette(colours))


def wheel_png() -> bytes:
    """The colours of complex numbers: phase from -pi to pi to the right, modulus upwards."""
    return _png(Image.fromarray(np.ascontiguousarray(hue_table().transpose(1, 0, 2)[::-4, ::2]), "RGB"))


def _palette_png(entries: UInt8[np.ndarray, "height width"], colours: UInt8[np.ndarray, "256 3"]) -> bytes:
    picture = Image.fromarray(entries, "P")
    picture.putpalette(colours.tobytes())
    return _png(picture, transparency=0)


def _png(picture: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=COMPRESSION, **options)
    return buffer.getvalue()
