"""Numbers and lengths as people read them."""

from __future__ import annotations

import math

DASH = "–"  # noqa: RUF001 - a dash for people
MAX_PLAIN, MIN_POWER, MAX_POWER = 1e5, -4, 5
_METRES = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"), (1e-12, "pm"))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
    scale, unit = next((item for item in _METRES if abs(length) >= item[0] * (1 - 1e-9)), _METRES[-1])
    return f"{length / scale:.{digits}g} {unit}"
