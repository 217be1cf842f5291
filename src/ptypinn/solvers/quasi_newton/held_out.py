"""Held-out pixels: a sparse lattice of each pattern that no iteration fits; its loss rises when noise is fitted."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class HeldOutPixels:
    """Choice of the held-out pixels of every pattern: one in `period`, on a lattice that moves from pattern to pattern.

    >>> pixels, weights = HeldOutPixels(torch.ones(4, 4, dtype=torch.bool), period=4).select(slice(0, 2))
    >>> pixels.tolist()
    [[0, 7, 10, 13], [3, 6, 9, 12]]
    >>> weights.sum().item()
    8.0
    """

    def __init__(
        self,
        good: Bool[Tensor, "y x"],
        period: int,
        pattern_index: Int[Tensor, " patterns"] | None = None,
    ) -> None:
        """Lay the lattices.

        Args:
            good: Good pixels, FFT order.
            period: One pixel in this many is held out.
            pattern_index: Index of every pattern in its scan, where these are a part of one; their own order where
                None.
        """
        self.period, self._pattern_index = period, pattern_index
        y, x = (torch.arange(edge, device=good.device) for edge in good.shape)
        lattice = ((7 * y[:, None] + 3 * x) % period).flatten()
        order = torch.argsort(lattice, stable=True)
        sizes = torch.bincount(lattice, minlength=period)
        # All lattices are padded to the same number of pixels, by the first of their own with weight 0.
        slot = torch.arange(int(sizes.max()), device=good.device)
        inside = slot < sizes[:, None]
        first = sizes.cumsum(0) - sizes
        self._pixels = order[first[:, None] + torch.where(inside, slot, 0)]
        self._weights = (inside & good.flatten()[self._pixels]).float()

    def select(self, part: slice) -> tuple[Int[Tensor, "batch held"], Float[Tensor, "batch held"]]:
        """Return the held-out pixels of some patterns, as flat indices, and their weights: 1 for good pixels, else 0.

        Args:
            part: Range of patterns.
        """
        index = torch.arange(part.start, part.stop, device=self._pixels.device)
        lattice = (index if self._pattern_index is None else self._pattern_index[index]) % self.period
        return self._pixels[lattice], self._weights[lattice]
