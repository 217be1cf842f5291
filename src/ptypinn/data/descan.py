"""Descan of an electron scan: the motion of the bright-field disk over the detector, linear in the scan position.

The coils that bring the beam back to the axis behind the sample never do so exactly. The disk is found in the mean
patterns of blocks of positions, by its rim: what the sample does to the counts within averages out and hardly moves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ptypinn.data.bright_field import BrightField, fit_bright_field, pixel_angle_rad
from ptypinn.data.moved_frames import roll_frames
from ptypinn.data.scan import ScanData

DESCAN = "descan"
"""Key of the record of a motion of the beam with the scan position, in the provenance of a scan."""
BLOCKS, MIN_BLOCKS, MIN_FRAMES = 8, 3, 4
"""Largest and smallest number of blocks along an edge of the scan, and mean number of frames of one along its edge."""
RIM_PX, SOFT_PX = 2.5, 1.0
"""Half-width of the ring of pixels around the rim that is fitted, and that of the rim itself, detector pixels."""
STEPS, MAX_STEP_PX = 12, 1.5
"""Steps of the fit of a disk, and the largest one, detector pixels."""
REWEIGHTINGS, OUTLIER = 8, 2.0
"""Steps of the fit of the motion, and the residual, in standard deviations, above which a block counts less."""
MIN_SIZE_PX, MIN_SIGNIFICANCE = 0.3, 4.0
"""Smallest motion over the scan that is corrected, detector pixels, and that over its standard error."""

Points = Float64[np.ndarray, "patterns 2"]
Blocks = Float64[np.ndarray, "blocks 2"]


@dataclass(frozen=True)
class Descan:
    """Motion of the disk with the scan position."""

    matrix: Float64[np.ndarray, "2 2"]
    """Motion (y, x) of the disk, detector pixels, per position (y, x), object pixels."""
    size_px: float
    """Largest distance of the disk from itself in two frames, detector pixels."""
    error_px: float
    """Standard error of that distance."""
    pixel_angle_rad: float | None = None
    """Angle of a detector pixel, radians, where known."""

    @property
    def is_large(self) -> bool:
        """True if the motion is worth correcting and beyond doubt."""
        return self.size_px > max(MIN_SIZE_PX, MIN_SIGNIFICANCE * self.error_px)

    def path_px(self, positions_px: Points) -> Points:
        """Return the displacement of every pattern, detector pixels, mean 0."""
        return (positions_px - positions_px.mean(0)) @ self.matrix.T

    def describe(self) -> str:
        """Return the motion over the scan in words."""
        size = f"{self.size_px:.2f} +- {self.error_px:.2g} px"
        if self.pixel_angle_rad is not None:
            size += f", {1e3 * self.size_px * self.pixel_angle_rad:.3g} mrad,"
        return f"{size} over the scan{'' if self.is_large else ': not significant'}"

    def to_record(self) -> dict[str, Any]:
        """Return plain values for the provenance."""
        angle = self.pixel_angle_rad
        return {
            "matrix": self.matrix.tolist(),
            "size_px": self.size_px,
            "error_px": self.error_px,
            "size_mrad": None if angle is None else 1e3 * self.size_px * angle,
        }


def measure_descan(scan: ScanData, disk: BrightField, batch: int = 256) -> tuple[Descan, BrightField] | None:
    """Return the motion of the disk with the position, and the disk without it; None of scans too small to tell.

    Args:
        scan: Electron scan, its patterns read `batch` at a time.
        disk: The bright-field disk of its mean pattern.
        batch: Patterns in memory at once.
    """
    block, middles = _divide_scan(scan.positions_px)
    if len(middles) < MIN_BLOCKS**2:
        return None
    patterns = _mean_blocks(scan, block, len(middles), batch)
    centres = np.array([_fit_centre(pattern, scan.good, disk) for pattern in patterns])
    matrix, covariance = _fit_motion(middles, centres)
    size, error = _span(scan.positions_px, matrix, covariance)
    shifts = np.rint(centres - centres.mean(0)).astype(int)
    numbers = np.bincount(block)[:, None, None]
    still = sum(roll_frames(p[None] * n, -s)[0] for p, n, s in zip(patterns, numbers, shifts, strict=True))
    times = sum(roll_frames(scan.good[None] * n, -s)[0] for n, s in zip(numbers, shifts, strict=True))
    sharper = fit_bright_field(still / np.maximum(times, 1), times > 0)
    descan = Descan(matrix, size, error, pixel_angle_rad(scan))
    return descan, disk if sharper is None else replace(disk, radius_px=sharper.radius_px, fraction=sharper.fraction)


def follows_disk(recon_provenance: Mapping[str, Any]) -> bool:
    """Return True if a reconstruction has on record that its beam follows the disk of an electron scan."""
    scan = recon_provenance.get("scan")
    return isinstance(scan, Mapping) and isinstance(scan.get(DESCAN), Mapping)


def _divide_scan(positions_px: Points) -> tuple[Int64[np.ndarray, " patterns"], Blocks]:
    """Return the number of every position's block, and the mean position of every block."""
    edge = min(BLOCKS, int(np.sqrt(len(positions_px)) / MIN_FRAMES))
    if edge < MIN_BLOCKS:
        return np.zeros(len(positions_px), np.int64), positions_px[:0]
    places = positions_px - positions_px.min(0)
    cell = np.minimum((places / np.maximum(places.max(0), 1e-9) * edge).astype(int), edge - 1)
    _, block = np.unique(cell[:, 0] * edge + cell[:, 1], return_inverse=True)
    sums = np.stack([np.bincount(block, positions_px[:, axis]) for axis in (0, 1)], 1)
    return block, sums / np.bincount(block)[:, None]


def _mean_blocks(scan: ScanData, block: Int64[np.ndarray, " patterns"], number: int, batch: int) -> np.ndarray:
    """Return the mean pattern of every block, (number, y, x), 0 at bad pixels."""
    sums = np.zeros((number, scan.size, scan.size))
    for part, counts in scan.batches(batch):
        for each in np.unique(block[part]):
            sums[each] += counts[block[part] == each].sum(0, dtype=np.float64)
    return np.where(scan.good, sums, 0.0) / np.bincount(block)[:, None, None]


def _fit_centre(pattern: np.ndarray, good: Bool[np.ndarray, "y x"], disk: BrightField) -> Float64[np.ndarray, " 2"]:
    """Return the centre (y, x) of the disk of a pattern from N//2: levels, radius and centre of its rim are fitted."""
    axis = np.arange(len(pattern)) - len(pattern) // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    centre, radius = np.array(disk.centre_px), disk.radius_px
    for _ in range(STEPS):
        away = np.hypot(y - centre[0], x - centre[1])
        ring = good & (np.abs(away - radius) < RIM_PX)
        inside = np.clip((radius - away[ring]) / (2 * SOFT_PX) + 0.5, 0.0, 1.0)
        slope = (np.abs(radius - away[ring]) < SOFT_PX) / (2 * SOFT_PX)
        out_y, out_x = ((c[ring] - m) / np.maximum(away[ring], 1e-9) for c, m in zip((y, x), centre, strict=True))
        low, high = np.linalg.lstsq(np.column_stack([1 - inside, inside]), pattern[ring], rcond=None)[0]
        height = max(high - low, 1e-30)
        design = np.column_stack([1 - inside, inside, height * slope, height * slope * out_y, height * slope * out_x])
        rest = pattern[ring] - low * (1 - inside) - high * inside
        step = np.linalg.lstsq(design, rest, rcond=None)[0][2:]
        step *= min(1.0, MAX_STEP_PX / max(float(np.abs(step).max()), 1e-30))
        radius, centre = radius + step[0], centre + step[1:]
    return np.asarray(centre)


def _fit_motion(places: Blocks, centres: Blocks) -> tuple[Float64[np.ndarray, "2 2"], Float64[np.ndarray, "2 2 2"]]:
    """Return the matrix from places to centres, and for each of its rows the covariance of the entries.

    Least squares with less weight for outliers (Huber), which thick or bent parts of a sample are.
    """
    design = np.column_stack([np.ones(len(places)), places - places.mean(0)])
    matrix, covariance = np.zeros((2, 2)), np.zeros((2, 2, 2))
    for row, values in enumerate(centres.T):
        weights = np.ones(len(values))
        for _ in range(REWEIGHTINGS):
            weighted = design * weights[:, None]
            normal = np.linalg.inv(weighted.T @ design)
            fit = normal @ (weighted.T @ values)
            rest = values - design @ fit
            spread = max(1.4826 * float(np.median(np.abs(rest))), 1e-12)
            weights = np.minimum(1.0, OUTLIER * spread / np.maximum(np.abs(rest), 1e-12))
        variance = float((weights * rest**2).sum() / max(weights.sum() - 3, 1))
        matrix[row], covariance[row] = fit[1:], variance * normal[1:, 1:]
    return matrix, covariance


def _span(
    positions_px: Points, matrix: Float64[np.ndarray, "2 2"], covariance: Float64[np.ndarray, "2 2 2"]
) -> tuple[float, float]:
    """Return the largest distance of the disk from itself in two frames, and its standard error."""
    from scipy.spatial import ConvexHull

    corners = positions_px[ConvexHull(positions_px).vertices]
    apart = corners[:, None] - corners[None]
    distance = np.linalg.norm(apart @ matrix.T, axis=-1)
    first, second = np.unravel_index(int(distance.argmax()), distance.shape)
    reach = apart[first, second]
    variances = np.array([reach @ part @ reach for part in covariance])
    along = (matrix @ reach) / max(float(distance.max()), 1e-30)
    return float(distance.max()), float(np.sqrt((along**2) @ variances))
