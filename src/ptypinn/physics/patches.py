"""Patches of canvases: cut them out, add them up, shift them by parts of a pixel; the illumination by probes.

Cutting and adding at integer corners are exact adjoints and differentiable to any order: each is the other's gradient.
Shifts are Fourier phase ramps, exact for band-limited fields. The illumination of large canvases, photons per object
pixel, is on a coarser grid.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float, Float64, Shaped
from torch import Tensor
from torch.nn import functional

from ptypinn.physics import kernels
from ptypinn.physics.kernels import as_reals
from ptypinn.physics.ramps import Ramps, multiply_ramps
from ptypinn.types import Corners, Fractions, Probe, Probes

AnyCanvases = Shaped[Tensor, "window height width"]
AnyPatches = Shaped[Tensor, "window batch y x"]
BATCH = 256
"""Patches in memory at once, for the illumination."""
MAX_FINE_PIXELS = 2**22
"""Canvases beyond this many pixels get a coarser grid."""


def extract_patches(canvases: AnyCanvases, corners: Corners, size: int) -> AnyPatches:
    """Cut `size x size` patches out of each window.

    Args:
        canvases: Real or complex canvases, (window, height, width).
        corners: Integer (y, x) of each patch's pixel (0, 0), (window, batch, 2); patches must lie inside.
        size: Edge of a patch, pixels.

    Returns:
        Patches, (window, batch, size, size), dtype of the canvases.
    """
    return _Extract.apply(canvases, corners, size)  # type: ignore[no-untyped-call]


def place_patches(patches: AnyPatches, corners: Corners, height: int, width: int) -> AnyCanvases:
    """Add patches onto empty canvases: the adjoint of `extract_patches`.

    Args:
        patches: Real or complex patches, (window, batch, y, x).
        corners: Integer (y, x) of each patch's pixel (0, 0), (window, batch, 2); patches must lie inside.
        height: Canvas height, pixels.
        width: Canvas width, pixels.

    Returns:
        Sums on the canvases, (window, height, width), dtype of the patches.
    """
    return _Place.apply(patches, corners, height, width)  # type: ignore[no-untyped-call]


def add_patches(canvases: AnyCanvases, patches: AnyPatches, corners: Corners) -> None:
    """Add patches onto existing canvases in place (not differentiable): the inner loop of `place_patches`.

    A GPU adds the patches of a pixel in any order, so that sums differ in their last digits from call to call; with
    `torch.use_deterministic_algorithms(True)` in one order, which takes longer.
    """
    if not canvases.is_contiguous():
        sums = canvases.contiguous()
        add_patches(sums, patches, corners)
        canvases.copy_(sums)
    elif kernels.are_usable(canvases, patches):
        patches = patches.to(canvases.dtype)
        kernels.add(as_reals(patches), corners.contiguous().numpy(), as_reals(canvases, writes=True))
    else:
        _add_by_index(canvases, patches, corners)


def split_positions(
    positions: Float[Tensor, "batch 2"],
) -> tuple[Shaped[Tensor, "1 batch 2"], Float[Tensor, "batch 2"]]:
    """Split canvas positions into integer corners and the sub-pixel rest.

    Args:
        positions: Canvas coordinates (y, x), object pixels, (batch, 2), float64.

    Returns:
        Corners for one window, (1, batch, 2), int64, and the rest in [-0.5, 0.5], (batch, 2), float32.

    >>> corners, rest = split_positions(torch.tensor([[10.25, 3.0]], dtype=torch.float64))
    >>> corners.tolist(), rest.tolist()
    ([[[10, 3]]], [[0.25, 0.0]])
    """
    whole = torch.round(positions)
    return whole.long()[None], (positions - whole).float()


def _sliding_view(canvases: Tensor, size: int) -> Tensor:
    return canvases.unfold(-2, size, 1).unfold(-2, size, 1)


def _add_by_index(canvases: Tensor, patches: Tensor, corners: Tensor) -> None:
    # One launch for all patches, as a GPU wants it.
    size, (_, height, width) = patches.shape[-1], canvases.shape
    steps = torch.arange(size, device=corners.device)
    window = torch.arange(corners.shape[0], device=corners.device)[:, None] * (height * width)
    first = window + corners[..., 0] * width + corners[..., 1]
    index = first[..., None, None] + steps[:, None] * width + steps
    canvases.view(-1).index_add_(0, index.reshape(-1), patches.reshape(-1))


class _Extract(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvases: Tensor, corners: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(corners)
        ctx.extent = canvases.shape[-2:]
        if not kernels.are_usable(canvases):
            window = torch.arange(corners.shape[0], device=corners.device)[:, None]
            return _sliding_view(canvases, size)[window, corners[..., 0], corners[..., 1]]
        patches = canvases.new_empty((*corners.shape[:2], size, size))
        kernels.cut(as_reals(canvases), corners.contiguous().numpy(), as_reals(patches, writes=True))
        return patches

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (corners,) = ctx.saved_tensors
        return place_patches(gradients[0], corners, *ctx.extent), None, None


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
        ctx.save_for_backward(corners)
        ctx.size = patches.shape[-1]
        canvases = patches.new_zeros((patches.shape[0], height, width))
        add_patches(canvases, patches, corners)
        return canvases

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (corners,) = ctx.saved_tensors
        return extract_patches(gradients[0], corners, ctx.size), None, None, None


def phase_ramp(shifts: Fractions, size: int) -> Complex[Tensor, "batch y x"]:
    """Return the Fourier factor `exp(-2 pi i (q . shift))` that moves a field by `shifts` pixels (shift theorem).

    Args:
        shifts: Displacements (y, x), pixels, (batch, 2).
        size: Edge of the square field, pixels.
    """
    return Ramps.of(shifts, size).factors()


def shift_probe(probe: Probe | Probes, shifts: Fractions) -> Probes:
    """Move every probe mode to each sub-pixel position.

    The power is conserved exactly: the ramp has unit modulus.

    Args:
        probe: Modes, (mode, y, x), or those of every position, (batch, mode, y, x), sqrt(photons).
        shifts: Displacements (y, x), pixels, (batch, 2).
    """
    spectra = torch.fft.fft2(probe.reshape(-1, *probe.shape[-3:]))
    return torch.fft.ifft2(multiply_ramps(spectra, Ramps.of(shifts, probe.shape[-1])))


def shift_images(images: Complex[Tensor, "batch y x"] | Float[Tensor, "batch y x"], shifts: Fractions) -> Tensor:
    """Move each (periodic) image by its own displacement; real images stay real.

    Args:
        images: Images, (batch, y, x).
        shifts: Displacements (y, x), pixels, (batch, 2).
    """
    moved = torch.fft.ifft2(torch.fft.fft2(images) * phase_ramp(shifts, images.shape[-1]))
    return moved if images.is_complex() else moved.real


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
