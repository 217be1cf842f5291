"""Picture of a run: layers of its object as tiles, and the mask of illuminated pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptypinn.errors import InputError
from ptypinn.metrics.image import bounding_box
from ptypinn.physics.optics import typical_illumination
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
"""Pixels below this fraction of the 95th percentile of the illumination are weakly illuminated."""
MAX_SAMPLE_PX = 2**20
"""Limits and histograms are computed on evenly spaced rows with about so many pixels at most."""
MAX_SNAPSHOT_SAMPLE_PX = 2**16
"""The same for snapshots, which are replaced several times a second."""
ALL = slice(None)


@dataclass(frozen=True)
class Picture:
    """An object with all its levels and the statistics of its layers."""

    pyramid: Pyramid
    phase_rad: float
    """Mean phase over well-illuminated pixels, radians; phases are shown relative to it."""
    min_illumination: float
    """Illumination of a well-illuminated pixel, at least; photons per pixel."""
    summaries: Mapping[str, LayerSummary]
    """Default display range and histogram of every layer."""

    @property
    def file(self) -> PictureFile:
        """The file of the object."""
        return self.pyramid.file

    def values(self, layer: str, level: int, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of a layer at a level, in its unit; for `complex`, the phase."""
        if layer == PHASE_DIFFERENCE:
            return np.angle(self.pyramid.read(QUOTIENT, level, rows, columns))
        if layer not in (PHASE, COMPLEX):
            return self.pyramid.read(AMPLITUDE if layer == DIFFERENCE else layer, level, rows, columns)
        return subtract_phase(self.pyramid.read(OBJECT, level, rows, columns), self.phase_rad)

    def illumination_mask(self, level: int, rows: slice, columns: slice, weak: bool = False) -> np.ndarray | None:
        """Return the mask of well-illuminated pixels, or with `weak` of all illuminated ones; None where unknown."""
        if ILLUMINATION not in self.file.images:
            return None
        illumination = self.pyramid.read(ILLUMINATION, level, rows, columns)
        return illumination > 0 if weak else illumination >= self.min_illumination

    def tile(self, layer: str, level: int, row: int, column: int, display: DisplayRange) -> bytes:
        """Return one tile as a PNG.

        Raises:
            InputError: Where the layer, the level or the tile does not exist.
        """
        self.require(layer)
        if not 0 <= level < self.pyramid.levels:
            raise InputError("level", "", str(level), f"0 to {self.pyramid.levels - 1}")
        height, width = self.pyramid.shape(level)
        if not (0 <= row * TILE_PX < height and 0 <= column * TILE_PX < width):
            raise InputError("tile", "", f"row {row}, column {column}", f"one of an image of {height} x {width} pixels")
        area = tuple(slice(n * TILE_PX, min((n + 1) * TILE_PX, end)) for n, end in ((row, height), (column, width)))
        return self.draw(layer, level, area[0], area[1], display)

    def draw(self, layer: str, level: int, rows: slice, columns: slice, display: DisplayRange) -> bytes:
        """Return a rectangle of a layer as a PNG."""
        values = self.values(layer, level, rows, columns)
        shown = self.illumination_mask(level, rows, columns, display.weak_pixels)
        if layer == COMPLEX:
            return encode_complex_png(values, self.pyramid.read(AMPLITUDE, level, rows, columns), shown, display.high)
        return encode_scalar_png(values, shown, (display.low, display.high), display.colour_map)

    def require(self, layer: str) -> LayerSummary:
        """Return the statistics of a layer.

        Raises:
            InputError: Where there is no layer with this name.
        """
        if layer not in self.summaries:
            raise InputError("layer", "", repr(layer), f"one of: {', '.join(self.summaries)}")
        return self.summaries[layer]

    def describe(self) -> dict[str, Any]:
        """Return the description of the picture for a page; plain values."""
        file = self.file
        return {
            "version": file.key,
            "slices": file.slices,
            "slice": file.shown_slice,
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
                | {"low": summary.display.low, "high": summary.display.high, "map": summary.display.colour_map}
                for name, summary in self.summaries.items()
            ],
        }


def open_layers(file: PictureFile, phase_rad: float | None = None) -> Picture:
    """Reduce the images of a file and compute the statistics of its layers.

    Args:
        file: The images.
        phase_rad: Reference phase, radians; None for the mean phase.

    Raises:
        OutdatedError: Where the file is replaced meanwhile.
        InputError: Where it cannot be read.
    """
    pyramid, (height, width) = build_pyramid(file), file.shape
    most = MAX_SNAPSHOT_SAMPLE_PX if file.in_progress else MAX_SAMPLE_PX
    rows = slice(None, None, -(-height * width // most))
    images = {name: file.read(name, rows, ALL) for name in file.images}
    threshold = _illumination_threshold(images.get(ILLUMINATION))
    mask = images[ILLUMINATION] >= threshold if ILLUMINATION in images else np.ones(images[OBJECT].shape, bool)
    samples = {name: image[mask][np.isfinite(image[mask])] for name, image in images.items()}
    if phase_rad is None:
        phase_rad = float(np.angle(samples[OBJECT].astype(np.complex128).sum()))
    values = _layer_values(samples, phase_rad)
    summaries = {name: summarise_layer(name, values[name]) for name in LAYERS if name in values}
    return Picture(pyramid, phase_rad, threshold, summaries)


def _layer_values(samples: Mapping[str, np.ndarray], phase_rad: float) -> dict[str, np.ndarray]:
    """Return the values of every layer on sampled pixels, from those of the images."""
    amplitude = np.abs(samples[OBJECT])
    if QUOTIENT in samples:
        return {DIFFERENCE: amplitude, PHASE_DIFFERENCE: np.angle(samples[QUOTIENT])}
    values = {AMPLITUDE: amplitude, PHASE: subtract_phase(samples[OBJECT], phase_rad), COMPLEX: amplitude}
    return values | {name: samples[name] for name in (ILLUMINATION, UNCERTAINTY) if name in samples}


def _illumination_threshold(illumination: np.ndarray | None) -> float:
    """Return the minimum illumination of a well-illuminated pixel; positive, which excludes pixels without photons."""
    tiny = float(np.finfo(np.float32).tiny)
    if illumination is None or not (illumination > 0).any():
        return tiny
    return max(MIN_ILLUMINATION * float(typical_illumination(illumination)), tiny)


MAX_THUMBNAIL_PX = 2 * 256**2
"""Maximum number of pixels of a thumbnail."""


def draw_thumbnail(picture: Picture) -> bytes:
    """Return the well-illuminated part of an object as a PNG, phase as hue and amplitude as brightness."""
    level = picture.pyramid.finest_level(MAX_THUMBNAIL_PX)
    mask = picture.illumination_mask(level, ALL, ALL)
    if mask is None or not mask.any():
        mask = np.ones(picture.pyramid.shape(level), bool)
    return picture.draw(COMPLEX, level, *bounding_box(mask), picture.require(COMPLEX).display)
