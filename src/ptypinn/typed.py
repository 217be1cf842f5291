"""Values of a record that another version or another program may have written: as declared, or None."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any) -> int | float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond any float
        return None


def count(value: Any) -> int | None:
    """A whole number of at least 0; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and float(found).is_integer() else None


def flag(value: Any) -> bool | None:
    """True or false; None for anything else."""
    return value if isinstance(value, bool) else None


def text(value: Any) -> str | None:
    """A text on one line; None for anything else."""
    return " ".join(value.split()) if isinstance(value, str) else None
