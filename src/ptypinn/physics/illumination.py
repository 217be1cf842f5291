"""Illumination of the object by a scan, photons per object pixel; of large canvases on a coarser grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from ptypinn.physics.patches import add_patches, shift_probe, split_positions
from ptypinn.types import Corners, Probe, Probes

BATCH = 256
MAX_FINE_PIXELS = 2**22
"""Canvases beyond this many pixels get a coarser grid."""


def compute_illumination(probe: Probe, corners: Corners, height: int, width: int) -> Float[Tensor, "height width"]:
    """Return the photons that a probe at integer corners puts on every pixel of a canvas that holds all its patches."""
    total, intensity = probe.new_zeros((1, height, width), dtype=probe.real.dtype), probe_intensity(probe[None])
    for part in torch.split(corners, BATCH, dim=1):
        add_patches(total, intensity.repeat(part.shape[1], 1, 1)[None], part)
    return total[0]


def compute_illumination_at(
    positions_px: Float64[np.ndarray, "patterns 2"], probe: np.ndarray, shape: tuple[int, int]
) -> Float64[np.ndarray, "height width"]:
    """Return the photons that a probe at canvas positions puts on every object pixel, within the canvas."""
    size, modes = probe.shape[-1], torch.from_numpy(probe)
    canvas = torch.zeros((1, shape[0] + 2 * size, shape[1] + 2 * size))
    inside = ((positions_px > -size) & (positions_px < np.asarray(shape))).all(1)
    fixed = probe_intensity(modes[None])
    for part in np.split(positions_px[inside], range(BATCH, int(inside.sum()), BATCH)):
        corners, fractions = split_positions(torch.from_numpy(part) + size)
        moved = probe_intensity(shift_probe(modes, fractions)) if fractions.any() else fixed.repeat(len(part), 1, 1)
        add_patches(canvas, moved[None], corners)
    return canvas[0, size:-size, size:-size].double().numpy()


class CoarseProbe(NamedTuple):
    """A probe and its positions, on a grid that is `factor` times coarser."""

    probe: Probe
    """Of the same power; where the grid is coarser, one mode without a phase."""
    corners: Corners
    """Integer patch corners (y, x)."""
    extent: tuple[int, int]
    """Height and width of the canvas."""
    factor: int
    """Object pixels per sample, a power of two."""


def downsample_probe(probe: Probe, corners: Corners, extent: tuple[int, int]) -> CoarseProbe:
    """Return a probe and its positions on the finest grid with at most `MAX_FINE_PIXELS`, or little more.

    Args:
        probe: Modes, (mode, y, x).
        corners: Integer patch corners (y, x) on the canvas.
        extent: Its height and width, pixels.

    The illumination per sample grows by `factor**2`; its sum stays.

    >>> probe, corners = torch.ones(1, 4, 4, dtype=torch.complex64), torch.zeros(1, 1, 2, dtype=torch.int64)
    >>> downsample_probe(probe, corners, (100, 100)).factor
    1
    >>> coarse = downsample_probe(probe, corners, (4096, 4096))
    >>> coarse.factor, coarse.extent, float(coarse.probe.abs().square().sum())
    (2, (2049, 2049), 16.0)
    """
    factor = 1
    while extent[0] * extent[1] > MAX_FINE_PIXELS * factor**2:
        factor *= 2
    if factor == 1:
        return CoarseProbe(probe, corners, extent, 1)
    power = functional.pad(probe.abs().square().sum(0)[None], (0, -probe.shape[-1] % factor) * 2)
    probe = torch.sqrt(factor**2 * functional.avg_pool2d(power, factor)).to(torch.complex64)
    height, width = (-(-length // factor) + 1 for length in extent)
    return CoarseProbe(probe, corners // factor, (height, width), factor)


def probe_intensity(probes: Probes) -> Float[Tensor, "#batch y x"]:
    """Photons per object pixel of the probes, summed over incoherent modes, (batch, y, x)."""
    return (probes.real.square() + probes.imag.square()).sum(1)
