"""Sub-pixel shifts by a Fourier phase ramp, exact for band-limited fields."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ptypinn.types import Fractions, Probe, Probes


def phase_ramp(shifts: Fractions, size: int) -> Complex[Tensor, "batch y x"]:
    """Return the Fourier factor `exp(-2 pi i (q . shift))` that moves a field by `shifts` pixels (shift theorem).

    Args:
        shifts: Displacements (y, x), pixels, (batch, 2).
        size: Edge of the square field, pixels.
    """
    frequency = torch.fft.fftfreq(size, device=shifts.device, dtype=shifts.dtype)
    angle = -2 * torch.pi * shifts[:, :, None] * frequency
    ramps = torch.polar(torch.ones_like(angle), angle)
    return ramps[:, 0, :, None] * ramps[:, 1, None, :]


def shift_probe(probe: Probe, shifts: Fractions) -> Probes:
    """Move every probe mode to each sub-pixel position.

    The power is conserved exactly: the ramp has unit modulus.

    Args:
        probe: Modes, (mode, y, x), sqrt(photons).
        shifts: Displacements (y, x), pixels, (batch, 2).
    """
    spectrum = torch.fft.fft2(probe)
    return torch.fft.ifft2(spectrum * phase_ramp(shifts, probe.shape[-1])[:, None])


def shift_adjoint(waves: Probes, shifts: Fractions) -> Probe:
    """Move per-position waves back to the common frame and add them up: the adjoint of `shift_probe` in the probe.

    Args:
        waves: One set of modes per position, (batch, mode, y, x).
        shifts: Displacements (y, x) that `shift_probe` applied, pixels, (batch, 2).
    """
    ramp = phase_ramp(shifts, waves.shape[-1])[:, None]
    return torch.fft.ifft2((torch.fft.fft2(waves) * ramp.conj()).sum(0))


def shift_images(images: Complex[Tensor, "batch y x"] | Float[Tensor, "batch y x"], shifts: Fractions) -> Tensor:
    """Move each (periodic) image by its own displacement; real images stay real.

    Args:
        images: Images, (batch, y, x).
        shifts: Displacements (y, x), pixels, (batch, 2).
    """
    moved = torch.fft.ifft2(torch.fft.fft2(images) * phase_ramp(shifts, images.shape[-1]))
    return moved if images.is_complex() else moved.real
