"""Statistics of what flows through a network, gathered on the device and copied off it once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptypinn.scale.ledger import Stats

CEILING = 0.999
SUMMED = 5
"""The first figures add up over batches: number, sum, sum of squares, not finite, at the ceiling; the others do not."""


class Tape:
    """Running statistics by stage: noting values never changes a result, and never waits for a device.

    Where values are complex, their modulus counts. To look costs time: of every stage one tensor in `every` is seen,
    the first among them, and of that the first `rows`, except where everything is asked for.
    """

    def __init__(self, every: int = 8, rows: int = 32) -> None:
        self._every, self._rows, self._calls = every, rows, dict[str, int]()
        self._sums: dict[str, Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, str] = {}

    @torch.no_grad()
    def note(self, stage: str, values: Tensor, each: bool = False) -> None:
        """Add a tensor, (batch, ...), to the statistics of a stage.

        Args:
            stage: Name of the stage.
            values: What it hands on.
            each: See every tensor of this stage.
        """
        calls = self._calls[stage] = self._calls.get(stage, -1) + 1
        if calls % self._every and not each:
            return
        values = values if each else values[: self._rows]
        found = _reduce(values.detach())
        if stage in self._sums:
            before = self._sums[stage]
            extremes = torch.minimum(before[SUMMED:], found[SUMMED:])
            found = torch.cat([before[:SUMMED] + found[:SUMMED], extremes])
        self._sums[stage], self._dtypes[stage] = found, str(values.dtype).removeprefix("torch.")
        self._shapes[stage] = (self._shapes.get(stage, (0,))[0] + values.shape[0], *values.shape[1:])

    def clear(self) -> None:
        """Forget everything."""
        for kept in (self._calls, self._sums, self._shapes, self._dtypes):
            kept.clear()

    def read(self) -> dict[str, Stats]:
        """The statistics so far, by stage: the one copy from the device."""
        if not self._sums:
            return {}
        rows = torch.stack(list(self._sums.values())).tolist()
        return {
            stage: _stats(row, self._shapes[stage], self._dtypes[stage])
            for stage, row in zip(self._sums, rows, strict=True)
        }


def _reduce(values: Tensor) -> Tensor:
    moduli = (values.real.square() + values.imag.square()).sqrt() if values.is_complex() else values
    low, high = torch.aminmax(moduli)
    total = moduli.sum(dtype=torch.float64)
    squares = torch.linalg.vector_norm(moduli, dtype=torch.float64).square()
    count = torch.full_like(total, moduli.numel())
    bad = count - torch.count_nonzero(moduli.abs() < math.inf)
    ceiling = torch.count_nonzero(moduli >= CEILING * high).double()
    return torch.stack([count, total, squares, bad, ceiling, low.double(), -high.double()])


def _stats(row: list[float], shape: tuple[int, ...], dtype: str) -> Stats:
    count, total, squares, bad, ceiling, low, minus_high = row
    if bad or not count:
        return Stats(shape, dtype, None, None, None, None, int(bad))
    mean = total / count
    return Stats(
        shape, dtype, low, mean, -minus_high, math.sqrt(max(squares / count - mean**2, 0.0)), 0, ceiling / count
    )
