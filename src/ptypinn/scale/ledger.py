"""One line per stage between counts and object: the factor it should apply, and the factor it was found to apply."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
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
    def from_json(cls, record: Mapping[str, Any]) -> Stats:
        """Statistics from their plain form."""
        return cls(**{**record, "shape": tuple(record["shape"])})


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
    stats: Stats | None = None
    """What the stage handed on, where tensors were seen."""

    @property
    def discrepancy(self) -> float:
        """Factor on the object's amplitude, `measured / expected` or its inverse: 1 where the stage keeps the scale."""
        above, below = (self.expected, self.measured) if self.inverse else (self.measured, self.expected)
        return above / below if below else math.inf

    def as_json(self) -> dict[str, Any]:
        """Plain entry with its discrepancy; values that are not finite are None."""
        plain = {**asdict(self), "discrepancy": self.discrepancy}
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in plain.items()
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LedgerEntry:
        """An entry that `as_json` wrote; None becomes NaN.

        Raises:
            KeyError, TypeError, ValueError: Where the record is something else.
        """
        known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        for name in ("expected", "measured"):
            known[name] = math.nan if known[name] is None else float(known[name])
        known["stats"] = Stats.from_json(known["stats"]) if known.get("stats") else None
        return cls(**known)


def product(entries: Iterable[LedgerEntry]) -> float:
    """Product of the discrepancies on the path: what happened to the object's amplitude in all."""
    return math.prod((entry.discrepancy for entry in entries if entry.on_path), start=1.0)
