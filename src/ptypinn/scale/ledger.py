"""One line per stage between counts and object: the factor it should apply, and the factor it was found to apply."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stats:
    """What a stage handed on; of complex numbers, every figure is that of the modulus."""

    shape: tuple[int, ...]
    """Shape of the tensors, the first axis summed over all of them."""
    dtype: str
    """Number type."""
    minimum: float | None
    """Least value."""
    mean: float | None
    """Mean."""
    maximum: float | None
    """Largest value."""
    std: float | None
    """Standard deviation."""
    non_finite: int
    """Values that are infinite or not a number; where there are any, the other figures are None."""
    at_ceiling: float | None = None
    """Share of values within a thousandth of the largest of their batch; much of it means that an output saturates."""

    @property
    def rms(self) -> float | None:
        """Root mean square."""
        return None if self.mean is None or self.std is None else math.hypot(self.mean, self.std)

    @classmethod
    def from_json(cls, record: object) -> Stats:
        """Statistics from their plain form.

        Raises:
            ValueError: Where the record is something else.
        """
        return cls(**_fields_of(cls, record))


def stats_of(values: np.ndarray) -> Stats:
    """Statistics of an array; of complex numbers, those of the modulus."""
    moduli = np.abs(values) if np.iscomplexobj(values) else values
    finite = np.isfinite(moduli)
    shape, dtype, bad = tuple(values.shape), str(values.dtype), int(finite.size - finite.sum())
    if bad or not finite.size:
        return Stats(shape, dtype, None, None, None, None, bad)
    figures = (float(moduli.min()), float(moduli.mean(dtype=np.float64)), float(moduli.max()))
    return Stats(shape, dtype, *figures, float(moduli.std(dtype=np.float64)), 0)


@dataclass(frozen=True)
class LedgerEntry:
    """What one stage does to amplitudes."""

    stage: str
    """Name of the stage, in the order from counts to object."""
    expected: float
    """Amplitude, or amplitude factor, that the stage should hand on."""
    measured: float
    """What it handed on."""
    source: str
    """How both were obtained."""
    inverse: bool = False
    """The object's amplitude falls as this figure rises, as with the power of the probe."""
    on_path: bool = True
    """Whether the factor reaches the object; what only conditions the network does not."""
    by_light: float | None = None
    """The measured figure as root mean square weighted by the illumination, where `measured` is a plain mean."""
    chance: float = 0.0
    """Relative deviation that counting statistics alone explain."""
    note: str = ""
    """What the numbers themselves say, such as that they are no photon counts."""
    stats: Stats | None = None
    """What the stage handed on, where tensors were seen."""

    @property
    def discrepancy(self) -> float:
        """Factor on the object's amplitude, `measured / expected` or its inverse: 1 where the stage keeps the scale."""
        above, below = (self.expected, self.measured) if self.inverse else (self.measured, self.expected)
        if not below:
            return math.inf if above else 1.0
        return above / below

    def as_json(self) -> dict[str, Any]:
        """Plain entry with its discrepancy; values that are not finite are None."""
        plain = {**asdict(self), "discrepancy": self.discrepancy}
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in plain.items()
        }

    @classmethod
    def from_json(cls, record: object) -> LedgerEntry:
        """An entry that `as_json` wrote; a number that was not finite, and None there, becomes NaN.

        Raises:
            ValueError: Where the record is something else.
        """
        known = _fields_of(cls, record)
        for name in ("expected", "measured", "by_light"):
            if (known.get(name) or 0.0) < 0:
                raise ValueError(f"{name}: found {known[name]}, expected no negative amplitude")
        return cls(**known)


def unreadable_entries(records: object) -> int:
    """How many entries of a ledger as it is kept in files cannot be read; what is no list counts as one."""
    if records is None or records == []:
        return 0
    return sum(not _readable(record) for record in records) if isinstance(records, list | tuple) else 1


def _readable(record: object) -> bool:
    try:
        LedgerEntry.from_json(record)
    except ValueError:
        return False
    return True


def product(entries: Iterable[LedgerEntry]) -> float:
    """Product of the discrepancies on the path: what happened to the object's amplitude in all."""
    return math.prod((entry.discrepancy for entry in entries if entry.on_path), start=1.0)


def _fields_of(kind: type, record: object) -> dict[str, Any]:
    """Values of a dataclass from a plain record, each of the type that its field has; unknown names are left out."""
    if not isinstance(record, Mapping):
        raise ValueError(f"found {type(record).__name__}, expected a mapping")
    known = {}
    for field in fields(kind):
        if field.name in record:
            try:
                known[field.name] = READERS[str(field.type)](record[field.name])
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{field.name}: {error}") from None
        elif field.default is MISSING:
            raise ValueError(f"{field.name}: found none, expected {field.type}")
    return known


def _exactly(kind: type) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        if type(value) is not kind:
            raise TypeError(f"found {type(value).__name__}, expected {kind.__name__}")
        return value

    return read


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"found {type(value).__name__}, expected a number")
    return float(value)


def _lengths(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"found {type(value).__name__}, expected whole numbers")
    return tuple(_exactly(int)(length) for length in value)


READERS: dict[str, Callable[[Any], Any]] = {
    "str": _exactly(str),
    "bool": _exactly(bool),
    "int": _exactly(int),
    "float": lambda value: math.nan if value is None else _number(value),
    "float | None": lambda value: None if value is None else _number(value),
    "tuple[int, ...]": _lengths,
    "Stats | None": lambda value: None if value is None else Stats.from_json(value),
}
"""What reads a value, by the annotation of its field."""
