"""Numbers as people read them."""

from __future__ import annotations

import math

DASH = "–"  # noqa: RUF001 - a dash for people
LARGEST_PLAIN, SMALLEST_POWER, LARGEST_POWER = 1e5, -4, 5
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits_of(value: float, digits: int = 4) -> str:
    """Significant digits, with a power of ten from 100,000 on, smaller whole numbers in full; a dash for no number."""
    if not math.isfinite(value):
        return DASH
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if float(value).is_integer() and abs(value) < LARGEST_PLAIN:
        return f"{value:.0f}"
    if SMALLEST_POWER <= power < LARGEST_POWER:
        return f"{value:.{max(0, digits - 1 - power)}f}"
    return f"{mantissa} × {power_of_ten(power)}"  # noqa: RUF001 - a sign for people


def power_of_ten(power: int) -> str:
    """A power of ten with its exponent raised."""
    return f"10{str(power).translate(_RAISED)}"
