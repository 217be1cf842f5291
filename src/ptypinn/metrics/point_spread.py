"""Point spread of the detector: the blur of the predicted counts that explains the measured ones best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import amplitude_variance, poisson_deviance, predict_batches
from ptypinn.physics.detector import point_spread
from ptypinn.physics.propagation import to_fft_order

SPREADS_PX = tuple(float(spread) for spread in np.arange(0.15, 2.01, 0.05).round(2))
"""Point spreads on trial: standard deviations, detector pixels."""
MAX_PIXELS = 2**20
"""Pixels of the frames that are compared, which are evenly spaced over the scan."""


@dataclass(frozen=True)
class PointSpreadEvidence:
    """Comparison of predictions that are blurred with those that are not."""

    spread_px: float
    """Standard deviation of the best blur, detector pixels; 0 where none is better. Object and probe that were solved
    for without one have imitated most of it."""
    explained: float
    """Gain of log-likelihood over the misfit above counting noise, in the same unit; 0 where there is none."""


def measure_point_spread(
    scan: ScanData, recon: Reconstruction, *, batch: int = 128, device: str | torch.device = "cpu"
) -> PointSpreadEvidence:
    """Compare the counts of frames with predictions that are blurred by ever more.

    Args:
        scan: The patterns of the reconstruction; a point spread that it has is taken out.
        recon: Object, probe and positions.
        batch: Patterns in memory at once.
        device: Where to compute.
    """
    frames = min(scan.n_patterns, MAX_PIXELS // scan.size**2 + 1)
    index = np.unique(np.linspace(0, scan.n_patterns - 1, frames).astype(int))
    part = scan.subset(index).replace(truth=None, point_spread_px=None)
    good, places = to_fft_order(torch.from_numpy(scan.good)).to(device), recon.positions_px[index]
    blurs = [point_spread(scan.size, spread).float().to(device) for spread in SPREADS_PX]
    losses, excess = np.zeros(1 + len(blurs)), 0.0
    for _, measured, predicted in predict_batches(part, recon.sample, recon.probe, places, batch, device):
        trials = [predicted, *(blur @ predicted @ blur for blur in blurs)]
        losses += [poisson_deviance(expected, measured, good) for expected in trials]
        squares = (measured.sqrt() - predicted.sqrt()).square() - amplitude_variance(predicted)
        excess += 2 * float((squares * good).sum(dtype=torch.float64))
    best = int(np.argmin(losses))
    explained = (losses[0] - losses[best]) / excess if excess > 0 else 0.0
    return PointSpreadEvidence((0.0, *SPREADS_PX)[best], float(explained))
