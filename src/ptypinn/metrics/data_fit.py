"""Agreement of predicted with measured counts, in bounded memory, and what counting statistics alone leave of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Float64
from torch import Tensor

from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.validation import patches_lie_inside
from ptypinn.errors import InputError
from ptypinn.losses import HELD_OUT_DEVIANCE
from ptypinn.metrics.image import Mask
from ptypinn.physics import kernels
from ptypinn.physics.kernels import Array, as_reals, compiled
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred, to_fft_order

Sample = Complex[np.ndarray, "*slice height width"]
Modes = Complex[np.ndarray, "mode y x"]
Positions = Float64[np.ndarray, "patterns 2"]
MAX_ROOT = 8.0
"""Largest `sqrt(mu)` for which the variance of a square root is read from a table."""
MAX_FRAMES = 128
"""Frames that the misfit is measured on."""
NODES_PER_ROOT = 256
"""Steps of the table per unit of `sqrt(mu)`; beyond the table the asymptotic series is exact to 1e-6."""


def compute_data_fit(
    scan: ScanData,
    object_: Sample,
    probe: Modes,
    positions_px: Positions,
    *,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> DataFit:
    """Compare the counts that an object and a probe predict with those of a scan.

    Args:
        scan: Measured counts, mask and flux, read `batch` patterns at a time.
        object_: Transmission on its canvas, (height, width), or of the slices of a thick sample.
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


def measure_misfit(
    scan: ScanData, recon: Reconstruction, *, batch: int = 128, device: str | torch.device = "cpu"
) -> float:
    """Return the amplitude residual of evenly spaced frames over that of counting noise.

    Args:
        scan: The patterns of the reconstruction.
        recon: Object, probe and positions.
        batch: Patterns in memory at once.
        device: Where to compute.
    """
    index = np.unique(np.linspace(0, scan.n_patterns - 1, min(scan.n_patterns, MAX_FRAMES)).astype(int))
    part = scan.subset(index) if len(index) < scan.n_patterns else scan
    good = _good_pixels(scan, device)
    residual = noise = 0.0
    places = recon.positions_px[index]
    for _, measured, predicted in predict_batches(part, recon.sample, recon.probe, places, batch, device):
        residual += float(((measured.sqrt() - predicted.sqrt()).square() * good).sum(dtype=torch.float64))
        noise += float((amplitude_variance(predicted) * good).sum(dtype=torch.float64))
    return residual / noise if noise > 0 else float("inf")


def sum_photons(
    scan: ScanData,
    object_: Sample,
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


def sum_deviance(
    scan: ScanData,
    object_: Sample,
    probe: Modes,
    positions_px: Positions,
    *,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> float:
    """Return the Poisson deviance of all good pixels, halved: the log-likelihood that is missing to a perfect fit.

    The arguments and errors are those of `compute_data_fit`.
    """
    good = _good_pixels(scan, device)
    batches = predict_batches(scan, object_, probe, positions_px, batch, device)
    return sum(poisson_deviance(predicted, measured, good) for _, measured, predicted in batches)


def poisson_deviance(
    predicted: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], good: Bool[Tensor, "y x"]
) -> float:
    """Return half the Poisson deviance of some patterns on good pixels."""
    loss = HELD_OUT_DEVIANCE.loss(predicted, HELD_OUT_DEVIANCE.residual(predicted, measured))
    return float((loss * good).sum(dtype=torch.float64))


def predict(
    canvases: Complex[Tensor, "slice height width"],
    probe: Complex[Tensor, "mode y x"],
    positions_px: np.ndarray,
    terms: FrameTerms,
) -> Tensor:
    """Return the expected counts at canvas positions, (patterns, y, x), FFT order.

    Integer positions skip the sub-pixel shift.

    Args:
        canvases: Slices of the object, one where it is thin.
        probe: Modes, sqrt(photons).
        positions_px: Canvas coordinates (y, x) of the probe array's pixel (0, 0).
        terms: Terms of the experiment at these positions.
    """
    corners, fractions = split_positions(torch.from_numpy(np.ascontiguousarray(positions_px)))
    rest = fractions.to(canvases.device) if bool(fractions.any()) else None
    with torch.no_grad():
        corners = corners.to(canvases.device)
        counts = terms.model.predict_scan(canvases, probe, corners, rest, terms.beam_px, terms.variation)
        return terms.expect(counts)


def _good_pixels(scan: ScanData, device: str | torch.device) -> Bool[Tensor, "y x"]:
    return to_fft_order(torch.from_numpy(scan.good)).to(device)


def predict_batches(
    scan: ScanData, object_: Sample, probe: Modes, positions_px: Positions, batch: int, device: str | torch.device
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Measured and predicted counts of some patterns at a time, each (batch, y, x) in FFT order."""
    _check(scan, object_, probe, positions_px)
    canvases = torch.from_numpy(np.ascontiguousarray(object_)).to(device).view(-1, *object_.shape[-2:])
    modes = torch.from_numpy(np.ascontiguousarray(probe)).to(device)
    terms = FrameTerms.of(scan, torch.device(device))
    for part, counts in scan.batches(batch):
        predicted = predict(canvases, modes, positions_px[part], terms.take(part))
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
    slices = 1 if scan.gap_fresnel_numbers is None else len(scan.gap_fresnel_numbers) + 1
    if (1 if object_.ndim == 2 else len(object_)) != slices:
        mismatch = f"an object of shape {object_.shape}"
        raise InputError(scan.source, "reconstruction", mismatch, f"{slices} slices, one more than gaps between them")
    if not patches_lie_inside(positions_px, scan.size, object_.shape[-2:]):
        low, high = np.round(positions_px.min(0)), np.round(positions_px.max(0)) + scan.size
        reach = f"patches that reach {low.tolist()} to {high.tolist()}"
        expected = f"patches inside its object of {object_.shape[-2:]} pixels"
        raise InputError(scan.source, "reconstruction", reach, expected)


def amplitude_variance(expected: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return `E[(sqrt I - sqrt mu)^2]` of Poisson counts I of mean mu, pixel by pixel.

    It rises as 2 mu for faint pixels, peaks at 0.45 near mu = 1 and tends to 1/4: a square root makes the variance of
    Poisson counts constant.

    Args:
        expected: Mean counts mu, any shape.

    >>> [round(value, 3) for value in amplitude_variance(torch.tensor([0.001, 1.0, 100.0])).tolist()]
    [0.002, 0.454, 0.251]
    """
    if kernels.are_usable(expected):
        variance = torch.empty_like(expected, memory_format=torch.contiguous_format)
        _look_up_variance(as_reals(expected).reshape(-1), _table(), as_reals(variance, writes=True).reshape(-1))
        return variance
    mean = expected.clamp(min=0)
    root = mean.sqrt()
    return torch.where(root < MAX_ROOT, mean * _ratio_from_table(root), _series(mean.clamp(min=1.0)))


def expected_amplitude_residual(
    predicted: Float[Tensor, "batch y x"], mask: Bool[Tensor, "y x"] | None = None
) -> float:
    """Return the amplitude residual `E[sum (sqrt I - sqrt mu)^2] / E[sum I]` of Poisson counts of predicted means.

    Args:
        predicted: Mean counts, (batch, y, x).
        mask: Good pixels in the order of `predicted`; None for all.
    """
    good = torch.ones(predicted.shape[-2:], dtype=torch.bool) if mask is None else mask
    mean = predicted[:, good]
    return float(amplitude_variance(mean).sum(dtype=torch.float64) / mean.sum(dtype=torch.float64))


def _series(mean: Tensor) -> Tensor:
    # E sqrt(I) = sqrt(mu) (1 - 1/(8 mu) - 7/(128 mu^2) - 75/(1024 mu^3) - ...)
    return 0.25 + 7 / (64 * mean) + 75 / (512 * mean**2)


def _ratio_from_table(root: Tensor) -> Tensor:
    table = torch.from_numpy(_table()).to(root)
    node = (root * NODES_PER_ROOT).clamp(max=MAX_ROOT * NODES_PER_ROOT - 1)
    below = node.long()
    return torch.lerp(table[below], table[below + 1], node - below)


@compiled
def _look_up_variance(mean: Array, table: Array, variance: Array) -> None:
    """Do as `amplitude_variance` does, pixel by pixel."""
    for pixel in range(mean.size):
        photons = 0.0 if mean[pixel] < 0 else mean[pixel]
        root = np.sqrt(photons)
        if root < MAX_ROOT:
            node = min(root * NODES_PER_ROOT, MAX_ROOT * NODES_PER_ROOT - 1)
            below = int(node)
            ratio = table[below] + (node - below) * (table[below + 1] - table[below])
            variance[pixel] = photons * ratio
        else:
            variance[pixel] = 0.25 + 7 / (64 * photons) + 75 / (512 * photons**2)


@cache
def _table() -> Float64[np.ndarray, " node"]:
    """Return `E[(sqrt I - sqrt mu)^2] / mu` at equal steps of `sqrt(mu)`; it starts at 2."""
    from scipy.stats import poisson

    mean = (np.arange(1, MAX_ROOT * NODES_PER_ROOT + 1) / NODES_PER_ROOT) ** 2
    counts = np.arange(200)
    probability = poisson.pmf(counts, mean[:, None])
    variance = (probability * (np.sqrt(counts) - np.sqrt(mean[:, None])) ** 2).sum(1)
    return np.concatenate([[2.0], variance / mean])


def shot_noise_limit(
    illumination: Float[np.ndarray, "height width"], truth: Complex[np.ndarray, "height width"], mask: Mask
) -> float:
    """Return the minimum complex error of an unbiased estimate, `sqrt(sum 1/illumination / sum abs(T)**2)` on the mask.

    Args:
        illumination: Sum of `abs(probe)**2` over positions and modes, photons per object pixel.
        truth: The true object T, transmission.
        mask: Pixels to compare; all of them illuminated.

    Raises:
        ValueError: If the mask holds no pixel, or one without illumination.

    >>> round(shot_noise_limit(np.full((8, 8), 400.0), np.ones((8, 8), complex), np.ones((8, 8), bool)), 6)
    0.05
    """
    photons, power = illumination[mask].astype(np.float64), np.abs(truth[mask].astype(np.complex128)) ** 2
    if not photons.size or photons.min() <= 0:
        raise ValueError("the shot-noise limit needs a mask of illuminated pixels")
    return float(np.sqrt((1 / photons).sum() / power.sum()))


def compute_flux_factor(measured_photons: float, predicted_photons: float) -> float:
    """Return the global factor on predicted counts of maximum Poisson likelihood, `sum(I) / sum(I_pred)`.

    >>> compute_flux_factor(measured_photons=300.0, predicted_photons=200.0)
    1.5
    """
    return measured_photons / predicted_photons
