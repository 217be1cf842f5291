"""How well an object and a probe predict the measured counts: residual and closure, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float64
from torch import Tensor

from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.shot_noise import amplitude_variance
from ptypinn.physics.forward import expected_counts, to_centred, to_fft_order
from ptypinn.physics.patches import split_positions

PerPattern = Float64[np.ndarray, " patterns"]


@dataclass(frozen=True)
class DataFit:
    """Agreement of predicted with measured counts over the good pixels of a scan."""

    amplitude_residual: float
    """`sum (sqrt I - sqrt I_pred)^2 / sum I`."""
    flux_closure: float
    """`sum I_pred / sum I`: 1 where as many photons are predicted as measured."""
    expected_residual: float
    """Amplitude residual that counting statistics alone would leave, if the prediction were the truth."""
    per_pattern_residual: PerPattern
    """Amplitude residual of each pattern; a pattern without a photon counts as one photon."""
    per_pattern_expected: PerPattern
    """What counting statistics alone would leave of `per_pattern_residual`, were the prediction the truth."""
    per_pattern_photons: PerPattern
    """Measured photons of each pattern; a pattern without a photon counts as one photon."""
    per_pattern_closure: PerPattern
    """Flux closure of each pattern; a pattern without a photon counts as one photon."""
    measured_map: Float64[np.ndarray, "y x"]
    """Counts of every pixel, bad ones included, summed over the patterns, zero frequency at N//2."""
    predicted_map: Float64[np.ndarray, "y x"]
    """Predicted counts of every pixel, likewise."""

    def figures(self) -> dict[str, float]:
        """Figures of merit of the whole scan by name, as records hold them."""
        return {
            "amplitude_residual": self.amplitude_residual,
            "expected_residual": self.expected_residual,
            "flux_closure": self.flux_closure,
        }


def data_fit(
    scan: ScanData,
    object_: Complex[np.ndarray, "height width"],
    probe: Complex[np.ndarray, "mode y x"],
    positions_px: Float64[np.ndarray, "patterns 2"],
    *,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> DataFit:
    """Compare the counts that an object and a probe predict with those of a scan.

    Args:
        scan: Measured counts and mask, read `batch` patterns at a time.
        object_: Transmission on its canvas, (height, width).
        probe: Incoherent modes, (mode, y, x), sqrt(photons).
        positions_px: Canvas coordinates (y, x) of the probe array's pixel (0, 0), one row per pattern of the scan.
        batch: Patterns in memory at once.
        device: Where to compute.

    Raises:
        InputError: Where positions and patterns differ in number, a patch leaves the canvas, or no photon was counted.
    """
    _check(scan, object_, probe, positions_px)
    canvas = torch.from_numpy(np.ascontiguousarray(object_)).to(device)[None]
    modes = torch.from_numpy(np.ascontiguousarray(probe)).to(device)
    good = to_fft_order(torch.from_numpy(scan.good)).to(device)
    sums, maps = np.empty((4, scan.n_patterns)), torch.zeros((2, *good.shape), dtype=torch.float64, device=device)
    for part, counts in scan.batches(batch):
        predicted = predict(canvas, modes, positions_px[part])
        measured = to_fft_order(torch.from_numpy(counts.astype(np.float32))).to(device)
        sums[:, part] = _pattern_sums(measured, predicted, good).cpu().numpy()
        maps += torch.stack([measured.sum(0, dtype=torch.float64), predicted.sum(0, dtype=torch.float64)])
    return _summary(scan.source, sums, to_centred(maps).cpu().numpy())


def predict(
    canvas: Complex[Tensor, "1 height width"], probe: Complex[Tensor, "mode y x"], positions_px: np.ndarray
) -> Tensor:
    """Expected counts at canvas positions, (patterns, y, x), FFT order; integer positions skip the sub-pixel shift."""
    corners, fractions = split_positions(torch.from_numpy(np.ascontiguousarray(positions_px)))
    rest = fractions.to(canvas.device) if bool(fractions.any()) else None
    with torch.no_grad():
        return expected_counts(canvas, probe, corners.to(canvas.device), rest)


def _pattern_sums(measured: Tensor, predicted: Tensor, good: Tensor) -> Tensor:
    squared = (measured.sqrt() - predicted.sqrt()).square()
    terms = torch.stack([squared, measured, predicted, amplitude_variance(predicted)])
    return torch.where(good, terms, 0.0).sum((-2, -1), dtype=torch.float64)


def _summary(source: str, sums: np.ndarray, maps: np.ndarray) -> DataFit:
    squared, measured, predicted, noise = sums
    total = measured.sum()
    if not total > 0:
        raise InputError(source, "counts", "no photon on any good pixel", "at least one")
    each = np.maximum(measured, 1.0)
    return DataFit(
        amplitude_residual=float(squared.sum() / total),
        flux_closure=float(predicted.sum() / total),
        expected_residual=float(noise.sum() / predicted.sum()) if predicted.sum() > 0 else 0.0,
        per_pattern_residual=squared / each,
        per_pattern_expected=noise / each,
        per_pattern_photons=each,
        per_pattern_closure=predicted / each,
        measured_map=maps[0],
        predicted_map=maps[1],
    )


def _check(scan: ScanData, object_: np.ndarray, probe: np.ndarray, positions_px: np.ndarray) -> None:
    if len(positions_px) != scan.n_patterns:
        found = f"{len(positions_px)} positions for {scan.n_patterns} patterns"
        raise InputError(scan.source, "reconstruction", found, "one position per pattern; is it of this scan?")
    if probe.shape[-1] != scan.size:
        found = f"a probe of {probe.shape[-1]} pixels for patterns of {scan.size}"
        raise InputError(scan.source, "reconstruction", found, "equal sizes")
    low, high = np.round(positions_px.min(0)), np.round(positions_px.max(0)) + scan.size
    if (low < 0).any() or (high > object_.shape).any():
        found = f"patches that reach {low.tolist()} to {high.tolist()}"
        raise InputError(scan.source, "reconstruction", found, f"patches inside its object of {object_.shape} pixels")
