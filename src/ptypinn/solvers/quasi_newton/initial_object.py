"""Physical starting object: amplitude from each pattern's transmitted flux, phase from its deflection (DPC)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.data.pattern_batches import FrameTerms, PatternBatches
from ptypinn.physics.patches import add_patches, compute_illumination
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.types import Corners, Object, Patterns, Probe


def flux_start(
    stack: PatternBatches, probe: Probe, corners: Corners, extent: tuple[int, int], part: CanvasPart = WHOLE
) -> Object:
    """Return the smooth amplitude that transmits each pattern's photons, with phase zero.

    Args:
        stack: Patterns of the scan.
        probe: Modes, (mode, y, x), sqrt(photons).
        corners: Integer patch corners, (1, positions, 2).
        extent: Canvas height and width, pixels.
        part: Rows of the canvas that these are.
    """
    values = compute_deflections(stack, probe)[:, :1].float()
    return scatter_mean(values, probe, corners, extent, part)[0].to(torch.complex64)


def dpc_start(
    stack: PatternBatches, probe: Probe, corners: Corners, extent: tuple[int, int], part: CanvasPart = WHOLE
) -> Object:
    """Return `flux_start` with the slow phase that the deflection of each pattern implies.

    The centre of mass of a pattern is the phase gradient averaged over the probe's power (Ehrenfest's theorem; Waddell
    and Chapman 1979); the gradient map is integrated by least squares (Frankot and Chellappa 1988).
    """
    values = compute_deflections(stack, probe).float()
    amplitude, slope_y, slope_x = scatter_mean(values, probe, corners, extent, part)
    return torch.polar(amplitude, part.map_whole(integrate_slopes, slope_y, slope_x))


def integrate_slopes(
    slope_y: Float[Tensor, "height width"], slope_x: Float[Tensor, "height width"]
) -> Float[Tensor, "height width"]:
    """Integrate slopes to a surface by least squares, radians per pixel; mirrored, so that edges do not wrap.

    >>> y = torch.pi * (torch.arange(32) + 0.5)[:, None] / 32
    >>> slope = -torch.pi / 32 * torch.sin(y).expand(32, 32)
    >>> bool(torch.allclose(integrate_slopes(slope, torch.zeros(32, 32)), torch.cos(y).expand(32, 32), atol=1e-3))
    True
    """
    height, width = slope_y.shape
    spectrum_y = torch.fft.rfft2(_mirror(slope_y, sign_y=-1, sign_x=1))
    spectrum_x = torch.fft.rfft2(_mirror(slope_x, sign_y=1, sign_x=-1))
    ky = 2 * torch.pi * torch.fft.fftfreq(2 * height, device=slope_y.device)[:, None]
    kx = 2 * torch.pi * torch.fft.rfftfreq(2 * width, device=slope_y.device)
    k2 = ky.square() + kx.square()
    k2[0, 0] = 1
    surface = torch.fft.irfft2(-1j * (ky * spectrum_y + kx * spectrum_x) / k2, s=(2 * height, 2 * width))
    return surface[:height, :width]


def compute_deflections(
    stack: PatternBatches, probe: Probe, raw: Float[Tensor, "positions 3"] | None = None
) -> Float[Tensor, "positions 3"]:
    """Compute transmitted amplitude and mean deflection (y, x; radians per pixel, less the probe's own) per pattern.

    Args:
        stack: Patterns of the scan.
        probe: Modes, (mode, y, x), sqrt(photons).
        raw: `sum_moments` of the stack; computed here where None.
    """
    terms = FrameTerms.of(stack.scan, stack.device)
    own = stack.good * terms.model.propagator.propagate(probe[None]).fields[0].abs().square().sum(0)
    vacuum = _pattern_moments(own[None])[0]
    rows = sum_moments(stack) if raw is None else raw
    if terms.background is not None:
        rows = rows - _pattern_moments(terms.background[None])
    flux = rows[:, :1].clamp(min=1e-9)
    deflections = rows[:, 1:] / flux.clamp(min=1) - vacuum[1:] / vacuum[0]
    if terms.beam_px is not None:
        deflections -= 2 * torch.pi / stack.scan.size * terms.beam_px
    transmitted = flux if terms.flux is None else flux / terms.flux[:, None]
    return torch.cat([torch.sqrt(transmitted / vacuum[0]), deflections], 1)


def sum_moments(stack: PatternBatches) -> Float[Tensor, "positions 3"]:
    """Sum the counts of every pattern, and the counts times wave number (y, x; radians per pixel)."""
    return torch.cat([_pattern_moments(counts) for _, counts in stack])


def _pattern_moments(patterns: Patterns) -> Float[Tensor, "batch 3"]:
    q = 2 * torch.pi * torch.fft.fftfreq(patterns.shape[-1], device=patterns.device)
    y, x = patterns.sum(2).double(), patterns.sum(1).double()
    return torch.stack([y.sum(1), (y * q).sum(1), (x * q).sum(1)], 1)


def scatter_mean(
    values: Float[Tensor, "positions kind"],
    probe: Probe,
    corners: Corners,
    extent: tuple[int, int],
    canvas: CanvasPart = WHOLE,
) -> Float[Tensor, "kind height width"]:
    """Average per-position values on the canvas, weighted by the probe's power; their mean where no probe reaches."""
    power = probe.abs().square().sum(0)
    illumination = compute_illumination(probe, corners, *extent)
    totals = power.new_zeros((values.shape[1], *extent))
    for part, some in zip(torch.split(corners, 256, dim=1), torch.split(values, 256), strict=True):
        for total, one in zip(totals, some.unbind(1), strict=True):
            add_patches(total[None], (one[:, None, None] * power)[None], part)
    canvas.add_shared(illumination, totals)
    floor = 0.02 * canvas.reduce(illumination.max(), "max")
    return (totals + floor * canvas.mean(values)[:, None, None]) / (illumination + floor)


def _mirror(image: Tensor, sign_y: int, sign_x: int) -> Tensor:
    wide = torch.cat([image, sign_x * image.flip(1)], 1)
    return torch.cat([wide, sign_y * wide.flip(0)], 0)
