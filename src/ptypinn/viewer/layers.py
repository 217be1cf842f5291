"""Layers of an object: quantity, unit, default display range, histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptypinn.errors import InputError
from ptypinn.report.figures.colours import (
    AMPLITUDE_MAP,
    COUNTS_MAP,
    amplitude_scale,
    difference_scale,
    phase_scale,
    positive_scale,
)
from ptypinn.viewer.picture_file import ILLUMINATION, UNCERTAINTY
from ptypinn.viewer.pyramid import AMPLITUDE
from ptypinn.viewer.tiles import COLOUR_MAPS

PHASE, COMPLEX = "phase", "complex"
DIFFERENCE, PHASE_DIFFERENCE = "difference", "phase_difference"
LAYERS = {
    AMPLITUDE: ("Amplitude", ""),
    PHASE: ("Phase", "rad"),
    COMPLEX: ("Complex: phase as hue, amplitude as brightness", ""),
    ILLUMINATION: ("Illumination", "photons per pixel"),
    UNCERTAINTY: ("Uncertainty", ""),
    DIFFERENCE: ("Modulus of the complex difference", ""),
    PHASE_DIFFERENCE: ("Phase difference", "rad"),
}
"""Layers by name: label and unit."""
BINS = 128
TAILS = (0.02, 99.98)
"""Percentiles at the ends of a histogram, unless they are far beyond the default limits."""


@dataclass(frozen=True)
class DisplayRange:
    """Colour limits and colour map of a layer."""

    low: float
    """Value of the first colour."""
    high: float
    """Value of the last colour; the brightest amplitude where hue shows the phase."""
    colour_map: str
    """Name of the colour map."""
    weak_pixels: bool = False
    """Show weakly illuminated pixels too."""

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError("limits", "", f"{self.low:g} to {self.high:g}", "two numbers, the lower one first")
        if self.colour_map not in COLOUR_MAPS:
            raise InputError("map", "", repr(self.colour_map), f"one of: {', '.join(COLOUR_MAPS)}")


@dataclass(frozen=True)
class LayerSummary:
    """Statistics of the values of a whole layer."""

    display: DisplayRange
    """Default colour limits and colour map."""
    low: float
    """Lower end of the histogram."""
    high: float
    """Upper end of the histogram."""
    counts: list[int]
    """Pixels in equal bins from `low` to `high`; the outer ones include the values beyond."""


def summarise_layer(layer: str, values: np.ndarray) -> LayerSummary:
    """Return default limits and histogram of a layer.

    Args:
        layer: Its name.
        values: Finite values of illuminated pixels; for `complex`, amplitudes.
    """
    display = default_range(layer, values)
    low, high = (float(end) for end in np.percentile(values, TAILS)) if values.size else (display.low, display.high)
    margin = 0.25 * (display.high - display.low)
    low = min(display.low, max(low, display.low - margin))
    high = max(display.high, min(high, display.high + margin))
    counts, _ = np.histogram(np.clip(values, low, high), BINS, (low, high))
    return LayerSummary(display, low, high, counts.tolist())


def default_range(layer: str, values: np.ndarray) -> DisplayRange:
    """Return limits that exclude half a per cent at either end, and the colour map, as in reports."""
    if layer == PHASE:
        scale = phase_scale(values)
    elif layer == PHASE_DIFFERENCE:
        scale = difference_scale(values)
    elif layer in (COMPLEX, ILLUMINATION, UNCERTAINTY, DIFFERENCE):
        scale = positive_scale(values, name=COUNTS_MAP if layer == ILLUMINATION else AMPLITUDE_MAP)
    else:
        scale = amplitude_scale(values)
    return DisplayRange(scale.low, scale.high, scale.name)


def subtract_phase(field: np.ndarray, phase_rad: float) -> np.ndarray:
    """Return the phase of a field relative to a constant one, radians, in [-pi, pi].

    Examples:
        >>> subtract_phase(np.array([1j], np.complex64), np.pi / 2).round(6).tolist()
        [0.0]
    """
    return np.angle(field * np.complex64(np.exp(-1j * phase_rad)))
