"""Start and units of a whole scan that all its tiles share, from one pass over the counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.ndimage import map_coordinates
from torch import Tensor

from ptypinn.data.corrected_counts import PickedCounts
from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.physics.patches import compute_illumination, downsample_probe, split_positions
from ptypinn.solvers.quasi_newton.initial_object import compute_deflections, integrate_slopes, scatter_mean, sum_moments
from ptypinn.solvers.quasi_newton.preconditioner import WELL_ILLUMINATED, IlluminationStats, sum_uniformity
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.unrolled.loop import with_amplitude_loss
from ptypinn.solvers.unrolled.problem import ScanContext, UnrolledOptions, build_objective
from ptypinn.solvers.unrolled.tiling import Box, TileLayout
from ptypinn.types import Corners, Probe

BAND_ROWS = 256
"""Rows of the canvas that are processed at once."""

Moments = Float[Tensor, "positions 3"]


@dataclass(frozen=True)
class CoarseStart:
    """A smooth starting object for a whole canvas, every `factor` pixels."""

    amplitude: Float32[np.ndarray, "rows columns"]
    """Transmission."""
    phase: Float32[np.ndarray, "rows columns"]
    """Radians, not wrapped; 0 where the start is flat."""
    factor: int
    """Object pixels per sample."""

    def within(self, box: Box) -> np.ndarray:
        """Return the start on the pixels of a box, complex64."""
        amplitude, phase = (self._sample(values, box) for values in (self.amplitude, self.phase))
        return (amplitude * np.exp(1j * phase)).astype(np.complex64)

    def amplitude_within(self, box: Box) -> np.ndarray:
        """Return its amplitude on the pixels of a box, float32."""
        return self._sample(self.amplitude, box)

    def _sample(self, values: np.ndarray, box: Box) -> np.ndarray:
        if self.factor == 1:
            return np.array(values[box.top : box.bottom, box.left : box.right])
        places = [
            (np.arange(a, b) - (self.factor - 1) / 2) / self.factor for a, b in zip(box[:2], box[2:], strict=True)
        ]
        first = [max(0, int(place[0]) - 1) for place in places]
        part = values[first[0] : int(places[0][-1]) + 3, first[1] : int(places[1][-1]) + 3]
        grid = np.meshgrid(*(place - begin for place, begin in zip(places, first, strict=True)), indexing="ij")
        return map_coordinates(part, grid, order=1, mode="nearest").astype(np.float32)


@dataclass(frozen=True)
class GlobalStart:
    """Start and units that the tiles of a scan share."""

    object: CoarseStart
    stats: IlluminationStats
    amplitude: float
    """Overall amplitude of the start."""

    def context(self, canvas: Box, origin: tuple[int, int], pattern_index: np.ndarray) -> ScanContext:
        """Return the properties of the whole scan that a tile needs.

        Args:
            canvas: Of the tile.
            origin: Of the whole canvas, in the coordinates of the scan's positions.
            pattern_index: Patterns of the tile.
        """
        return ScanContext(
            origin=(origin[0] + canvas.top, origin[1] + canvas.left),
            start=self.object.within(canvas),
            stats=self.stats,
            amplitude=self.amplitude,
            pattern_index=pattern_index,
        )


def measure_moments(scan: ScanData, device: torch.device) -> Moments:
    """Return `sum_moments` of all patterns of a scan; the counts are read once and not kept."""
    return sum_moments(PatternBatches(scan, device, budget_bytes=0))


def digest_scan(scan: ScanData, moments: Moments) -> str:
    """Return the SHA-256 of a scan: positions, probe, mask, and the moments of every pattern."""
    digest = hashlib.sha256()
    for values in (scan.positions_px, scan.require_probe(), scan.good, moments.cpu().numpy()):
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def compute_global_start(
    scan: ScanData,
    moments: Moments,
    layout: TileLayout,
    options: UnrolledOptions,
    origin: tuple[int, int],
    device: torch.device,
) -> tuple[GlobalStart, Float32[np.ndarray, "height width"]]:
    """Compute the start and the units that the whole canvas would have.

    Args:
        scan: Scan with the probe to solve with.
        moments: `measure_moments` of the scan.
        layout: Its tiles.
        options: Options of the solver.
        origin: Of the whole canvas, in the coordinates of the scan's positions.
        device: Device to compute on.

    Returns:
        The start, and the photons on every object pixel over the whole scan.
    """
    probe = torch.from_numpy(scan.require_probe()).to(device)
    positions = torch.from_numpy(scan.positions_px - np.asarray(origin, np.float64))
    corners = split_positions(positions)[0].to(device)
    deflections = compute_deflections(PatternBatches(scan, device, budget_bytes=0), probe, moments)
    start = _coarse_start(deflections, probe, corners, layout.extent)
    start = _better_start(scan, start, probe, layout, options, origin)
    illumination = compute_illumination(probe, corners, *layout.extent).cpu().numpy()
    stats, amplitude = _compute_stats(illumination, start, float(probe.abs().square().sum(0).max()))
    return GlobalStart(start, stats, amplitude), illumination


def select_patterns(scan: ScanData, patterns: np.ndarray) -> ScanData:
    """Return the scan of some patterns, whose counts are read only when they are used."""
    counts = PickedCounts(scan.counts, patterns)
    terms = scan.take_frame_terms(patterns)
    return scan.replace(counts=counts, positions_px=scan.positions_px[patterns], truth=None, **terms)


def _coarse_start(deflections: Moments, probe: Probe, corners: Corners, extent: tuple[int, int]) -> CoarseStart:
    """Compute `initial_object.dpc_start`, on a coarser grid where the canvas is large."""
    probe, corners, extent, factor = downsample_probe(probe, corners, extent)
    amplitude, slope_y, slope_x = scatter_mean(deflections.float(), probe, corners, extent)
    phase = integrate_slopes(factor * slope_y, factor * slope_x)
    return CoarseStart(amplitude.cpu().numpy(), phase.cpu().numpy(), factor)


def _better_start(
    scan: ScanData,
    start: CoarseStart,
    probe: Probe,
    layout: TileLayout,
    options: UnrolledOptions,
    origin: tuple[int, int],
) -> CoarseStart:
    """Return the start with the phase of the deflections or a flat one, whichever explains the counts better."""
    flat = CoarseStart(start.amplitude, np.zeros_like(start.phase), start.factor)
    losses = np.zeros(2)
    for tile in layout.tiles:
        if len(tile.central):
            part = select_patterns(scan, tile.central)
            place = (origin[0] + tile.canvas.top, origin[1] + tile.canvas.left)
            objective = with_amplitude_loss(build_objective(part, probe, options, place, tile.central))
            for k, candidate in enumerate((flat, start)):
                canvas = torch.from_numpy(candidate.within(tile.canvas)).to(probe.device)
                losses[k] += objective.loss(Unknowns(canvas))
    return flat if losses[0] <= losses[1] else start


def _compute_stats(illumination: np.ndarray, start: CoarseStart, brightest: float) -> tuple[IlluminationStats, float]:
    """Compute illumination statistics and overall amplitude of the whole scan, band by band."""
    peak = float(illumination.max())
    sums = np.zeros(7)
    for top in range(0, illumination.shape[0], BAND_ROWS):
        band = illumination[top : top + BAND_ROWS]
        power = start.amplitude_within(Box(top, 0, top + len(band), illumination.shape[1])).astype(np.float64) ** 2
        interior = band > np.float32(WELL_ILLUMINATED) * np.float32(peak)
        with_next_row = torch.from_numpy(illumination[top : top + BAND_ROWS + 1])
        uniformity = sum_uniformity(with_next_row, brightest, len(band))
        sums[:3] += [interior.sum(), band[interior].sum(dtype=float), power[interior].sum()]
        sums[3:] += [(band * power).sum(), band.sum(dtype=float), *map(float, uniformity)]
    count, photons, interior_power, transmitted, total, tapered, slopes = sums.tolist()
    stats = IlluminationStats(peak, photons / count, interior_power / count, tapered / max(slopes, 1e-30))
    return stats, max((transmitted / total) ** 0.5, 1e-6)
