"""Diffraction patterns as float32 batches in FFT order, and the terms of their experiment, for the hot loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ptypinn.data.detector_mtf import transfer_image
from ptypinn.data.pattern_transfer import default_budget, move_batches, pack_counts
from ptypinn.data.scan import TERMS, ScanData
from ptypinn.physics.detector import AxisBlur, Blur, MeasuredBlur, point_spread
from ptypinn.physics.forward import FAR_FIELD, ForwardModel, forward_model
from ptypinn.physics.probe_variation import ProbeVariation
from ptypinn.physics.propagation import to_fft_order
from ptypinn.types import Fractions, Patterns

BatchSequence = Iterable[tuple[slice, Float[Tensor, "_ y x"]]]
"""Batches as pairs (slice of the patterns, counts in FFT order)."""
CPU_BATCH_PIXELS = 2**17
"""Pixels per batch on the CPU: 32 patterns at N=64, so that a batch of waves stays in the cache of a core."""
CUDA_BATCH_PIXELS = 2**25


@dataclass(frozen=True)
class FrameTerms:
    """Terms of the experiment beside the ideal one, as tensors on the device; None for those that are absent."""

    flux: Float[Tensor, " positions"] | None = None
    """Flux of every frame, relative to that of the probe."""
    beam_px: Fractions | None = None
    """Displacement (y, x) of every pattern, detector pixels."""
    background: Float[Tensor, "y x"] | None = None
    """Counts of every frame beside the diffraction, FFT order."""
    blur: Blur | None = None
    """Point spread of the detector."""
    variation: ProbeVariation | None = None
    """What the frames add to the modes of the probe."""
    model: ForwardModel = FAR_FIELD
    """Forward model of the geometry."""

    @classmethod
    def of(cls, scan: ScanData, device: torch.device) -> FrameTerms:
        """Return the terms of a scan."""
        arrays = {name: getattr(scan, name) for name in TERMS}
        if scan.background is not None:
            arrays["background"] = np.where(scan.good, scan.background, 0)
        return cls.from_arrays(arrays, scan.size, device)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], size: int, device: torch.device) -> FrameTerms:
        """Return the terms that arrays of a scan or a reconstruction hold.

        Args:
            arrays: Values by the names of `scan.TERMS`; None for terms that are absent.
            size: Edge of a pattern, pixels.
            device: Device of the tensors.
        """
        flux, beam, background = (
            None if (values := arrays[name]) is None else torch.from_numpy(np.asarray(values, np.float32)).to(device)
            for name in ("flux", "beam_px", "background")
        )
        blur = _choose_blur(arrays, size, device)
        images, weights = arrays["probe_variation"], arrays["probe_weights"]
        variation = None
        if images is not None and weights is not None:
            images, weights = np.asarray(images, np.complex64), np.asarray(weights, np.float32)
            variation = ProbeVariation(torch.from_numpy(images).to(device), torch.from_numpy(weights).to(device))
        gaps = arrays["gap_fresnel_numbers"]
        gaps = None if gaps is None else np.asarray(gaps, float).ravel().tolist()
        tilt = arrays["sample_tilt"]
        tilt = None if tilt is None else np.asarray(tilt, float).ravel().tolist()
        model = forward_model(size, arrays["fresnel_number"], gaps, tilt).to(device)
        return cls(flux, beam, None if background is None else to_fft_order(background), blur, variation, model)

    def take(self, part: slice) -> FrameTerms:
        """Return the terms of some of the frames."""
        flux, beam = (None if term is None else term[part] for term in (self.flux, self.beam_px))
        variation = None if self.variation is None else self.variation.take(part)
        return replace(self, flux=flux, beam_px=beam, variation=variation)

    def expect(self, diffracted: Patterns) -> Patterns:
        """Return the expected counts of all these frames, FFT order.

        Args:
            diffracted: Photons that reach every pixel with a flux of 1, (batch, y, x), FFT order; overwritten.
        """
        if self.flux is not None:
            diffracted.mul_(self.flux[:, None, None])
        expected = diffracted if self.blur is None else self.blur.spread(diffracted)
        return expected if self.background is None else expected.add_(self.background)


def _choose_blur(arrays: Mapping[str, Any], size: int, device: torch.device) -> Blur | None:
    """Return the point spread of the detector: a measured one, or a Gaussian."""
    if arrays["mtf"] is not None:
        transfer = transfer_image(np.asarray(arrays["mtf"], np.float64), size)
        return MeasuredBlur(torch.from_numpy(transfer).to(device))
    spread = arrays["point_spread_px"]
    return None if spread is None else AxisBlur(point_spread(size, float(spread)).float().to(device))


class PatternBatches:
    """Counts of a scan in batches, shifted to FFT order once where they fit a memory budget, else on every pass."""

    def __init__(self, scan: ScanData, device: torch.device, modes: int = 1, budget_bytes: int | None = None) -> None:
        """Prepare the batches.

        Args:
            scan: Scan with the counts.
            device: Device of the batches.
            modes: Probe modes that a batch of waves will hold, which makes batches smaller.
            budget_bytes: Maximum size of the counts that stay in memory; that of `default_budget` where None.
        """
        self.scan, self.device = scan, device
        pixels = CUDA_BATCH_PIXELS if device.type == "cuda" else CPU_BATCH_PIXELS
        self.batch_size = max(1, min(scan.n_patterns, pixels // (scan.size**2 * modes)))
        self.good: Bool[Tensor, "y x"] = to_fft_order(torch.from_numpy(np.ascontiguousarray(scan.good))).to(device)
        self.all_good = bool(scan.good.all())
        self._stored = self._store(default_budget(device) if budget_bytes is None else budget_bytes)

    def __iter__(self) -> Iterator[tuple[slice, Patterns]]:
        """Iterate over (slice of the patterns, counts in FFT order); bad pixels read 0."""
        return iter(_unpack(self._stored) if self._stored is not None else self._read())

    def split(self, workers: int) -> list[BatchSequence]:
        """Split the batches for at most so many workers; one part where patterns are read on every pass."""
        if self._stored is None:
            return [self]
        return [_unpack(self._stored[first::workers]) for first in range(min(workers, len(self._stored)))]

    def _store(self, budget_bytes: int) -> list[tuple[slice, Tensor]] | None:
        """Return the batches, in the smallest exact type where float32 takes too much memory; None where all do."""
        pixels = self.scan.n_patterns * self.scan.size**2
        if 4 * pixels <= budget_bytes:
            return list(self._read())
        stored, total = list[tuple[slice, Tensor]](), 0
        for part, counts in self._read() if pixels <= budget_bytes else ():
            stored.append((part, pack_counts(counts)))
            total += stored[-1][1].nbytes
            if total > budget_bytes:
                return None
        return stored or None

    def _read(self) -> Iterator[tuple[slice, Patterns]]:
        batches = self.scan.batches(self.batch_size)
        for part, patterns in move_batches(batches, self.device):
            yield part, torch.where(self.good, to_fft_order(patterns), 0.0)


def _unpack(batches: list[tuple[slice, Tensor]]) -> BatchSequence:
    """Return stored batches as float32, one at a time where they were packed."""
    return ((part, counts.float()) for part, counts in batches)
