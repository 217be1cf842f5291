"""Agreement of predicted with measured counts: residual and flux closure, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float64
from torch import Tensor

from ptypinn.data.pattern_batches import background_tensor
from ptypinn.data.reconstruction import DataFit
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.shot_noise import amplitude_variance
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred, to_fft_order

Canvas = Complex[np.ndarray, "height width"]
Modes = Complex[np.ndarray, "mode y x"]
Positions = Float64[np.ndarray, "patterns 2"]


def compute_data_fit(
    scan: ScanData,
    object_: Canvas,
    probe: Modes,
    positions_px: Positions,
    *,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> DataFit:
    """Compare the counts that an object and a probe predict with those of a scan.

    Args:
        scan: Measured counts, mask and flux, read `batch` patterns at a time.
        object_: Transmission on its canvas, (height, width).
        probe: Incoherent modes, (mode, y, x), sqrt(photons).
        positions_px: Canvas coordinates (y, x) of the probe array's pixel (0, 0), one row per pattern of the scan.
        batch: Patterns in memory at once.
        device: Where to compute.

    Raises:
        InputError: Where positions and patterns differ in number, a patch leaves the canvas, or no photon was counted.
    """
    good = _good_pixels(scan, device)
    sums, maps = np.empty((4, scan.n_patterns)), torch.zeros((2, *good.shape), dtype=torch.float64, device=device)
    for part, measured, predicted in predict_batches(scan, object_, probe, positions_px, batch, device):
        squared = (measured.sqrt() - predicted.sqrt()).square()
        terms = torch.stack([squared, measured, predicted, amplitude_variance(predicted)])
        sums[:, part] = _sum_patterns(terms, good)
        maps += torch.stack([measured.sum(0, dtype=torch.float64), predicted.sum(0, dtype=torch.float64)])
    return _summary(scan.source, sums, to_centred(maps).cpu().numpy())


def sum_photons(
    scan: ScanData,
    object_: Canvas,
    probe: Modes,
    positions_px: Positions,
    *,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> tuple[float, float]:
    """Sum the measured and the predicted photons on good pixels: all that a global factor needs, for less than a fit.

    The arguments and errors are those of `compute_data_fit`, and so is the order of the sums.
    """
    good, sums = _good_pixels(scan, device), np.empty((2, scan.n_patterns))
    for part, measured, predicted in predict_batches(scan, object_, probe, positions_px, batch, device):
        sums[:, part] = _sum_patterns(torch.stack([measured, predicted]), good)
    measured_total, predicted_total = (float(row.sum()) for row in sums)
    _require_photons(scan.source, measured_total)
    return measured_total, predicted_total


def predict(
    canvas: Complex[Tensor, "1 height width"], probe: Complex[Tensor, "mode y x"], positions_px: np.ndarray
) -> Tensor:
    """Return the expected counts at canvas positions, (patterns, y, x), FFT order.

    Integer positions skip the sub-pixel shift.
    """
    corners, fractions = split_positions(torch.from_numpy(np.ascontiguousarray(positions_px)))
    rest = fractions.to(canvas.device) if bool(fractions.any()) else None
    with torch.no_grad():
        return FAR_FIELD.predict_scan(canvas, probe, corners.to(canvas.device), rest)


def _good_pixels(scan: ScanData, device: str | torch.device) -> Bool[Tensor, "y x"]:
    return to_fft_order(torch.from_numpy(scan.good)).to(device)


def predict_batches(
    scan: ScanData, object_: Canvas, probe: Modes, positions_px: Positions, batch: int, device: str | torch.device
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Measured and predicted counts of some patterns at a time, each (batch, y, x) in FFT order."""
    _check(scan, object_, probe, positions_px)
    canvas = torch.from_numpy(np.ascontiguousarray(object_)).to(device)[None]
    modes = torch.from_numpy(np.ascontiguousarray(probe)).to(device)
    background = background_tensor(scan, torch.device(device))
    for part, counts in scan.batches(batch):
        predicted = predict(canvas, modes, positions_px[part])
        if scan.flux is not None:
            flux = torch.from_numpy(scan.flux[part].astype(np.float32))
            predicted *= flux.to(predicted.device)[:, None, None]
        if background is not None:
            predicted += background
        yield part, to_fft_order(torch.from_numpy(counts.astype(np.float32))).to(device), predicted


def _sum_patterns(terms: Tensor, good: Tensor) -> np.ndarray:
    return torch.where(good, terms, 0.0).sum((-2, -1), dtype=torch.float64).cpu().numpy()


def _summary(source: str, sums: np.ndarray, maps: np.ndarray) -> DataFit:
    squared, measured, predicted, noise = sums
    total = measured.sum()
    _require_photons(source, total)
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


def _require_photons(source: str, total: float) -> None:
    if not total > 0:
        raise InputError(source, "counts", "no photon on any good pixel", "at least one")


def _check(scan: ScanData, object_: np.ndarray, probe: np.ndarray, positions_px: np.ndarray) -> None:
    if len(positions_px) != scan.n_patterns:
        mismatch = f"{len(positions_px)} positions for {scan.n_patterns} patterns"
        raise InputError(scan.source, "reconstruction", mismatch, "one position per pattern; is it of this scan?")
    if probe.shape[-1] != scan.size:
        mismatch = f"a probe of {probe.shape[-1]} pixels for patterns of {scan.size}"
        raise InputError(scan.source, "reconstruction", mismatch, "equal sizes")
    low, high = np.round(positions_px.min(0)), np.round(positions_px.max(0)) + scan.size
    if (low < 0).any() or (high > object_.shape).any():
        reach = f"patches that reach {low.tolist()} to {high.tolist()}"
        raise InputError(scan.source, "reconstruction", reach, f"patches inside its object of {object_.shape} pixels")
