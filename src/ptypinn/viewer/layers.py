"""Layers of an object: what each shows, in which unit, and the colours that suit its values."""

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
"""Percentiles between which a histogram reaches, unless that is far beyond the usual limits."""


@dataclass(frozen=True)
class DisplayRange:
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
        if self.colours not in COLOUR_MAPS:
            raise InputError("map", "", repr(self.colours), f"one of: {', '.join(COLOUR_MAPS)}")


@dataclass(frozen=True)
class LayerSummary:
    """What is known of the values of a layer as a whole."""

    look: DisplayRange
    """How it is usually drawn."""
    low: float
    """Where its histogram begins."""
    high: float
    """Where its histogram ends."""
    counts: list[int]
    """Pixels in equal bins from `low` to `high`; the outer ones hold what lies beyond too."""


def summarise_layer(layer: str, values: np.ndarray) -> LayerSummary:
    """Usual limits and histogram of a layer.

    Args:
        layer: Its name.
        values: Finite values of pixels that count; amplitudes, of `complex`.
    """
    look = default_range(layer, values)
    low, high = (float(end) for end in np.percentile(values, TAILS)) if values.size else (look.low, look.high)
    margin = 0.25 * (look.high - look.low)
    low, high = min(look.low, max(low, look.low - margin)), max(look.high, min(high, look.high + margin))
    counts, _ = np.histogram(np.clip(values, low, high), BINS, (low, high))
    return LayerSummary(look, low, high, counts.tolist())


def default_range(layer: str, values: np.ndarray) -> DisplayRange:
    """Limits that leave out half a per cent at either end, and the colour map that suits, as in reports."""
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
    """Phase relative to a constant one, radians, in [-pi, pi]."""
    return np.angle(field * np.complex64(np.exp(-1j * phase_rad)))
