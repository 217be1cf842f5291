"""Coarser grid for what is smooth on the scale of the probe, so that large canvases take bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from ptypinn.types import Corners, Probe

MAX_FINE_PIXELS = 2**22
"""Canvases beyond this many pixels get a coarser grid."""


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
