"""Running statistics of tensors in a network, gathered on the device and copied to the host once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptypinn.scale.ledger_entry import Stats

CEILING = 0.999
"""Values above this fraction of the largest of their batch are at the ceiling."""
N_SUMMED = 5
"""Number of statistics that add up over batches: count, sum, sum of squares, not finite, at the ceiling."""


class StatsRecorder:
    """Running statistics by stage; recording never changes a result and never waits for a device.

    Statistics of complex values are those of their modulus. To save time, one tensor in `every` of each stage is
    recorded, starting with the first, and of that its first `rows`, unless a stage asks for all.

    >>> recorder = StatsRecorder()
    >>> recorder.record("network", torch.tensor([[1.0, 3.0]]))
    >>> recorder.collect()["network"].mean
    2.0
    """

    def __init__(self, every: int = 8, rows: int = 32) -> None:
        self._every, self._rows, self._calls = every, rows, dict[str, int]()
        self._sums: dict[str, Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, str] = {}

    @torch.no_grad()
    def record(self, stage: str, values: Tensor, each: bool = False) -> None:
        """Add a tensor, (batch, ...), to the statistics of a stage.

        Args:
            stage: Name of the stage.
            values: Output of the stage.
            each: Record every tensor of this stage.
        """
        calls = self._calls[stage] = self._calls.get(stage, -1) + 1
        if calls % self._every and not each:
            return
        values = values if each else values[: self._rows]
        sums = _reduce(values.detach())
        if stage in self._sums:
            before = self._sums[stage]
            extremes = torch.minimum(before[N_SUMMED:], sums[N_SUMMED:])
            sums = torch.cat([before[:N_SUMMED] + sums[:N_SUMMED], extremes])
        self._sums[stage], self._dtypes[stage] = sums, str(values.dtype).removeprefix("torch.")
        self._shapes[stage] = (self._shapes.get(stage, (0,))[0] + values.shape[0], *values.shape[1:])

    def clear(self) -> None:
        """Discard all statistics."""
        for table in (self._calls, self._sums, self._shapes, self._dtypes):
            table.clear()

    def collect(self) -> dict[str, Stats]:
        """Return the statistics recorded so far, by stage: the one copy from the device."""
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
