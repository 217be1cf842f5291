"""A physical start: amplitude from each pattern's transmitted flux, phase from its deflection."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.data.pattern_batches import PatternStack
from ptypinn.physics.forward import far_field
from ptypinn.physics.illumination import illumination_of
from ptypinn.physics.patches import add_patches
from ptypinn.types import Corners, Object, Patterns, Probe


def flux_start(stack: PatternStack, probe: Probe, corners: Corners, extent: tuple[int, int]) -> Object:
    """Smooth amplitude that transmits each pattern's photons, with phase zero.

    Args:
        stack: Patterns of the scan.
        probe: Modes, (mode, y, x), sqrt(photons).
        corners: Integer patch corners, (1, positions, 2).
        extent: Canvas height and width, pixels.
    """
    return spread(moments(stack, probe)[:, :1].float(), probe, corners, extent)[0].to(torch.complex64)


def deflection_start(stack: PatternStack, probe: Probe, corners: Corners, extent: tuple[int, int]) -> Object:
    """`flux_start` with the slow phase that the deflection of each pattern implies.

    The centre of mass of a pattern is the phase gradient averaged over the probe's power (Ehrenfest's theorem; Waddell
    and Chapman 1979); the gradient map is integrated by least squares (Frankot and Chellappa 1988).
    """
    amplitude, slope_y, slope_x = spread(moments(stack, probe).float(), probe, corners, extent)
    return torch.polar(amplitude, integrate(slope_y, slope_x))


def integrate(
    slope_y: Float[Tensor, "height width"], slope_x: Float[Tensor, "height width"]
) -> Float[Tensor, "height width"]:
    """Least-squares surface with the given slopes, radians per pixel; mirrored, so that edges do not wrap."""
    height, width = slope_y.shape
    spectrum_y = torch.fft.rfft2(_mirror(slope_y, sign_y=-1, sign_x=1))
    spectrum_x = torch.fft.rfft2(_mirror(slope_x, sign_y=1, sign_x=-1))
    ky = 2 * torch.pi * torch.fft.fftfreq(2 * height, device=slope_y.device)[:, None]
    kx = 2 * torch.pi * torch.fft.rfftfreq(2 * width, device=slope_y.device)
    k2 = ky.square() + kx.square()
    k2[0, 0] = 1
    surface = torch.fft.irfft2(-1j * (ky * spectrum_y + kx * spectrum_x) / k2, s=(2 * height, 2 * width))
    return surface[:height, :width]


def moments(
    stack: PatternStack, probe: Probe, raw: Float[Tensor, "positions 3"] | None = None
) -> Float[Tensor, "positions 3"]:
    """Transmitted amplitude and mean deflection (y, x; radians per pixel, less the probe's own) of every pattern.

    Args:
        stack: Patterns of the scan.
        probe: Modes, (mode, y, x), sqrt(photons).
        raw: `raw_moments` of the stack, where they are known already.
    """
    own = stack.good * far_field(probe).abs().square().sum(0)
    vacuum = _moments_of(own[None])[0]
    rows = raw_moments(stack) if raw is None else raw
    flux = rows[:, :1].clamp(min=1e-9)
    return torch.cat([torch.sqrt(flux / vacuum[0]), rows[:, 1:] / flux.clamp(min=1) - vacuum[1:] / vacuum[0]], 1)


def raw_moments(stack: PatternStack) -> Float[Tensor, "positions 3"]:
    """Sum of the counts of every pattern, and sums of the counts times wave number (y, x; radians per pixel)."""
    return torch.cat([_moments_of(counts) for _, counts in stack])


def _moments_of(patterns: Patterns) -> Float[Tensor, "batch 3"]:
    q = 2 * torch.pi * torch.fft.fftfreq(patterns.shape[-1], device=patterns.device)
    y, x = patterns.sum(2).double(), patterns.sum(1).double()
    return torch.stack([y.sum(1), (y * q).sum(1), (x * q).sum(1)], 1)


def spread(
    values: Float[Tensor, "positions kind"], probe: Probe, corners: Corners, extent: tuple[int, int]
) -> Float[Tensor, "kind height width"]:
    """Averages of per-position values on the canvas, weighted by the probe's power; their mean where nothing shines."""
    power = probe.abs().square().sum(0)
    illumination = illumination_of(probe, corners, *extent)
    totals = power.new_zeros((values.shape[1], *extent))
    for part, some in zip(torch.split(corners, 256, dim=1), torch.split(values, 256), strict=True):
        for total, one in zip(totals, some.unbind(1), strict=True):
            add_patches(total[None], (one[:, None, None] * power)[None], part)
    floor = 0.02 * illumination.max()
    return (totals + floor * values.mean(0)[:, None, None]) / (illumination + floor)


def _mirror(image: Tensor, sign_y: int, sign_x: int) -> Tensor:
    wide = torch.cat([image, sign_x * image.flip(1)], 1)
    return torch.cat([wide, sign_y * wide.flip(0)], 0)
