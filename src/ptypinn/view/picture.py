"""What can be seen of a run: layers of its object in their units, which pixels count, and colour limits that suit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ptypinn.errors import InputError
from ptypinn.report.style import AMPLITUDE_MAP, COUNTS_MAP, CYCLIC_MAP, PHASE_MAP, robust_limits
from ptypinn.view.colours import MAPS
from ptypinn.view.picture_file import LIGHT, OBJECT, UNCERTAINTY, PictureFile
from ptypinn.view.pyramid import AMPLITUDE, Pyramid, build_pyramid
from ptypinn.view.tiles import TILE, complex_png, scalar_png

PHASE, COMPLEX = "phase", "complex"
LAYERS = {
    AMPLITUDE: ("Amplitude", ""),
    PHASE: ("Phase", "rad"),
    COMPLEX: ("Complex: phase as hue, amplitude as brightness", ""),
    LIGHT: ("Illumination", "photons per pixel"),
    UNCERTAINTY: ("Uncertainty", ""),
}
"""Layers by name: label and unit."""
LIT_FRACTION = 0.05
"""Pixels with less than this share of the 95th percentile of the illumination are badly lit."""
STATISTICS_PIXELS = 2**20
"""Limits and histograms are taken on a level of at most so many pixels."""
WHOLE = slice(None)


@dataclass(frozen=True)
class Look:
    """How a layer is drawn."""

    low: float
    """Value of the first colour."""
    high: float
    """Value of the last colour; the brightest amplitude where hue shows the phase."""
    colours: str
    """Colour map."""
    dim: bool = False
    """Show badly lit pixels too."""

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError("limits", "", f"{self.low:g} to {self.high:g}", "two numbers, the lower one first")
        if self.colours not in MAPS:
            raise InputError("map", "", repr(self.colours), f"one of: {', '.join(MAPS)}")


@dataclass(frozen=True)
class Picture:
    """An object with all its levels and what is known of it as a whole."""

    pyramid: Pyramid
    phase_rad: float
    """Mean phase over well-lit pixels, radians; phases are shown relative to it."""
    lit_from: float
    """Illumination from which a pixel is well lit, photons per pixel."""

    @property
    def file(self) -> PictureFile:
        """The file it comes from."""
        return self.pyramid.file

    def layers(self) -> list[str]:
        """Names of the layers that the file has."""
        return [name for name in LAYERS if name in (AMPLITUDE, PHASE, COMPLEX, *self.file.images)]

    def values(self, layer: str, level: int, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of a real layer at a level, in its unit; of `complex`, the phase."""
        if layer not in (PHASE, COMPLEX):
            return self.pyramid.read(layer, level, rows, columns)
        return relative_phase(self.pyramid.read(OBJECT, level, rows, columns), self.phase_rad)

    def shown(self, level: int, rows: slice, columns: slice, dim: bool = False) -> np.ndarray | None:
        """Which pixels of a rectangle were lit: well, or at all; None where nobody knows."""
        if LIGHT not in self.file.images:
            return None
        light = self.pyramid.read(LIGHT, level, rows, columns)
        return light > 0 if dim else light >= self.lit_from

    def tile(self, layer: str, level: int, row: int, column: int, look: Look) -> bytes:
        """One tile as a PNG.

        Raises:
            InputError: Where the layer, the level or the tile does not exist.
        """
        require_layer(self, layer)
        if not 0 <= level < self.pyramid.levels:
            raise InputError("level", "", str(level), f"0 to {self.pyramid.levels - 1}")
        height, width = self.pyramid.shape(level)
        if not (0 <= row * TILE < height and 0 <= column * TILE < width):
            found = f"row {row}, column {column}"
            raise InputError("tile", "", found, f"one of an image of {height} x {width} pixels")
        place = tuple(slice(n * TILE, min((n + 1) * TILE, end)) for n, end in ((row, height), (column, width)))
        return self.drawn(layer, level, place[0], place[1], look)

    def drawn(self, layer: str, level: int, rows: slice, columns: slice, look: Look) -> bytes:
        """A rectangle of a layer as a PNG."""
        values, shown = self.values(layer, level, rows, columns), self.shown(level, rows, columns, look.dim)
        if layer == COMPLEX:
            return complex_png(values, self.pyramid.read(AMPLITUDE, level, rows, columns), shown, look.high)
        return scalar_png(values, shown, (look.low, look.high), look.colours)

    def sample(self, layer: str) -> np.ndarray:
        """Values of a layer over the well-lit pixels, at most about a million of them; of `complex`, the amplitudes."""
        level = self.pyramid.fitting(STATISTICS_PIXELS)
        values = self.values(AMPLITUDE if layer == COMPLEX else layer, level, WHOLE, WHOLE)
        shown = self.shown(level, WHOLE, WHOLE)
        values = values.ravel() if shown is None or not shown.any() else values[shown]
        return values[np.isfinite(values)]

    def usual_look(self, layer: str) -> Look:
        """Limits that leave out half a per cent at either end, and the colour map that suits."""
        low, high = robust_limits(self.sample(layer))
        if layer == PHASE:
            cyclic = high - low > np.pi
            return Look(-np.pi, np.pi, CYCLIC_MAP) if cyclic else Look(low, high, PHASE_MAP)
        if layer in (COMPLEX, LIGHT, UNCERTAINTY):
            return Look(0.0, max(high, 1e-30), COUNTS_MAP if layer == LIGHT else AMPLITUDE_MAP)
        return Look(low, high, AMPLITUDE_MAP)

    def describe(self) -> dict[str, Any]:
        """What a page has to know to draw it; plain values."""
        file = self.file
        looks = {name: self.usual_look(name) for name in self.layers()}
        return {
            "version": file.version,
            "height": file.shape[0],
            "width": file.shape[1],
            "levels": self.pyramid.levels,
            "tile": TILE,
            "origin_px": list(file.origin_px),
            "pixel_size_m": file.pixel_size_m,
            "phase_rad": self.phase_rad,
            "in_progress": file.in_progress,
            "layers": [
                {"name": name, "label": LAYERS[name][0], "unit": LAYERS[name][1]}
                | {"low": look.low, "high": look.high, "map": look.colours}
                for name, look in looks.items()
            ],
        }


def open_layers(file: PictureFile) -> Picture:
    """Reduce the images of a file and take the figures that hold for the whole."""
    pyramid = build_pyramid(file)
    level = pyramid.fitting(STATISTICS_PIXELS)
    lit_from, field = 0.0, pyramid.read(OBJECT, level, WHOLE, WHOLE)
    if LIGHT in file.images:
        light = pyramid.read(LIGHT, level, WHOLE, WHOLE)
        lit_from = LIT_FRACTION * float(np.percentile(light[light > 0], 95)) if (light > 0).any() else 0.0
        field = field[light >= max(lit_from, np.finfo(np.float32).tiny)]
    mean = complex(field[np.isfinite(field)].astype(np.complex128).sum())
    return Picture(pyramid, float(np.angle(mean)), max(lit_from, float(np.finfo(np.float32).tiny)))


def relative_phase(field: np.ndarray, phase_rad: float) -> np.ndarray:
    """Phase relative to a constant one, radians, in [-pi, pi]."""
    return np.angle(field * np.complex64(np.exp(-1j * phase_rad)))


def require_layer(picture: Picture, layer: str) -> None:
    """Raise `InputError` where a picture has no such layer."""
    if layer not in picture.layers():
        raise InputError("layer", "", repr(layer), f"one of: {', '.join(picture.layers())}")
