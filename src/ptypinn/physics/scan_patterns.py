"""Scan patterns: coordinates (y, x) of the probe array's pixel (0, 0), float64 tensors (positions, 2).

Positions fill the rectangle from (0, 0) to `extent`, which is the room that the probe array has to move on the object.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from numpy.random import Generator
from torch import Tensor

ScanPositions = Float64[Tensor, "batch 2"]
Extent = tuple[float, float]

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def raster(extent: Extent, step: float, generator: Generator) -> ScanPositions:
    """Square grid in the middle of the extent, row after row; `generator` is not used.

    Args:
        extent: Height and width of the scanned rectangle, pixels.
        step: Distance between neighbours, pixels.
        generator: Source of randomness.
    """
    axes = [np.arange(int(room / step + 1e-9) + 1) * step for room in extent]
    axes = [axis + (room - axis[-1]) / 2 for axis, room in zip(axes, extent, strict=True)]
    return torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2))


def fermat_spiral(extent: Extent, step: float, generator: Generator) -> ScanPositions:
    """Fermat spiral, `r = c sqrt(k)` at multiples of the golden angle, with one position per `step**2`.

    Huang et al., Opt. Express 22 (2014) 12634. The spiral starts in the middle at a random angle.

    Args:
        extent: Height and width of the scanned rectangle, pixels.
        step: Square root of the area per position, pixels.
        generator: Draws the angle of the spiral.
    """
    # A rectangle thinner than a step gets the positions of one that is a step wide, pressed together.
    room = np.maximum(extent, step)
    number = int(math.pi * float(np.sum(room**2)) / 4 / step**2) + 2
    k = np.arange(number)
    radius, angle = step * np.sqrt((k + 0.5) / math.pi), k * GOLDEN_ANGLE + generator.uniform(0, 2 * math.pi)
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1) + room / 2
    inside = ((points >= 0) & (points <= room)).all(1)
    return torch.from_numpy(points[inside] * (np.asarray(extent) / room))


def uniform_random(extent: Extent, step: float, generator: Generator) -> ScanPositions:
    """Independent uniform positions, one per `step**2` on average.

    Args:
        extent: Height and width of the scanned rectangle, pixels.
        step: Square root of the area per position, pixels.
        generator: Source of randomness.
    """
    number = max(1, round(extent[0] * extent[1] / step**2))
    return torch.from_numpy(generator.uniform(0, extent, (number, 2)))


def jitter(positions: ScanPositions, amplitude: float, extent: Extent, generator: Generator) -> ScanPositions:
    """Move every position by up to `amplitude` pixels in y and in x, uniformly; the edges of the extent reflect it."""
    moved = positions + torch.from_numpy(generator.uniform(-amplitude, amplitude, tuple(positions.shape)))
    high = torch.tensor(extent, dtype=torch.float64)
    return (high - (high - moved.abs()).abs()).clamp(min=0)


SCANS: dict[str, Callable[[Extent, float, Generator], ScanPositions]] = {
    "raster": raster,
    "jittered_raster": raster,
    "fermat": fermat_spiral,
    "uniform": uniform_random,
}
"""Scan patterns by the name that a configuration uses; `jittered_raster` is a raster that is jittered afterwards."""


def positions_by_number(name: str, extent: Extent, number: int, generator: Generator) -> ScanPositions:
    """Return exactly `number` positions of a scan pattern over the whole extent.

    Args:
        name: A key of `SCANS`.
        extent: Height and width of the scanned rectangle, pixels.
        number: Number of positions.
        generator: Source of randomness.
    """
    if name == "uniform":
        return torch.from_numpy(generator.uniform(0, extent, (number, 2)))
    if name == "fermat":
        return _spiral_by_number(extent, number, generator)
    return _raster_by_number(extent, number)


def _raster_by_number(extent: Extent, number: int) -> ScanPositions:
    """Return evenly spaced rows across the extent, whose lengths differ by one where `number` is no product."""
    rows = round(math.sqrt(number * (extent[0] + 1) / (extent[1] + 1)))
    rows = min(max(rows, 1), number)
    row = np.arange(number) * rows // number
    in_row = np.bincount(row)[row]
    column = np.arange(number) - np.searchsorted(row, row)
    y, x = _spread(row, np.full(number, rows)), _spread(column, in_row)
    return torch.from_numpy(np.stack([y * extent[0], x * extent[1]], -1))


def _spread(index: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Place `index` of `number` evenly on [0, 1], a single one in the middle."""
    return np.where(number > 1, index / np.maximum(number - 1, 1), 0.5)


def _spiral_by_number(extent: Extent, number: int, generator: Generator) -> ScanPositions:
    start, room = int(generator.integers(2**31)), (max(extent[0], 1.0), max(extent[1], 1.0))
    step = 1.2 * typical_step(room, number)
    while len(positions := fermat_spiral(room, step, np.random.default_rng(start))) < number:
        step *= 0.995
    return positions[:number] * (torch.tensor(extent, dtype=torch.float64) / torch.tensor(room, dtype=torch.float64))


def typical_step(extent: Extent, number: int) -> float:
    """Return the square root of the area per position, pixels.

    >>> typical_step((100.0, 25.0), 100)
    5.0
    """
    return math.sqrt(extent[0] * extent[1] / number)
