"""Plain values: what JSON and YAML hold of configurations and results, and what is read from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def to_plain(value: Any) -> Any:
    """Return plain dictionaries, lists, texts and numbers; a float that is not finite becomes None.

    Args:
        value: Dataclasses, mappings, sequences, paths, numpy or torch scalars and arrays, to any depth.

    Raises:
        TypeError: For anything else.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return _plain_number(value)


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "detach"):
        unpacked = value.tolist()
        return to_plain(unpacked) if not isinstance(unpacked, int) else unpacked
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value
    raise TypeError(f"{type(value).__name__} has no plain form")


def number(value: Any) -> int | float | None:
    """Return a finite number as it is; None for anything else.

    >>> number(3.5), number("3.5"), number(float("nan"))
    (3.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond any float
        return None


def count(value: Any) -> int | None:
    """Return a whole number of at least 0; None for anything else.

    >>> count(4.0), count(-1), count(2.5)
    (4, None, None)
    """
    finite = number(value)
    return int(finite) if finite is not None and finite >= 0 and float(finite).is_integer() else None


def flag(value: Any) -> bool | None:
    """Return a truth value as it is; None for anything else."""
    return value if isinstance(value, bool) else None


def text(value: Any) -> str | None:
    """Return a text on one line; None for anything else."""
    return " ".join(value.split()) if isinstance(value, str) else None
