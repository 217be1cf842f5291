"""Entries of the scale ledger: for each stage between counts and object, the expected and the measured factor."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np

EARLIER_KEYS = {"by_light": "illumination_weighted", "chance": "counting_tolerance"}
"""Keys in files of version 0.1, and the fields that hold their values."""


@dataclass(frozen=True)
class Stats:
    """Statistics of the output of a stage; those of complex numbers are of the modulus."""

    shape: tuple[int, ...]
    """Shape of the tensors, the first axis summed over all of them."""
    dtype: str
    """Number type."""
    minimum: float | None
    """Smallest value."""
    mean: float | None
    """Mean."""
    maximum: float | None
    """Largest value."""
    std: float | None
    """Standard deviation."""
    non_finite: int
    """Values that are infinite or not a number; where there are any, the other statistics are None."""
    at_ceiling: float | None = None
    """Fraction of values within 0.1 % of the largest of their batch; a large one means that an output saturates."""

    @property
    def rms(self) -> float | None:
        """Root mean square."""
        return None if self.mean is None or self.std is None else math.hypot(self.mean, self.std)

    @classmethod
    def from_json(cls, record: object) -> Stats:
        """Read statistics from their JSON form.

        Raises:
            ValueError: If the record has another form.
        """
        return cls(**_read_fields(cls, record))


def compute_stats(values: np.ndarray) -> Stats:
    """Compute the statistics of an array; of complex numbers, those of the modulus.

    >>> stats = compute_stats(np.array([[3.0, 4.0]]))
    >>> stats.shape, stats.mean, stats.maximum
    ((1, 2), 3.5, 4.0)
    """
    moduli = np.abs(values) if np.iscomplexobj(values) else values
    finite = np.isfinite(moduli)
    shape, dtype, bad = tuple(values.shape), str(values.dtype), int(finite.size - finite.sum())
    if bad or not finite.size:
        return Stats(shape, dtype, None, None, None, None, bad)
    extremes_and_mean = (float(moduli.min()), float(moduli.mean(dtype=np.float64)), float(moduli.max()))
    return Stats(shape, dtype, *extremes_and_mean, float(moduli.std(dtype=np.float64)), 0)


@dataclass(frozen=True)
class LedgerEntry:
    """Effect of one stage on amplitudes."""

    stage: str
    """Name of the stage, in the order from counts to object."""
    expected: float
    """Amplitude, or amplitude factor, that the stage should pass on."""
    measured: float
    """Amplitude, or amplitude factor, that it passed on."""
    source: str
    """Origin of both numbers, in words."""
    inverse: bool = False
    """True if the object's amplitude falls as this number rises, as with the power of the probe."""
    on_path: bool = True
    """True if the factor reaches the object; a factor on the input of the network does not."""
    illumination_weighted: float | None = None
    """Root mean square weighted by the illumination, where `measured` is a plain mean."""
    counting_tolerance: float = 0.0
    """Relative deviation that counting statistics alone explain, four standard errors."""
    note: str = ""
    """Explanation of a discrepancy, such as that the values are no photon counts; empty for none."""
    stats: Stats | None = None
    """Statistics of what the stage passed on, where they were recorded."""

    @property
    def discrepancy(self) -> float:
        """Factor on the object's amplitude, `measured / expected` or its inverse; 1 preserves the scale."""
        above, below = (self.expected, self.measured) if self.inverse else (self.measured, self.expected)
        if not below:
            return math.inf if above else 1.0
        return above / below

    def as_json(self) -> dict[str, Any]:
        """Return the entry in JSON form, with its discrepancy; values that are not finite are None."""
        plain = {**asdict(self), "discrepancy": self.discrepancy}
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in plain.items()
        }

    @classmethod
    def from_json(cls, record: object) -> LedgerEntry:
        """Read an entry that `as_json` wrote; a number that was not finite, and None there, becomes NaN.

        Raises:
            ValueError: If the record has another form.
        """
        if isinstance(record, Mapping):
            record = {EARLIER_KEYS.get(key, key): value for key, value in record.items()}
        values = _read_fields(cls, record)
        for name in ("expected", "measured", "illumination_weighted"):
            if (values.get(name) or 0.0) < 0:
                raise ValueError(f"{name}: found {values[name]}, expected no negative amplitude")
        return cls(**values)


def count_unreadable_entries(records: object) -> int:
    """Count the entries of a recorded ledger that cannot be read; a record that is no list counts as one."""
    if records is None or records == []:
        return 0
    return sum(not _is_readable(record) for record in records) if isinstance(records, list | tuple) else 1


def _is_readable(record: object) -> bool:
    try:
        LedgerEntry.from_json(record)
    except ValueError:
        return False
    return True


def multiply_discrepancies(entries: Iterable[LedgerEntry]) -> float:
    """Return the product of the discrepancies on the path: the total factor on the object's amplitude.

    >>> entries = [LedgerEntry("loading", 2.0, 4.0, ""), LedgerEntry("probe", 1.0, 2.0, "", inverse=True)]
    >>> multiply_discrepancies(entries)
    1.0
    """
    return math.prod((entry.discrepancy for entry in entries if entry.on_path), start=1.0)


def _read_fields(kind: type, record: object) -> dict[str, Any]:
    """Read the fields of a dataclass from a JSON record, each of its declared type; other keys are left out."""
    if not isinstance(record, Mapping):
        raise ValueError(f"found {type(record).__name__}, expected a mapping")
    values = {}
    for field in fields(kind):
        if field.name in record:
            try:
                values[field.name] = READERS[str(field.type)](record[field.name])
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{field.name}: {error}") from None
        elif field.default is MISSING:
            raise ValueError(f"{field.name}: found nothing, expected {field.type}")
    return values


def _require_type(kind: type, value: object) -> Any:
    if type(value) is not kind:
        raise TypeError(f"found {type(value).__name__}, expected {kind.__name__}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"found {type(value).__name__}, expected a number")
    return float(value)


def _lengths(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"found {type(value).__name__}, expected whole numbers")
    return tuple(_require_type(int, length) for length in value)


READERS: dict[str, Callable[[Any], Any]] = {
    "str": functools.partial(_require_type, str),
    "bool": functools.partial(_require_type, bool),
    "int": functools.partial(_require_type, int),
    "float": lambda value: math.nan if value is None else _number(value),
    "float | None": lambda value: None if value is None else _number(value),
    "tuple[int, ...]": _lengths,
    "Stats | None": lambda value: None if value is None else Stats.from_json(value),
}
"""Reader of a value, by the annotation of its field."""


def parse_entries(records: object) -> dict[str, LedgerEntry]:
    """Return the entries of a recorded ledger by stage; records of another form are left out."""
    entries: dict[str, LedgerEntry] = {}
    for record in records if isinstance(records, list | tuple) else ():
        try:
            entry = LedgerEntry.from_json(record)
        except (KeyError, TypeError, ValueError):
            continue
        entries[entry.stage] = entry
    return entries
