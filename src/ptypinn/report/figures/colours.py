"""Colours: the default colour map of every quantity, colour scales with limits and ticks, and the theme of pages."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from ptypinn.utils.number_format import decade_label, format_number, round_values, tick_labels

AMPLITUDE_MAP = "viridis"
"""Default colour map of amplitudes and of other quantities from zero upwards."""
PHASE_MAP = "cividis"
"""Default colour map of a phase that spans at most half a turn."""
CYCLIC_MAP = "twilight"
"""Default colour map of a phase that spans more than half a turn: both ends have the same colour."""
DIFFERENCE_MAP = "RdBu_r"
"""Default colour map of differences about zero."""
COUNTS_MAP = "magma"
"""Default colour map of counts and photons."""
MAPS = (AMPLITUDE_MAP, PHASE_MAP, CYCLIC_MAP, DIFFERENCE_MAP, COUNTS_MAP)
TABLES = "colour_tables.json"
"""Colours of every map as in matplotlib, hexadecimal, so that matplotlib need not be loaded."""
GRADIENT_STOPS = 17
MAX_LABEL_CHARACTERS = 15
"""Characters of all labels of a colour bar on a phone."""
MIN_PHASE_SPAN = 0.02
"""Span of a phase scale at least, radians, so that rounding does not look like structure."""
_TURN = ((-np.pi, "-π"), (-np.pi / 2, "-π/2"), (0.0, "0"), (np.pi / 2, "π/2"), (np.pi, "π"))
CURVE_COLOURS = ("accent", "second", "third", "fourth", "fifth", "rule")
"""Colours of the curves of a panel, by their names in the theme."""


@dataclass(frozen=True)
class ColourScale:
    """A colour map between two values."""

    name: str
    """Name of the map in matplotlib."""
    low: float
    """Value at its lower end."""
    high: float
    """Value at its upper end."""
    unit: str = ""
    """Unit of the values."""
    decades: bool = False
    """The values are decimal logarithms."""

    @property
    def limits(self) -> tuple[float, float]:
        """Values at the ends."""
        return self.low, self.high

    @property
    def cyclic(self) -> bool:
        """True if both ends mean the same value."""
        return self.name == CYCLIC_MAP

    def colours(self, number: int) -> np.ndarray:
        """Return colours in equal steps from end to end, (number, 3) uint8."""
        return colours_of(self.name, number)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Few round values inside the scale, as percent of its length, with labels that fit beside each other."""
        marks = self.tick_marks(4)
        return marks if sum(len(label) for _, label in marks) <= MAX_LABEL_CHARACTERS else self.tick_marks(2)

    def tick_marks(self, intervals: int) -> list[tuple[float, str]]:
        """Return round values inside the scale, at most `intervals` apart, as percent of its length with labels.

        >>> ColourScale(AMPLITUDE_MAP, 0.0, 2.0).tick_marks(2)
        [(0.0, '0'), (50.0, '1'), (100.0, '2')]
        """
        span = self.high - self.low
        if not (math.isfinite(span) and span > 0):
            return []
        if self.cyclic and span > 1.99 * np.pi:
            values = list(_TURN)
        else:
            numbers = round_values(self.low, self.high, intervals, self.decades)
            labels = [decade_label(value) for value in numbers] if self.decades else tick_labels(numbers, span)
            values = list(zip(numbers, labels, strict=True))
        return [(round(100 * (value - self.low) / span, 2), label) for value, label in values]

    @property
    def ends(self) -> tuple[str, str]:
        """The values at the ends in three digits, without the unit; the counts themselves for logarithms."""
        low, high = (format_number(10**value if self.decades else value, 3) for value in self.limits)
        return low, high

    @property
    def stops(self) -> str:
        """Its colours for a gradient in a style sheet."""
        return stops_of(self.name)


@functools.cache
def colour_table(name: str) -> np.ndarray:
    """Return every colour of a map from its lowest to its highest value, (number, 3) uint8."""
    tables = json.loads((files("ptypinn.report.figures") / TABLES).read_text(encoding="ascii"))
    return np.frombuffer(bytes.fromhex(tables[name]), np.uint8).reshape(-1, 3)


def colours_of(name: str, number: int) -> np.ndarray:
    """Return colours of a map in equal steps from end to end, (number, 3) uint8.

    >>> colours_of("viridis", 2).tolist()
    [[68, 1, 84], [253, 231, 37]]
    """
    table = colour_table(name)
    index = (np.linspace(0, 1, number) * len(table)).astype(int)
    return np.asarray(table[np.minimum(index, len(table) - 1)])


def gradients() -> dict[str, str]:
    """Return the stops of every map, for a style sheet."""
    return {name: stops_of(name) for name in MAPS}


def stops_of(name: str) -> str:
    """Return the stops of a map, for a gradient in a style sheet."""
    return ", ".join("#" + bytes(colour.tolist()).hex() for colour in colours_of(name, GRADIENT_STOPS))


def robust_limits(image: np.ndarray) -> tuple[float, float]:
    """Return the 0.5 and 99.5 percentiles of the finite pixels, set apart where they coincide."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, [0.5, 99.5]))
    return (low, high) if high - low > 1e-6 * max(abs(low), 1e-12) else (low - 0.05, high + 0.05)


def amplitude_scale(amplitude: np.ndarray, unit: str = "") -> ColourScale:
    """Return the scale of an amplitude image over nearly all of its pixels."""
    return ColourScale(AMPLITUDE_MAP, *robust_limits(amplitude), unit)


def phase_scale(phase: np.ndarray) -> ColourScale:
    """Return the scale of a phase image, radians.

    A phase that spans more than half a turn gets a cyclic map over the full turn, so that a wrap is no edge; a smaller
    one gets a sequential map over its span, because the ends of a cyclic map look alike. It spans 0.02 radians at
    least, so that rounding does not look like structure.
    """
    low, high = robust_limits(phase)
    if high - low > np.pi:
        return turn_scale()
    spare = max(0.0, MIN_PHASE_SPAN - (high - low)) / 2
    return ColourScale(PHASE_MAP, low - spare, high + spare, "rad")


def turn_scale() -> ColourScale:
    """Return the scale of a phase that may take any value, radians."""
    return ColourScale(CYCLIC_MAP, -np.pi, np.pi, "rad")


def difference_scale(difference: np.ndarray, unit: str = "", min_reach: float = 0.0) -> ColourScale:
    """Return a scale about zero, as wide as the larger of the two robust limits, and `min_reach` at least.

    >>> difference_scale(np.array([-1.0, 0.0, 2.0]), min_reach=5.0).limits
    (-5.0, 5.0)
    """
    reach = max(*(abs(limit) for limit in robust_limits(difference)), min_reach)
    return ColourScale(DIFFERENCE_MAP, -reach, reach, unit)


def positive_scale(image: np.ndarray, unit: str = "", name: str = COUNTS_MAP) -> ColourScale:
    """Return a scale from zero to the larger of the robust limits."""
    return ColourScale(name, 0.0, max(robust_limits(image)[1], 1e-12), unit)


LIGHT_THEME: dict[str, str] = {
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d9dde2",
    "page": "#f6f7f9",
    "card": "#ffffff",
    "soft": "#e9ecef",
    "rule": "#7d8691",
    "accent": "#0b6e99",
    "second": "#c4571b",
    "third": "#4d7a1f",
    "fourth": "#7a4fa3",
    "fifth": "#94651f",
    "warn-ink": "#7a3b00",
    "warn": "#fff3e0",
    "good-ink": "#1d5c2e",
    "good": "#e8f5ec",
    "open-ink": "#1f4e79",
    "open": "#e9f1f9",
}
"""Colours on a light page by their names in the style sheet."""

DARK_THEME: dict[str, str] = {
    "ink": "#e7eaee",
    "muted": "#a9b2bd",
    "line": "#363d47",
    "page": "#14171b",
    "card": "#1d2127",
    "soft": "#2c323a",
    "rule": "#8a939e",
    "accent": "#58b7e0",
    "second": "#f0935c",
    "third": "#a3cc6b",
    "fourth": "#c6a2e8",
    "fifth": "#d9b06a",
    "warn-ink": "#ffcf94",
    "warn": "#3a2a14",
    "good-ink": "#a8dfb8",
    "good": "#17301f",
    "open-ink": "#a9cdf0",
    "open": "#18293a",
}
"""The same on a dark page."""

THEME_VARIABLES: dict[str, str] = {
    LIGHT_THEME[name]: f"var(--{name})"
    for name in ("ink", "muted", "card", "soft", "rule", "accent", "second", "third", "fourth", "fifth")
} | {"#000000": "var(--ink)"}
"""Variable of the style sheet that replaces each colour of a figure in a drawing on a page."""
