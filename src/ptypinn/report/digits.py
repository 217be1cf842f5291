"""Numbers as people read them."""

from __future__ import annotations

import math

DASH = "–"  # noqa: RUF001 - a dash for people
LARGEST_PLAIN, SMALLEST_POWER, LARGEST_POWER = 1e5, -4, 5
_METRES = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"), (1e-12, "pm"))
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


def metres(length: float, digits: int = 3) -> str:
    """A length with the SI prefix that suits it: `metres(2e-6)` is `2 µm`."""
    scale, unit = next((item for item in _METRES if abs(length) >= item[0] * (1 - 1e-9)), _METRES[-1])
    return f"{length / scale:.{digits}g} {unit}"
