"""Background of the frames: counts beside the prediction that are the same in all of them, and their evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.losses import DARK_PHOTONS
from ptypinn.metrics.data_fit import amplitude_variance, predict_batches
from ptypinn.physics.detector import mirrored_blur
from ptypinn.physics.propagation import to_fft_order

MAX_FRAMES = 512
"""Frames that are compared: evenly spaced over the scan."""
SMOOTH_FRACTION = 1 / 12
"""Standard deviation of the blur over the edge of the patterns: a background is smooth on this scale."""

Images = Float[Tensor, "half y x"]
Frames = list[tuple[Tensor, Tensor, Tensor]]
"""Batches of frames: the half that each belongs to, measured and predicted counts, FFT order."""


@dataclass(frozen=True)
class BackgroundEvidence:
    """Comparison of one smooth background with none, on the frames that it was not measured on."""

    significance: float
    """Mean gain of log-likelihood per frame, on the half of the frames that did not set the background, over its
    standard error."""
    fraction: float
    """Photons of the background over those measured, on good pixels: what an object without one left unexplained."""
    explained: float
    """Gain of log-likelihood over the misfit above counting noise, in the same unit; 0 where there is none."""


def measure_background(
    scan: ScanData, recon: Reconstruction, *, batch: int = 128, device: str | torch.device = "cpu"
) -> BackgroundEvidence:
    """Compare measured with predicted counts, pixel by pixel, on two halves of the frames.

    The mean excess of each half, smooth and non-negative, predicts the counts of the other: a gain there is no fit of
    noise. Pixels where little is predicted weigh most: their counts vary least.

    Args:
        scan: The patterns of the reconstruction; a background that it has is part of the prediction.
        recon: Object, probe and positions.
        batch: Patterns in memory at once.
        device: Where to compute.
    """
    index = np.unique(np.linspace(0, scan.n_patterns - 1, min(scan.n_patterns, MAX_FRAMES)).astype(int))
    part, places = scan, recon.positions_px
    if len(index) < scan.n_patterns:
        part, places = scan.subset(index).replace(truth=None), places[index]
    good = to_fft_order(torch.from_numpy(scan.good)).to(device)
    batches = [
        (torch.arange(frames.start, frames.stop) % 2, measured, predicted)
        for frames, measured, predicted in predict_batches(part, recon.sample, recon.probe, places, batch, device)
    ]
    excess = _mean_excess(batches, good)
    gains = torch.cat([_gain(excess[1 - half], measured, predicted, good) for half, measured, predicted in batches])
    photons, misfit = _photons_and_misfit(batches, good)
    error = float(gains.std() / len(gains) ** 0.5) if len(gains) > 1 else 0.0
    return BackgroundEvidence(
        significance=float(gains.mean()) / error if error > 0 else 0.0,
        fraction=float(excess.sum()) / 2 * len(gains) / photons if photons > 0 else 0.0,
        explained=float(gains.sum()) / misfit if misfit > 0 else 0.0,
    )


def _mean_excess(batches: Frames, good: Tensor) -> Images:
    """Return the mean of measured less predicted counts over each half of the frames, smooth and non-negative."""
    blur = mirrored_blur(len(good), SMOOTH_FRACTION * len(good)).to(good.device)
    sums = torch.zeros((2, 2, *good.shape), device=good.device)
    for half, measured, predicted in batches:
        weight = good / (predicted + 1)
        terms = torch.stack([(measured - predicted) * weight, weight])
        for number in (0, 1):
            sums[number] += terms[:, half == number].sum(1)
    smooth = blur @ sums @ blur
    return (smooth[:, 0] / smooth[:, 1].clamp(min=1e-6)).clamp(min=0) * good


def _photons_and_misfit(batches: Frames, good: Tensor) -> tuple[float, float]:
    """Return the photons of all frames, and their misfit above counting noise in units of the log-likelihood."""
    photons = misfit = 0.0
    for _, measured, predicted in batches:
        excess = (measured.sqrt() - predicted.sqrt()).square() - amplitude_variance(predicted)
        photons += float((measured * good).sum(dtype=torch.float64))
        misfit += 2 * float((excess * good).sum(dtype=torch.float64))
    return photons, misfit


def _gain(background: Images, measured: Tensor, predicted: Tensor, good: Tensor) -> Float[Tensor, " batch"]:
    """Return the gain of log-likelihood of every frame with a background."""
    growth = torch.log1p(background / (predicted + DARK_PHOTONS))
    return (((measured + DARK_PHOTONS) * growth - background) * good).sum((1, 2), dtype=torch.float64)
