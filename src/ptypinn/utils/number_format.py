"""Numbers and lengths as people read them: in a text, along an axis or a colour bar, and at a scale bar."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DASH = "–"  # noqa: RUF001 - a dash for people
MAX_PLAIN, MIN_POWER, MAX_POWER = 1e5, -4, 5
_METRES = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"), (1e-12, "pm"))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Distances of neighbouring round numbers, times a power of ten."""
ROUNDING = 1e-9
"""Fraction of the span by which a round number may lie outside through rounding."""
NEAR_ONE = (0.98, 1.02, 0.95, 1.05, 0.9, 1.1, 0.8, 1.2, 0.7, 1.5, 0.6)
"""Ticks of an axis of factors beside powers of ten, the most welcome first."""
MAX_PLAIN_DECADE = 2
"""Logarithms up to this size are labelled by the number itself, larger ones by a power of ten."""


def format_number(value: float, digits: int = 4) -> str:
    """Format a number with significant digits, from 100,000 on with a power of ten; a dash for no number.

    >>> format_number(0.0123456), format_number(42.0)
    ('0.01235', '42')
    """
    if not math.isfinite(value):
        return DASH
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if float(value).is_integer() and abs(value) < MAX_PLAIN:
        return f"{value:.0f}"
    if MIN_POWER <= power < MAX_POWER:
        return f"{value:.{max(0, digits - 1 - power)}f}"
    return f"{mantissa} × {format_power_of_ten(power)}"  # noqa: RUF001 - a sign for people


def format_power_of_ten(power: int) -> str:
    """Format a power of ten with its exponent raised.

    >>> format_power_of_ten(-3)
    '10⁻³'
    """
    return f"10{str(power).translate(_RAISED)}"


def format_length(length: float, digits: int = 3) -> str:
    """Format a length in metres with an SI prefix.

    >>> format_length(2e-6)
    '2 µm'
    """
    scale, unit = _find_prefix(length)
    return f"{length / scale:.{digits}g} {unit}"


def format_measured_length(length: float, error: float) -> str:
    """Format a length and its standard error in metres with one SI prefix, to two digits of the error.

    >>> format_measured_length(1.38297e-7, 2.7e-10), format_measured_length(2e-12, 3e-11)
    ('138.30 +- 0.27 nm', '2 +- 30 pm')
    """
    scale, unit = _find_prefix(max(abs(length), error))
    decimals = max(0, 1 - math.floor(math.log10(error / scale))) if error > 0 else 1
    return f"{length / scale:.{decimals}f} +- {error / scale:.{decimals}f} {unit}"


def _find_prefix(length: float) -> tuple[float, str]:
    """Return size, in metres, and symbol of the unit that suits a length."""
    return next((item for item in _METRES if abs(length) >= item[0] * (1 - 1e-9)), _METRES[-1])


def round_values(low: float, high: float, intervals: int = 4, integer: bool = False) -> list[float]:
    """Return round numbers between two ends, at most `intervals` of equal width between them.

    Args:
        low: Lower end.
        high: Upper end, above the lower one.
        intervals: Number of intervals that the span is divided into at most.
        integer: Return whole numbers only.

    >>> round_values(0.0, 1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    >>> round_values(0.4, 6.2, integer=True)
    [2.0, 4.0, 6.0]
    """
    span = high - low
    decade = 10.0 ** math.floor(math.log10(span / intervals))
    widths = [step * decade for step in STEPS if not integer or (step * decade) % 1 == 0] or [1.0]
    width = next((width for width in widths if span / width <= intervals * (1 + ROUNDING)), widths[-1])
    first, last = math.ceil((low - ROUNDING * span) / width), math.floor((high + ROUNDING * span) / width)
    return [count * width for count in range(first, last + 1)]


def log_values(low: float, high: float, intervals: int = 5) -> list[float]:
    """Return round numbers between two positive ends of a logarithmic axis: powers of ten, or 1, 2 and 5 times them.

    >>> log_values(0.5, 2000.0)
    [1.0, 10.0, 100.0, 1000.0]
    >>> log_values(3.0, 60.0)
    [5.0, 10.0, 20.0, 50.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, -(-(last - first) // intervals))
    multiples = (1.0, 2.0, 5.0) if math.log10(high / low) < 2 else (1.0,)
    values = [multiple * 10.0**power for power in range(first, last + 1, stride) for multiple in multiples]
    return [value for value in values if low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING)]


def tick_labels(values: Sequence[float], span: float) -> list[str]:
    """Return labels with as many digits as the values differ in.

    Args:
        values: Round numbers.
        span: Length of the axis, against which rounding errors about zero are dropped.

    >>> tick_labels([-1e-17, 0.05, 0.1], 0.1)
    ['0', '0.05', '0.1']
    """
    exact = [0.0 if abs(value) < ROUNDING * span else value for value in values]
    digits = next((d for d in range(4, 15) if len({f"{value:.{d}g}" for value in exact}) == len(exact)), 15)
    return [_without_exponent(f"{value:.{digits}g}") for value in exact]


def decade_label(logarithm: float) -> str:
    """Return the label of a decimal logarithm: the number itself, or a power of ten where it is long.

    >>> decade_label(2.0), decade_label(4.0)
    ('100', '10⁴')
    """
    return format_power_of_ten(round(logarithm)) if abs(logarithm) > MAX_PLAIN_DECADE else f"{10**logarithm:g}"


def _without_exponent(text: str) -> str:
    mantissa, _, power = text.partition("e")
    return f"{mantissa}×{format_power_of_ten(int(power))}" if power else text  # noqa: RUF001 - a sign for people


def scale_bar(width_px: int, pixel_size_m: float | None) -> tuple[float, str]:
    """Return length in pixels and label of a scale bar: 1, 2 or 5 times a power of ten, up to 0.3 of the width.

    Args:
        width_px: Width of the image, object pixels.
        pixel_size_m: Object pixel, metres; None labels the bar in pixels.

    >>> scale_bar(1000, None)
    (200.0, '200 px')
    """
    pixel = pixel_size_m or 1.0
    target = 0.3 * width_px * pixel
    decade = 10.0 ** math.floor(math.log10(target))
    length = decade * max(step for step in (1.0, 2.0, 5.0) if step * decade <= target * (1 + ROUNDING))
    if pixel_size_m is None:
        return float(max(length, 1.0)), f"{max(length, 1.0):.0f} px"
    return float(length / pixel), format_length(length)


def factor_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two ends, at least a twelfth of the axis apart; 1 is always among them.

    >>> factor_ticks(0.4, 3.0)
    [0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0]
    """
    min_gap = math.log(high / low) / 12
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [base * 10.0**decade for base in (1.0, 2.0, 5.0) for decade in sorted(decades, key=abs)]
    ticks = [1.0]
    for number in [*numbers, *NEAR_ONE]:
        if low <= number <= high and all(abs(math.log(number / tick)) >= min_gap for tick in ticks):
            ticks.append(number)
    return sorted(ticks)


def needs_log_scale(values: np.ndarray) -> bool:
    """Return True if all values are positive and span more than a decade."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and (finite > 0).all() and finite.max() > 10 * finite.min())


def human_size(size: float | int) -> str:
    """Format a number of bytes.

    >>> human_size(1536), human_size(0)
    ('1.54 kB', '0 bytes')
    """
    power = 0 if size < 1 else min(4, int(math.log(size, 1000)))
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
