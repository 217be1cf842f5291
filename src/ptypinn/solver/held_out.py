"""Hold out a few pixels of every pattern, to see when the solver starts to fit noise.

Counts of different pixels are independent, so the loss on pixels that were not fitted is an honest judge. They lie on a
sheared lattice that moves from pattern to pattern: no pixel is held out in all patterns, and no list of them is needed.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PERIOD = 20
"""One pixel in so many is held out where nothing else is said."""


class HeldOutPixels:
    """Which pixels of which pattern are held out: one in `period`."""

    def __init__(
        self, good: Bool[Tensor, "y x"], period: int = PERIOD, numbers: Int[Tensor, " patterns"] | None = None
    ) -> None:
        """Lay the lattices.

        Args:
            good: Good pixels, FFT order.
            period: One pixel in this many is held out.
            numbers: Place of every pattern in its scan, where these are some of a scan's; their own order where None.
        """
        self.period, self._numbers = period, numbers
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

    def of(self, part: slice) -> tuple[Int[Tensor, "batch held"], Float[Tensor, "batch held"]]:
        """Held-out pixels of the patterns in `part`, as flat indices, and their weights: 1 for good pixels, else 0."""
        own = torch.arange(part.start, part.stop, device=self._pixels.device)
        lattice = (own if self._numbers is None else self._numbers[own]) % self.period
        return self._pixels[lattice], self._weights[lattice]
