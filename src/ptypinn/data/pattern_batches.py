"""Diffraction patterns as float32 batches in FFT order, for the hot loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ptypinn.data.scan import ScanData
from ptypinn.physics.propagation import to_fft_order
from ptypinn.types import Patterns

BatchSequence = Iterable[tuple[slice, Float[Tensor, "_ y x"]]]
"""Batches as pairs (slice of the patterns, counts in FFT order)."""
CPU_BATCH_PIXELS = 2**17
"""Pixels per batch on the CPU: 32 patterns at N=64, so that a batch of waves stays in the cache of a core."""
CUDA_BATCH_PIXELS = 2**25


def background_tensor(scan: ScanData, device: torch.device) -> Float[Tensor, "y x"] | None:
    """Return the background of a scan in FFT order, counts per pixel of good pixels; None where it has none."""
    if scan.background is None:
        return None
    return to_fft_order(torch.from_numpy(np.where(scan.good, scan.background, 0).astype(np.float32))).to(device)


class PatternBatches:
    """Counts of a scan in batches, shifted to FFT order once where they fit a memory budget, else on every pass."""

    def __init__(self, scan: ScanData, device: torch.device, modes: int = 1, budget_bytes: int = 4 * 2**30) -> None:
        """Prepare the batches.

        Args:
            scan: Scan with the counts.
            device: Device of the batches.
            modes: Probe modes that a batch of waves will hold, which makes batches smaller.
            budget_bytes: Maximum size of a float32 stack that stays in memory.
        """
        self.scan, self.device = scan, device
        pixels = CUDA_BATCH_PIXELS if device.type == "cuda" else CPU_BATCH_PIXELS
        self.batch_size = max(1, min(scan.n_patterns, pixels // (scan.size**2 * modes)))
        self.good: Bool[Tensor, "y x"] = to_fft_order(torch.from_numpy(np.ascontiguousarray(scan.good))).to(device)
        self.all_good = bool(scan.good.all())
        fits = 4 * scan.n_patterns * scan.size**2 <= budget_bytes
        self._stored = list(self._read()) if fits else None

    def __iter__(self) -> Iterator[tuple[slice, Patterns]]:
        """Iterate over (slice of the patterns, counts in FFT order); bad pixels read 0."""
        return iter(self._stored) if self._stored is not None else self._read()

    def split(self, workers: int) -> list[BatchSequence]:
        """Split the batches for at most so many workers; one part where patterns are read on every pass."""
        if self._stored is None:
            return [self]
        return [self._stored[first::workers] for first in range(min(workers, len(self._stored)))]

    def _read(self) -> Iterator[tuple[slice, Patterns]]:
        for part, counts in self.scan.batches(self.batch_size):
            patterns = torch.from_numpy(np.require(counts, np.float32, ["C", "W"])).to(self.device)
            yield part, torch.where(self.good, to_fft_order(patterns), 0.0)
