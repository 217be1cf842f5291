"""Illumination of the object by a scan, photons per object pixel."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ptypinn.physics.patches import add_patches, split_positions
from ptypinn.physics.shift import shift_probe
from ptypinn.physics.stitch import probe_intensity
from ptypinn.types import Corners, Probe

BATCH = 256


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
