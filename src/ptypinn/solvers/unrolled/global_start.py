"""One cheap sweep over a whole scan: the start, and the units, that its windows have in common."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.ndimage import map_coordinates
from torch import Tensor

from ptypinn.data.derived_counts import PickedCounts
from ptypinn.data.pattern_batches import PatternStack
from ptypinn.data.scan import ScanData
from ptypinn.physics.illumination import compute_illumination
from ptypinn.physics.patches import split_positions
from ptypinn.solvers.quasi_newton.initial_object import compute_deflections, integrate_slopes, scatter_mean, sum_moments
from ptypinn.solvers.quasi_newton.preconditioner import WELL_ILLUMINATED, IlluminationStats, sum_uniformity
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.unrolled.downsample import downsample_probe
from ptypinn.solvers.unrolled.loop import with_amplitude_loss
from ptypinn.solvers.unrolled.problem import ScanContext, UnrolledOptions, build_objective
from ptypinn.solvers.unrolled.tiling import Box, TileLayout
from ptypinn.types import Corners, Probe

BAND = 256
"""Rows of the canvas that are looked at at once."""

Moments = Float[Tensor, "positions 3"]


@dataclass(frozen=True)
class CoarseStart:
    """A smooth start for a whole canvas, every `factor` pixels."""

    amplitude: Float32[np.ndarray, "rows columns"]
    """Transmission."""
    phase: Float32[np.ndarray, "rows columns"]
    """Radians, not wrapped; 0 where the start is flat."""
    factor: int
    """Object pixels per sample."""

    def within(self, box: Box) -> np.ndarray:
        """The start on the pixels of a box, complex64."""
        amplitude, phase = (self._sampled(values, box) for values in (self.amplitude, self.phase))
        return (amplitude * np.exp(1j * phase)).astype(np.complex64)

    def amplitude_within(self, box: Box) -> np.ndarray:
        """Its amplitude on the pixels of a box, float32."""
        return self._sampled(self.amplitude, box)

    def _sampled(self, values: np.ndarray, box: Box) -> np.ndarray:
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
    """What the windows of a scan have in common."""

    start: CoarseStart
    levels: IlluminationStats
    amplitude: float
    """Overall amplitude of the start."""

    def whole(self, canvas: Box, origin: tuple[int, int], numbers: np.ndarray) -> ScanContext:
        """What a window takes from the whole scan.

        Args:
            canvas: Of the window.
            origin: Of the whole canvas, in the coordinates of the scan's positions.
            numbers: Patterns of the window.
        """
        place = (origin[0] + canvas.top, origin[1] + canvas.left)
        return ScanContext(place, self.start.within(canvas), self.levels, self.amplitude, numbers)


def measure_moments(scan: ScanData, device: torch.device) -> Moments:
    """`solver.start.raw_moments` of all patterns of a scan, read once and not kept."""
    return sum_moments(PatternStack(scan, device, budget_bytes=0))


def digest_scan(scan: ScanData, rows: Moments) -> str:
    """SHA-256 of a scan: positions, probe, mask, and the moments of every pattern."""
    found = hashlib.sha256()
    for values in (scan.positions_px, scan.require_probe(), scan.good, rows.cpu().numpy()):
        found.update(f"{values.dtype}{values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def compute_global_start(
    scan: ScanData, rows: Moments, layout: TileLayout, options: UnrolledOptions, origin: tuple[int, int], device: torch.device
) -> tuple[GlobalStart, Float32[np.ndarray, "height width"]]:
    """Find what the windows of a scan have in common: what the whole canvas would find for itself.

    Also returns the photons on every object pixel over the whole scan.

    Args:
        scan: Scan with the probe to solve with.
        rows: `raw_rows` of the scan.
        layout: Its windows.
        options: How to solve.
        origin: Of the whole canvas, in the coordinates of the scan's positions.
        device: Where to compute.
    """
    probe = torch.from_numpy(scan.require_probe()).to(device)
    positions = torch.from_numpy(scan.positions_px - np.asarray(origin, np.float64))
    corners = split_positions(positions)[0].to(device)
    found = compute_deflections(PatternStack(scan, device, budget_bytes=0), probe, rows)
    start = _better_start(scan, _start(found, probe, corners, layout.extent), probe, layout, options, origin)
    light = compute_illumination(probe, corners, *layout.extent).cpu().numpy()
    levels, amplitude = _levels(light, start, float(probe.abs().square().sum(0).max()))
    return GlobalStart(start, levels, amplitude), light


def _start(found: Moments, probe: Probe, corners: Corners, extent: tuple[int, int]) -> CoarseStart:
    """`solver.start.deflection_start`, on a coarser grid where the canvas is large."""
    probe, corners, extent, factor = downsample_probe(probe, corners, extent)
    amplitude, slope_y, slope_x = scatter_mean(found.float(), probe, corners, extent)
    phase = integrate_slopes(factor * slope_y, factor * slope_x)
    return CoarseStart(amplitude.cpu().numpy(), phase.cpu().numpy(), factor)


def _better_start(
    scan: ScanData, start: CoarseStart, probe: Probe, layout: TileLayout, options: UnrolledOptions, origin: tuple[int, int]
) -> CoarseStart:
    """The start with the phase of the deflections or a flat one, whichever explains the counts better."""
    flat = CoarseStart(start.amplitude, np.zeros_like(start.phase), start.factor)
    losses = np.zeros(2)
    for window in layout.windows:
        if len(window.owned):
            part = select_patterns(scan, window.owned)
            place = (origin[0] + window.canvas.top, origin[1] + window.canvas.left)
            objective = with_amplitude_loss(build_objective(part, probe, options, place, window.owned))
            for k, some in enumerate((flat, start)):
                canvas = torch.from_numpy(some.within(window.canvas)).to(probe.device)
                losses[k] += objective.loss(Unknowns(canvas))
    return flat if losses[0] <= losses[1] else start


def select_patterns(scan: ScanData, patterns: np.ndarray) -> ScanData:
    """The patterns of a window, not read before they are asked for."""
    counts = PickedCounts(scan.counts, patterns)
    return scan.replace(counts=counts, positions_px=scan.positions_px[patterns], truth=None)


def _levels(light: np.ndarray, start: CoarseStart, brightest: float) -> tuple[IlluminationStats, float]:
    """Levels and overall amplitude of the whole scan, band by band."""
    peak = float(light.max())
    sums = np.zeros(7)
    for top in range(0, light.shape[0], BAND):
        band = light[top : top + BAND]
        power = start.amplitude_within(Box(top, 0, top + len(band), light.shape[1])).astype(np.float64) ** 2
        lit = band > np.float32(WELL_ILLUMINATED) * np.float32(peak)
        even = sum_uniformity(torch.from_numpy(light[top : top + BAND + 1]), brightest, len(band))
        sums[:3] += [lit.sum(), band[lit].sum(dtype=float), power[lit].sum()]
        sums[3:] += [(band * power).sum(), band.sum(dtype=float), *map(float, even)]
    count, lit_light, lit_power, transmitted, total, held, uneven = sums.tolist()
    even_px2 = held / max(uneven, 1e-30)
    return IlluminationStats(peak, lit_light / count, lit_power / count, even_px2), max((transmitted / total) ** 0.5, 1e-6)
