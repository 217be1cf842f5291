"""Every frame of a scan in progress against its prediction: photons, centre of mass, residual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import amplitude_variance, predict_batches
from ptypinn.physics.kernels import Array, as_reals, compiled
from ptypinn.physics.propagation import to_fft_order
from ptypinn.utils.growing_array import GrowingArray

BATCH = 128
"""Patterns in memory at once."""
MIN_CURVATURE = 1e-6
"""Curvature along a direction, over the sum of both, that keeps displacements finite where a pattern has no detail."""


@dataclass(frozen=True)
class FrameChecks:
    """Series with one entry per frame, NaN for frames that are not in the picture yet."""

    photons: Float64[np.ndarray, " frames"]
    """Photons measured, over those of the probe."""
    flux: Float64[np.ndarray, " frames"]
    """Photons measured over those predicted."""
    centre_px: Float64[np.ndarray, "frames 2"]
    """Centre of mass (y, x) against that of the prediction, detector pixels."""
    shift_px: Float64[np.ndarray, "frames 2"]
    """Displacement (y, x) of largest likelihood against the prediction, detector pixels: more exact, but only where it
    is small."""
    residual: Float64[np.ndarray, " frames"]
    """Amplitude residual over that of counting noise."""

    @classmethod
    def empty(cls, count: int) -> FrameChecks:
        """Return the series of so many frames without a check."""
        return cls(*(np.full((count, 2) if field.name.endswith("_px") else count, np.nan) for field in fields(cls)))

    def put(self, index: np.ndarray, checks: FrameChecks) -> None:
        """Write the checks of some frames into the series."""
        for series, values in zip(self.arrays, checks.arrays, strict=True):
            series[index] = values

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All series."""
        return tuple(getattr(self, field.name) for field in fields(self))


class CheckSeries:
    """Series of a scan in progress, which grow with it."""

    def __init__(self) -> None:
        self._series = [GrowingArray(series.shape[1:], series.dtype) for series in FrameChecks.empty(0).arrays]

    def extend(self, count: int) -> FrameChecks:
        """Return the series with so many further frames without a check."""
        more = FrameChecks.empty(count).arrays
        return FrameChecks(*(series.append(rows) for series, rows in zip(self._series, more, strict=True)))


def check_frames(
    scan: ScanData, object_: np.ndarray, positions_px: Float64[np.ndarray, "patterns 2"], device: torch.device
) -> FrameChecks:
    """Compare frames with their prediction.

    Args:
        scan: The frames, with probe and terms.
        object_: Transmission on its canvas.
        positions_px: Canvas coordinates (y, x) of the probe array's pixel (0, 0).
        device: Where to predict.
    """
    good = to_fft_order(torch.from_numpy(scan.good))
    checks = FrameChecks.empty(scan.n_patterns)
    power = float((np.abs(scan.require_probe()) ** 2).sum())
    for part, comparison in _compare_batches(scan, object_, positions_px, device):
        photons, expected = comparison.profiles[:, :, 0].sum(-1).T
        noise = (amplitude_variance(comparison.predicted) * good).sum((1, 2), dtype=torch.float64).numpy()
        measured_px, expected_px = comparison.centres_px
        columns = (
            photons / power,
            photons / np.maximum(expected, 1e-9),
            (measured_px - expected_px + scan.size / 2) % scan.size - scan.size / 2,
            comparison.shift_px,
            comparison.squares / np.maximum(noise, 1e-9),
        )
        for series, values in zip(checks.arrays, columns, strict=True):
            series[part] = values
    return checks


def measure_displacements(
    scan: ScanData, object_: np.ndarray, positions_px: Float64[np.ndarray, "patterns 2"], device: torch.device
) -> Float64[np.ndarray, "patterns 2"]:
    """Return `FrameChecks.shift_px` alone, for less work; the arguments are those of `check_frames`."""
    shift = np.zeros((scan.n_patterns, 2))
    for part, comparison in _compare_batches(scan, object_, positions_px, device):
        shift[part] = comparison.shift_px
    return shift


class _Comparison(NamedTuple):
    """Some frames and their prediction."""

    predicted: Float[Tensor, "batch y x"]
    """Expected counts, FFT order."""
    squares: Float64[np.ndarray, " batch"]
    """Sum of squared differences of roots over good pixels."""
    profiles: Float64[np.ndarray, "batch image axis pixel"]
    """Sums over rows and over columns of counts, and of expected counts."""
    roots: Float32[np.ndarray, "2 batch y x"]
    """Roots of the expected counts, and their difference to those of the counts; 0 where pixels are bad."""

    @property
    def shift_px(self) -> Float64[np.ndarray, "batch 2"]:
        """Displacement (y, x) of measured against predicted amplitudes by one Gauss-Newton step, pixels."""
        sums = np.zeros((len(self.squares), 5))
        _sum_slopes(self.roots, sums)
        yy, yx, xx = sums.T[:3]
        floor = MIN_CURVATURE * (yy + xx) + 1e-12
        normal = np.stack([yy + floor, yx, yx, xx + floor], 1).reshape(-1, 2, 2)
        return np.linalg.solve(normal, sums[:, 3:, None])[..., 0]

    @property
    def centres_px(self) -> Float64[np.ndarray, "image batch 2"]:
        """Centres (y, x) of patterns whose edges meet, pixels: the phase of their first Fourier coefficients."""
        size = self.profiles.shape[-1]
        turn = np.exp(2j * np.pi * np.arange(size) / size)
        return np.angle(self.profiles @ turn).swapaxes(0, 1) * size / (2 * np.pi)


def _compare_batches(
    scan: ScanData, object_: np.ndarray, positions_px: Float64[np.ndarray, "patterns 2"], device: torch.device
) -> Iterator[tuple[slice, _Comparison]]:
    """Compare some frames at a time with their prediction."""
    good, size = as_reals(to_fft_order(torch.from_numpy(scan.good)).float()), scan.size
    batches = predict_batches(scan, object_, scan.require_probe(), positions_px, BATCH, device)
    for part, measured, predicted in batches:
        predicted = predicted.cpu()
        roots, sums = np.empty((2, *predicted.shape), np.float32), np.zeros((len(predicted), 1 + 4 * size))
        _compare_counts(as_reals(measured.cpu()), as_reals(predicted), good, roots, sums)
        yield part, _Comparison(predicted, sums[:, 0], sums[:, 1:].reshape(-1, 2, 2, size), roots)


@compiled
def _compare_counts(measured: Array, predicted: Array, good: Array, roots: Array, sums: Array) -> None:
    """Sum over the good pixels of every pattern what checks need of its counts.

    Args:
        measured: Counts, (batch, y, x).
        predicted: Expected counts, (batch, y, x).
        good: 1 for good pixels, else 0, (y, x).
        roots: Roots of the expected counts, and their difference to those of the counts, 0 where pixels are bad, which
            are written to, (2, batch, y, x).
        sums: Squared differences, which are written to, (batch,); sums over rows and over columns of counts and of
            expected counts follow, (batch, 1 + 4 y): rows and columns of the counts first.
    """
    size, zero = good.shape[0], good.dtype.type(0)
    for number in range(measured.shape[0]):
        columns, mean_columns = sums[number, 1 + size : 1 + 2 * size], sums[number, 1 + 3 * size :]
        for y in range(size):
            line, expected, mask = measured[number, y], predicted[number, y], good[y]
            photons_of_row, mean_of_row, squares = zero, zero, zero
            for x in range(size):
                photons, mean = line[x] * mask[x], expected[x] * mask[x]
                root = np.sqrt(mean)
                change = root - np.sqrt(photons)
                roots[0, number, y, x], roots[1, number, y, x] = root, change
                columns[x] += photons
                mean_columns[x] += mean
                photons_of_row += photons
                mean_of_row += mean
                squares += change * change
            sums[number, 0] += squares
            sums[number, 1 + y], sums[number, 1 + 2 * size + y] = photons_of_row, mean_of_row


@compiled
def _sum_slopes(roots: Array, sums: Array) -> None:
    """Sum products of the slopes of expected roots (yy, yx, xx), and with the difference of roots (y, x).

    Args:
        roots: As `_compare_counts` writes them; the edges of a pattern meet.
        sums: The sums, which are added to, (batch, 5).
    """
    _, batch, size, _ = roots.shape
    half, zero = roots.dtype.type(0.5), roots.dtype.type(0)
    for number in range(batch):
        for y in range(size):
            above, here, below = roots[0, number, y - 1], roots[0, number, y], roots[0, number, (y + 1) % size]
            difference = roots[1, number, y]
            yy, yx, xx, ry, rx = zero, zero, zero, zero, zero
            for x in range(size):
                left, right = here[x - 1 if x else size - 1], here[x + 1 if x + 1 < size else 0]
                slope_y, slope_x, change = half * (below[x] - above[x]), half * (right - left), difference[x]
                yy += slope_y * slope_y
                yx += slope_y * slope_x
                xx += slope_x * slope_x
                ry += slope_y * change
                rx += slope_x * change
            for place, value in enumerate((yy, yx, xx, ry, rx)):
                sums[number, place] += value
