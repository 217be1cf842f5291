"""Hold out a few pixels of every pattern, to see when the solver starts to fit noise.

Counts of different pixels are independent, so the loss on pixels that were not fitted is an honest judge. They lie on a
sheared lattice that moves from pattern to pattern: no pixel is held out in all patterns, and no list of them is needed.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class HeldOutPixels:
    """Which pixels of which pattern are held out: one in `period`."""

    def __init__(self, good: Bool[Tensor, "y x"], period: int = 20) -> None:
        """Lay the lattices.

        Args:
            good: Good pixels, FFT order.
            period: One pixel in this many is held out.
        """
        self.period = period
        y, x = (torch.arange(edge, device=good.device) for edge in good.shape)
        lattice = (7 * y[:, None] + 3 * x) % period
        phase = torch.arange(period, device=good.device)[:, None, None]
        self._held = ((lattice == phase) & good).float()
        self._fitted = ((lattice != phase) & good).float()

    def weights(self, part: slice) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, "batch y x"]]:
        """Weights (1 or 0) of fitted and of held-out pixels for the patterns in `part`."""
        index = torch.arange(part.start, part.stop, device=self._held.device) % self.period
        return self._fitted[index], self._held[index]
