"""The bright-field disk of electron patterns: centre, radius, and the images that its parts make of the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Num

from ptypinn.data.moved_frames import roll_frames, weigh_shifts
from ptypinn.data.scan import ScanData

EDGE_LEVEL = 0.5
"""Counts at the rim of the disk over those within."""
MIN_INSIDE, MAX_OUTSIDE = 0.8, 0.35
"""Smallest fraction of the pixels within the disk that are bright, and largest fraction of its level just outside."""
USED_RADIUS, PARTS = 0.95, 7
"""Part of the radius whose pixels make images, and parts of the disk along its diameter that make one each."""
MOVING_RIM_PX = 1.5
"""Width of the rim that images leave out where the disk moves, and parts of it are interpolated, detector pixels."""
RIM_PX = 1.5, 4.0
"""Distances from the rim, detector pixels, between which counts inside and outside of it are compared."""
MIN_RADIUS_PX = 3.0
"""Smallest radius that is looked at, detector pixels."""

Pattern = Float64[np.ndarray, "y x"]


@dataclass(frozen=True)
class BrightField:
    """The bright-field disk on the detector."""

    centre_px: tuple[float, float]
    """Its centre (y, x) from the zero frequency at N//2, detector pixels."""
    radius_px: float
    """Its radius, detector pixels."""
    fraction: float
    """Fraction of the counts that lie within."""


def pixel_angle_rad(scan: ScanData) -> float | None:
    """Return the angle of a detector pixel, radians: `wavelength / (N * object pixel)`; None where one is unknown."""
    if scan.pixel_size_m is None or scan.wavelength_m is None:
        return None
    return scan.wavelength_m / (scan.size * scan.pixel_size_m)


def fit_bright_field(mean: Pattern, good: Bool[np.ndarray, "y x"]) -> BrightField | None:
    """Return the bright-field disk of a mean pattern; None where it has none, such as a cone with a central stop.

    Args:
        mean: Mean pattern, zero frequency at N//2.
        good: True = good pixel.

    >>> y, x = np.ogrid[-32:32, -32:32]
    >>> disk = fit_bright_field(1.0 * (np.hypot(y - 1.5, x) < 20), np.ones((64, 64), bool))
    >>> disk.centre_px, round(disk.radius_px, 1)
    ((1.5, 0.0), 20.0)
    """
    values = np.where(good, mean, 0.0)
    if not values.max() > 0:
        return None
    level = float(np.percentile(values[values > 0.1 * values.max()], 75))
    for _ in range(10):
        inside = values > EDGE_LEVEL * level
        level = float(np.median(values[inside]))
    rows, columns = np.nonzero(inside)
    centre = np.array([rows.mean(), columns.mean()])
    y, x = np.ogrid[: len(mean), : len(mean)]
    distance = np.hypot(y - centre[0], x - centre[1])
    radius = float(np.sqrt(_sum_rings(inside.astype(float), distance, good) / np.pi))
    ring = (distance > 1.2 * radius) & (distance < 1.5 * radius) & good
    outside = float(np.mean(values[ring])) if ring.any() else 0.0
    brightness = (values - outside) / max(level - outside, 1e-12) * (distance < 1.35 * radius)
    covered = np.clip(brightness, 0, 1) * good
    centre = np.array([(covered.sum(axis) * np.arange(len(mean))).sum() for axis in (1, 0)]) / covered.sum()
    distance = np.hypot(y - centre[0], x - centre[1])
    radius = float(np.sqrt(_sum_rings(brightness, distance, good) / np.pi))
    radius = _refine_radius(values, distance, good, radius)
    disk = distance < 0.9 * radius
    if radius < MIN_RADIUS_PX or inside[disk & good].mean() < MIN_INSIDE or outside > MAX_OUTSIDE * level:
        return None
    y_px, x_px = (float(value) for value in centre - len(mean) // 2)
    return BrightField((y_px, x_px), radius, float(values[distance < radius].sum() / values.sum()))


def _refine_radius(values: Pattern, distance: Pattern, good: Bool[np.ndarray, "y x"], radius: float) -> float:
    """Return the radius at which counts are halfway between those on both sides of the rim, as a halo falls off."""
    inner = good & (distance > radius - RIM_PX[1]) & (distance < radius - RIM_PX[0])
    outer = good & (distance > radius + RIM_PX[0]) & (distance < radius + RIM_PX[1])
    if not (inner.any() and outer.any() and values[inner].mean() > values[outer].mean()):
        return radius
    low, high = float(values[outer].mean()), float(values[inner].mean())
    brightness = np.where(distance < radius - RIM_PX[0], 1.0, (values - low) / (high - low))
    brightness[distance > radius + RIM_PX[0]] = 0.0
    return float(np.sqrt(_sum_rings(brightness, distance, good) / np.pi))


def _sum_rings(values: Pattern, distance: Pattern, good: Bool[np.ndarray, "y x"]) -> float:
    """Return the sum over rings of their mean values, 0 to 1: noise averages out, and bad pixels count as good ones."""
    ring = np.rint(distance).astype(int).ravel()
    totals, number, pixels = (
        np.bincount(ring, weights.ravel()) for weights in (values * good, good.astype(float), np.ones_like(distance))
    )
    lit = number > 0
    return float((np.clip(totals[lit] / number[lit], 0, 1) * pixels[lit]).sum())


@dataclass(frozen=True)
class TiltedImages:
    """Images of the sample by parts of the bright-field disk: each sees it through a beam of another tilt."""

    images: Float64[np.ndarray, "part height width"]
    """Counts over their mean, less 1, on a grid of scan positions."""
    tilts_px: Float64[np.ndarray, "part 2"]
    """Middle (y, x) of every part from the centre of the disk, detector pixels."""
    counts: Float64[np.ndarray, " part"]
    """Mean counts of every part."""
    step_px: float
    """Distance of the grid's points, object pixels."""


def form_images(scan: ScanData, disk: BrightField, batch: int = 256) -> TiltedImages:
    """Return the images by parts of the disk, interpolated linearly between the scan positions.

    Args:
        scan: The scan, its patterns read `batch` at a time; the parts follow its beam where that moves.
        disk: Its bright-field disk, at the mean place of the beam.
        batch: Patterns in memory at once.
    """
    from scipy.interpolate import LinearNDInterpolator

    masks, tilts = _divide_disk(scan, disk)
    sums = np.concatenate([_sum_parts(scan, part, counts, masks) for part, counts in scan.batches(batch)])
    places = scan.positions_px - scan.positions_px.min(0)
    extent = places.max(0)
    step = float(np.sqrt(max(np.prod(extent), 1e-9) / len(places)))
    shape = np.maximum((extent / step).astype(int) + 1, 1)
    grid = np.stack(np.meshgrid(*(np.arange(length) * step for length in shape), indexing="ij"), -1)
    means = np.maximum(sums.mean(0, dtype=np.float64), 1e-9)
    values = sums / means - 1
    images = LinearNDInterpolator(places, values, fill_value=0.0)(grid)
    return TiltedImages(np.moveaxis(images, -1, 0), tilts, means, step)


def _sum_parts(
    scan: ScanData, part: slice, counts: Num[np.ndarray, "batch y x"], masks: Bool[np.ndarray, "part y x"]
) -> Float64[np.ndarray, "batch part"]:
    """Return the counts of every frame in every part of the disk; those of bad pixels are made up for."""
    sums = np.zeros((len(counts), len(masks)))
    for shift, chosen, weights in weigh_shifts(scan.beam_px, part):
        moved = roll_frames(masks, shift) & scan.good
        used = moved.any(0)  # others may hold anything
        share = moved.sum((1, 2)) / masks.sum((1, 2))
        frames = counts[chosen][:, used] @ moved[:, used].T.astype(np.float32)
        sums[chosen] += weights[:, None] * frames / np.maximum(share, 1e-9)
    return sums


def _divide_disk(
    scan: ScanData, disk: BrightField
) -> tuple[Bool[np.ndarray, "part y x"], Float64[np.ndarray, "part 2"]]:
    """Return the pixels of square parts of the disk, and the middle of each from its centre."""
    axis = np.arange(scan.size) - scan.size // 2
    y, x = np.meshgrid(axis - disk.centre_px[0], axis - disk.centre_px[1], indexing="ij")
    cells = [np.clip((value / disk.radius_px + 1) / 2 * PARTS, 0, PARTS - 1).astype(int) for value in (y, x)]
    reach = USED_RADIUS * disk.radius_px
    reach = reach if scan.beam_px is None else min(reach, disk.radius_px - MOVING_RIM_PX)
    labels = np.where((np.hypot(y, x) < reach) & scan.good, cells[0] * PARTS + cells[1], -1)
    masks = np.stack([labels == number for number in range(PARTS**2) if (labels == number).any()])
    sizes = masks.sum((1, 2))
    masks = masks[sizes > 0.3 * sizes.max()]  # slivers at the rim hold few electrons
    return masks, np.array([[y[mask].mean(), x[mask].mean()] for mask in masks])
