"""Random and geometric faults of a real experiment: positions, curves in time, background, bad pixels and frames."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.random import Generator
from torch import Tensor

from ptypinn.types import Positions

CURVE_TERMS = 4
"""Half-waves of a smooth curve over the scan: the slowest ones, with amplitudes that fall."""


def position_matrix(
    scale_y: float = 1.0, scale_x: float = 1.0, rotation_deg: float = 0.0, shear: float = 0.0
) -> Float64[Tensor, "2 2"]:
    """Return the matrix from true to recorded coordinates (y, x): scales and shear along x, then a turn.

    Args:
        scale_y: Recorded over true distance along y.
        scale_x: The same along x.
        rotation_deg: Angle by which the recorded scan is turned, from the y axis to the x axis, degrees.
        shear: Recorded x per true y.

    >>> position_matrix(rotation_deg=90.0).round().tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    angle = math.radians(rotation_deg)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    return turn @ torch.tensor([[scale_y, 0.0], [shear, scale_x]], dtype=torch.float64)


def transform_positions(positions: Positions, matrix: Float64[Tensor, "2 2"]) -> Float64[Tensor, "batch 2"]:
    """Apply a matrix to positions around their mean, (batch, 2)."""
    middle = positions.double().mean(0)
    return (positions - middle) @ matrix.T + middle


def smooth_curve(number: int, dimensions: int, generator: Generator) -> Float64[Tensor, "time dimension"]:
    """Draw a random smooth curve in time, of slow half-waves, with mean 0.

    Args:
        number: Number of frames, evenly spaced in time.
        dimensions: Number of quantities that vary.
        generator: Source of randomness.
    """
    order = np.arange(1, CURVE_TERMS + 1)
    time = (np.arange(number) + 0.5) / number
    waves = np.cos(np.pi * order * time[:, None])
    amplitudes = generator.standard_normal((CURVE_TERMS, dimensions)) / order[:, None]
    amplitudes[0] += np.sign(amplitudes[0])  # the slowest never vanishes
    curve = waves @ amplitudes
    return torch.from_numpy(curve - curve.mean(0))


def scale_excursion(curve: Float64[Tensor, "time dimension"], size: float) -> Float64[Tensor, "time dimension"]:
    """Scale a curve so that its maximum distance from its start is `size`; a curve of one point becomes 0."""
    farthest = float((curve - curve[0]).norm(dim=1).max())
    return curve * (size / farthest) if farthest > 0 else torch.zeros_like(curve)


def follow_scan(positions: Positions, size: float, generator: Generator) -> Float64[Tensor, "batch 2"]:
    """Return a motion of the beam that is linear in the scan position, by a random matrix, with mean 0.

    Args:
        positions: Positions, (batch, 2), pixels.
        size: Largest distance between two frames, detector pixels.
        generator: Source of randomness.

    >>> positions = torch.tensor([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0]]).double()
    >>> motion = follow_scan(positions, 3.0, np.random.default_rng(0))
    >>> round(float(torch.cdist(motion, motion).max()), 1), bool(motion.mean(0).abs().max() < 1e-12)
    (3.0, True)
    """
    around = positions.double() - positions.double().mean(0)
    motion = around @ torch.from_numpy(generator.standard_normal((2, 2)))
    return motion * (size / max(widest_distance(motion), 1e-30))


def widest_distance(points: Float64[Tensor, "batch 2"]) -> float:
    """Return the largest distance between two points of a plane, to a percent."""
    angles = torch.linspace(0, torch.pi, 65, dtype=torch.float64)
    along = points @ torch.stack([angles.cos(), angles.sin()])
    return float((along.amax(0) - along.amin(0)).max())


def scan_path(positions: Positions, length: float) -> Float64[Tensor, "batch 2"]:
    """Return the motion during every exposure: `length` pixels towards the next position.

    At the end of a row, where the next position is far away, the direction is that from the position before.

    Args:
        positions: Positions in order of time, (batch, 2), pixels.
        length: Distance during an exposure, pixels.
    """
    steps = positions.double().diff(dim=0)
    if len(steps) == 0:
        return torch.tensor([[0.0, length]], dtype=torch.float64)
    ahead, behind = torch.cat([steps, steps[-1:]]), torch.cat([steps[:1], steps])
    far = ahead.norm(dim=1) > 3 * steps.norm(dim=1).median()
    direction = torch.where(far[:, None], behind, ahead)
    return length * direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-9)


def draw_flux(number: int, spread: float, drift: float, generator: Generator) -> Float64[Tensor, " time"]:
    """Draw the flux of every frame: positive factors with mean 1.

    Args:
        number: Number of frames.
        spread: Relative standard deviation of independent factors.
        drift: Relative standard deviation of a smooth curve in time.
        generator: Source of randomness.
    """
    independent = torch.from_numpy(generator.standard_normal(number)) * spread
    curve = smooth_curve(number, 1, generator)[:, 0]
    deviation = curve.std(correction=0)
    smooth = curve / deviation * drift if float(deviation) > 0 else torch.zeros_like(curve)
    factors = ((1 + independent) * (1 + smooth)).clamp(min=0.02)
    return factors / factors.mean()


def broad_background(size: int, photons: float, generator: Generator) -> Float64[Tensor, "y x"]:
    """Draw a broad, smooth, positive background of `photons` in all, (size, size).

    A wide halo around a point near the middle, on a flat floor, both modulated slowly.

    Args:
        size: Edge of the patterns, pixels.
        photons: Photons of the whole image.
        generator: Source of randomness.
    """
    axis = (torch.arange(size, dtype=torch.float64) - size // 2) / size
    middle, width = generator.uniform(-0.1, 0.1, 2), generator.uniform(0.2, 0.35)
    y, x = axis[:, None] - middle[0], axis - middle[1]
    halo = torch.exp(-(y.square() + x.square()) / (2 * width**2)) + 0.2
    tilt = generator.uniform(-0.5, 0.5, 2)
    image = halo * (1 + tilt[0] * axis[:, None] + tilt[1] * axis)
    return image * (photons / image.sum())


def draw_hot_pixels(
    size: int, number: int, brightest: float, generator: Generator
) -> tuple[Int64[Tensor, "pixel 2"], Float64[Tensor, " pixel"]]:
    """Choose bright pixels, and the mean counts that each adds to a frame: 0.1 to 3 times the brightest ideal pixel.

    Args:
        size: Edge of the patterns, pixels.
        number: Number of pixels.
        brightest: Largest expected counts without them.
        generator: Source of randomness.
    """
    index = torch.from_numpy(generator.choice(size * size, number, replace=False))
    rates = brightest * 10 ** generator.uniform(-1, 0.5, number)
    return torch.stack([index // size, index % size], 1), torch.from_numpy(rates).clamp(min=5)


def draw_cosmic_rays(
    frames: int, size: int, number: int, brightest: float, generator: Generator
) -> tuple[Int64[Tensor, "hit 3"], Float64[Tensor, " hit"]]:
    """Draw tracks of cosmic rays: frames and pixels (frame, y, x), and the counts that each pixel gains.

    Args:
        frames: Number of frames.
        size: Edge of the patterns, pixels.
        number: Number of tracks, each of one to four pixels in a line.
        brightest: Largest expected counts without them.
        generator: Source of randomness.
    """
    hits, charges = [], []
    for _ in range(number):
        frame, start, angle = generator.integers(frames), generator.integers(0, size, 2), generator.uniform(0, np.pi)
        along = np.arange(generator.integers(1, 5))[:, None] * np.array([np.sin(angle), np.cos(angle)])
        track = np.unique(np.clip(start + np.rint(along).astype(np.int64), 0, size - 1), axis=0)
        hits.append(np.column_stack([np.full(len(track), frame), track]))
        charges.append(np.rint(max(brightest, 50.0) * 10 ** generator.uniform(-0.5, 0.5, len(track))))
    places = np.concatenate(hits) if hits else np.zeros((0, 3))
    return torch.from_numpy(places.astype(np.int64)), torch.from_numpy(np.concatenate([np.zeros(0), *charges]))


def draw_bad_frames(
    frames: int, empty: float, repeated: float, generator: Generator
) -> tuple[Int64[Tensor, " empty"], Int64[Tensor, " repeated"]]:
    """Choose distinct frames that are empty, and frames that repeat the one before, in ascending order.

    Args:
        frames: Number of frames.
        empty: Fraction of empty frames, at least one frame where it is above 0.
        repeated: Fraction of repeated frames, likewise; never the first frame, and none after an empty one.
        generator: Source of randomness.
    """
    numbers = [min(max(round(share * frames), 1), frames - 1) if share > 0 else 0 for share in (empty, repeated)]
    order = 1 + torch.from_numpy(generator.permutation(frames - 1))
    without_light, others = order[: numbers[0]], order[numbers[0] :]
    others = others[~torch.isin(others - 1, without_light)]
    return without_light.sort().values, others[: numbers[1]].sort().values
