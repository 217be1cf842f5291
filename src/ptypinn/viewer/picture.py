"""What can be seen of a run: tiles of the layers of its object, and which of their pixels count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptypinn.errors import InputError
from ptypinn.metrics.split import bounding_box
from ptypinn.viewer.layers import (
    COMPLEX,
    DIFFERENCE,
    LAYERS,
    PHASE,
    PHASE_DIFFERENCE,
    DisplayRange,
    LayerSummary,
    subtract_phase,
    summarise_layer,
)
from ptypinn.viewer.picture_file import ILLUMINATION, OBJECT, QUOTIENT, UNCERTAINTY, PictureFile
from ptypinn.viewer.pyramid import AMPLITUDE, Pyramid, build_pyramid
from ptypinn.viewer.tiles import TILE_PX, encode_complex_png, encode_scalar_png

MIN_ILLUMINATION = 0.05
"""Pixels with less than this share of the 95th percentile of the illumination are badly lit."""
MAX_SAMPLE_PX = 2**20
"""Limits and histograms are taken on whole rows, evenly spaced, of at most about so many pixels."""
ALL = slice(None)


@dataclass(frozen=True)
class Picture:
    """An object with all its levels and what is known of it as a whole."""

    pyramid: Pyramid
    phase_rad: float
    """Mean phase over well-lit pixels, radians; phases are shown relative to it."""
    lit_from: float
    """Illumination from which a pixel is well lit, photons per pixel."""
    summaries: Mapping[str, LayerSummary]
    """Usual look and histogram of every layer."""

    @property
    def file(self) -> PictureFile:
        """The file it comes from."""
        return self.pyramid.file

    def values(self, layer: str, level: int, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of a real layer at a level, in its unit; of `complex`, the phase."""
        if layer == PHASE_DIFFERENCE:
            return np.angle(self.pyramid.read(QUOTIENT, level, rows, columns))
        if layer not in (PHASE, COMPLEX):
            return self.pyramid.read(AMPLITUDE if layer == DIFFERENCE else layer, level, rows, columns)
        return subtract_phase(self.pyramid.read(OBJECT, level, rows, columns), self.phase_rad)

    def shown(self, level: int, rows: slice, columns: slice, dim: bool = False) -> np.ndarray | None:
        """Which pixels of a rectangle were lit: well, or at all; None where nobody knows."""
        if ILLUMINATION not in self.file.images:
            return None
        light = self.pyramid.read(ILLUMINATION, level, rows, columns)
        return light > 0 if dim else light >= self.lit_from

    def tile(self, layer: str, level: int, row: int, column: int, look: DisplayRange) -> bytes:
        """One tile as a PNG.

        Raises:
            InputError: Where the layer, the level or the tile does not exist.
        """
        self.require(layer)
        if not 0 <= level < self.pyramid.levels:
            raise InputError("level", "", str(level), f"0 to {self.pyramid.levels - 1}")
        height, width = self.pyramid.shape(level)
        if not (0 <= row * TILE_PX < height and 0 <= column * TILE_PX < width):
            found = f"row {row}, column {column}"
            raise InputError("tile", "", found, f"one of an image of {height} x {width} pixels")
        place = tuple(slice(n * TILE_PX, min((n + 1) * TILE_PX, end)) for n, end in ((row, height), (column, width)))
        return self.drawn(layer, level, place[0], place[1], look)

    def drawn(self, layer: str, level: int, rows: slice, columns: slice, look: DisplayRange) -> bytes:
        """A rectangle of a layer as a PNG."""
        values, shown = self.values(layer, level, rows, columns), self.shown(level, rows, columns, look.dim)
        if layer == COMPLEX:
            return encode_complex_png(values, self.pyramid.read(AMPLITUDE, level, rows, columns), shown, look.high)
        return encode_scalar_png(values, shown, (look.low, look.high), look.colours)

    def require(self, layer: str) -> LayerSummary:
        """What is known of a layer.

        Raises:
            InputError: Where there is none of this name.
        """
        if layer not in self.summaries:
            raise InputError("layer", "", repr(layer), f"one of: {', '.join(self.summaries)}")
        return self.summaries[layer]

    def describe(self) -> dict[str, Any]:
        """What a page has to know to draw it; plain values."""
        file = self.file
        return {
            "version": file.version,
            "height": file.shape[0],
            "width": file.shape[1],
            "levels": self.pyramid.levels,
            "tile": TILE_PX,
            "origin_px": list(file.origin_px),
            "pixel_size_m": file.pixel_size_m,
            "phase_rad": self.phase_rad,
            "in_progress": file.in_progress,
            "layers": [
                {"name": name, "label": LAYERS[name][0], "unit": LAYERS[name][1]}
                | {"low": summary.look.low, "high": summary.look.high, "map": summary.look.colours}
                for name, summary in self.summaries.items()
            ],
        }


def open_layers(file: PictureFile, phase_rad: float | None = None) -> Picture:
    """Reduce the images of a file and take the figures that hold for the whole.

    Args:
        file: The images.
        phase_rad: Show phases relative to this one, radians; None for the mean phase.

    Raises:
        OutdatedError: Where the file is replaced meanwhile.
        InputError: Where it cannot be read.
    """
    pyramid, (height, width) = build_pyramid(file), file.shape
    rows = slice(None, None, -(-height * width // MAX_SAMPLE_PX))
    images = {name: file.read(name, rows, ALL) for name in file.images}
    lit_from = _lit_from(images.get(ILLUMINATION))
    lit = images[ILLUMINATION] >= lit_from if ILLUMINATION in images else np.ones(images[OBJECT].shape, bool)
    seen = {name: image[lit][np.isfinite(image[lit])] for name, image in images.items()}
    if phase_rad is None:
        phase_rad = float(np.angle(seen[OBJECT].astype(np.complex128).sum()))
    values = _values(seen, phase_rad)
    summaries = {name: summarise_layer(name, values[name]) for name in LAYERS if name in values}
    return Picture(pyramid, phase_rad, lit_from, summaries)


def _values(seen: Mapping[str, np.ndarray], phase_rad: float) -> dict[str, np.ndarray]:
    """Values of every layer on the pixels that count, from those of the images."""
    amplitude = np.abs(seen[OBJECT])
    if QUOTIENT in seen:
        return {DIFFERENCE: amplitude, PHASE_DIFFERENCE: np.angle(seen[QUOTIENT])}
    values = {AMPLITUDE: amplitude, PHASE: subtract_phase(seen[OBJECT], phase_rad), COMPLEX: amplitude}
    return values | {name: seen[name] for name in (ILLUMINATION, UNCERTAINTY) if name in seen}


def _lit_from(light: np.ndarray | None) -> float:
    """Illumination from which pixels are well lit; above zero, so that what saw no light is left out."""
    least = float(np.finfo(np.float32).tiny)
    if light is None or not (light > 0).any():
        return least
    return max(MIN_ILLUMINATION * float(np.percentile(light[light > 0], 95)), least)


MAX_THUMBNAIL_PX = 2 * 256**2
"""A thumbnail is drawn on a level of at most so many pixels."""


def draw_thumbnail(picture: Picture) -> bytes:
    """The well-lit part of an object as a PNG, phase as hue and amplitude as brightness."""
    level, look = picture.pyramid.fitting(MAX_THUMBNAIL_PX), picture.require(COMPLEX).look
    shown = picture.shown(level, ALL, ALL)
    if shown is None or not shown.any():
        shown = np.ones(picture.pyramid.shape(level), bool)
    return picture.drawn(COMPLEX, level, *bounding_box(shown), look)
