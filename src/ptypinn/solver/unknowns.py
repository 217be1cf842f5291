"""What the solver solves for, and the vector arithmetic on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.types import Object, Probe


@dataclass(frozen=True)
class Unknowns:
    """A point (or a direction) in the space of all unknowns; blocks that are not solved for are None."""

    object: Object
    """Transmission on the canvas."""
    probe: Probe | None = None
    """Incoherent modes, sqrt(photons)."""
    shifts: Float[Tensor, "positions 2"] | None = None
    """Sub-pixel shift (y, x) of every position from its integer corner, pixels."""

    def blocks(self) -> list[Tensor]:
        """The blocks that are present."""
        return [block for block in (self.object, self.probe, self.shifts) if block is not None]

    def dot(self, other: Unknowns) -> float:
        """Real inner product over all blocks."""
        pairs = zip(self.blocks(), other.blocks(), strict=True)
        return float(sum(torch.vdot(a.reshape(-1), b.reshape(-1)).real.double() for a, b in pairs))

    def plus(self, other: Unknowns, factor: float = 1.0) -> Unknowns:
        """`self + factor * other`."""
        return self._join(other, lambda a, b: torch.add(a, b, alpha=factor))

    def minus(self, other: Unknowns) -> Unknowns:
        """`self - other`."""
        return self._join(other, torch.sub)

    def scaled(self, factor: float) -> Unknowns:
        """`factor * self`."""
        return self._join(self, lambda a, _: a * factor)

    def _join(self, other: Unknowns, function: Callable[[Tensor, Tensor], Tensor]) -> Unknowns:
        def join(a: Tensor | None, b: Tensor | None) -> Tensor | None:
            return None if a is None or b is None else function(a, b)

        joined = join(self.object, other.object)
        assert joined is not None
        return Unknowns(joined, join(self.probe, other.probe), join(self.shifts, other.shifts))
