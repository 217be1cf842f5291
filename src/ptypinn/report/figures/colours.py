"""Colour scales of pictures: perceptually uniform maps, and what the values at their ends are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ptypinn.report.text.metric_labels import digits_of, power_of_ten

AMPLITUDE_MAP = "viridis"
PHASE_MAP = "cividis"
CYCLIC_MAP = "twilight"
DIFFERENCE_MAP = "RdBu_r"
COUNTS_MAP = "magma"
MAPS = (AMPLITUDE_MAP, PHASE_MAP, CYCLIC_MAP, DIFFERENCE_MAP, COUNTS_MAP)
STOPS = 17
LEAST_PHASE_SPAN = 0.02
_TURN = ((-np.pi, "-π"), (-np.pi / 2, "-π/2"), (0.0, "0"), (np.pi / 2, "π/2"), (np.pi, "π"))


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
        """Whether both ends mean the same."""
        return self.name == CYCLIC_MAP

    def colours(self, number: int) -> np.ndarray:
        """Colours in equal steps from end to end, (number, 3) uint8."""
        return colours_of(self.name, number)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Round values inside the scale, as percent of its length, with their labels."""
        span = self.high - self.low
        if not (math.isfinite(span) and span > 0):
            return []
        if self.cyclic and span > 1.99 * np.pi:
            values = [(value, label) for value, label in _TURN]
        else:
            found = self._round_values()
            values = list(zip(found, self._labels(found), strict=True))
        return [(round(100 * (value - self.low) / span, 2), label) for value, label in values]

    @property
    def ends(self) -> tuple[str, str]:
        """The values at the ends in three digits, without the unit; those behind logarithms."""
        low, high = (digits_of(10**value if self.decades else value, 3) for value in self.limits)
        return low, high

    @property
    def stops(self) -> str:
        """Its colours for a gradient in a style sheet."""
        return stops_of(self.name)

    def _round_values(self) -> list[float]:
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], integer=self.decades).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(value) for value in found if self.low - slack <= value <= self.high + slack]

    def _labels(self, values: list[float]) -> list[str]:
        """Labels with as many digits as tell them apart."""
        if self.decades:
            return [power_of_ten(round(value)) if abs(value) > 2 else f"{10**value:g}" for value in values]
        least = 1e-9 * (self.high - self.low)
        exact = [0.0 if abs(value) < least else value for value in values]
        digits = next((d for d in range(4, 15) if len({f"{value:.{d}g}" for value in exact}) == len(exact)), 15)
        return [_plain(f"{value:.{digits}g}") for value in exact]


def _plain(text: str) -> str:
    """A number without the letter e."""
    mantissa, _, power = text.partition("e")
    return f"{mantissa}×{power_of_ten(int(power))}" if power else text  # noqa: RUF001 - a sign for people


def colours_of(name: str, number: int) -> np.ndarray:
    """Colours of a map in equal steps from end to end, (number, 3) uint8."""
    from matplotlib import colormaps

    return np.asarray(np.round(255 * colormaps[name](np.linspace(0, 1, number))[:, :3]), np.uint8)


def gradients() -> dict[str, str]:
    """The stops of every map, for a style sheet."""
    return {name: stops_of(name) for name in MAPS}


def stops_of(name: str) -> str:
    """The stops of a map, for a gradient in a style sheet."""
    return ", ".join("#" + bytes(colour.tolist()).hex() for colour in colours_of(name, STOPS))


def robust_limits(image: np.ndarray) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of the finite pixels, set apart where they coincide."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, [0.5, 99.5]))
    return (low, high) if high - low > 1e-6 * max(abs(low), 1e-12) else (low - 0.05, high + 0.05)


def amplitude_scale(amplitude: np.ndarray, unit: str = "") -> ColourScale:
    """Scale of an amplitude image over nearly all of its pixels."""
    return ColourScale(AMPLITUDE_MAP, *robust_limits(amplitude), unit)


def phase_scale(phase: np.ndarray) -> ColourScale:
    """Scale of a phase image, radians.

    A phase that spans more than half a turn gets a cyclic map over the full turn, so that a wrap is no edge; a smaller
    one gets a sequential map over its span, because the ends of a cyclic map look alike. It spans 0.02 radians at
    least, so that rounding does not look like structure.
    """
    low, high = robust_limits(phase)
    if high - low > np.pi:
        return turn_scale()
    spare = max(0.0, LEAST_PHASE_SPAN - (high - low)) / 2
    return ColourScale(PHASE_MAP, low - spare, high + spare, "rad")


def turn_scale() -> ColourScale:
    """Scale of a phase that may take any value, radians."""
    return ColourScale(CYCLIC_MAP, -np.pi, np.pi, "rad")


def difference_scale(difference: np.ndarray, unit: str = "", least: float = 0.0) -> ColourScale:
    """Scale about zero, as wide as the larger of the two robust limits, and `least` at least."""
    reach = max(*(abs(limit) for limit in robust_limits(difference)), least)
    return ColourScale(DIFFERENCE_MAP, -reach, reach, unit)


def positive_scale(image: np.ndarray, unit: str = "", name: str = COUNTS_MAP) -> ColourScale:
    """Scale from zero to the larger of the robust limits."""
    return ColourScale(name, 0.0, max(robust_limits(image)[1], 1e-12), unit)
