"""The forward model: interact, propagate, detect. `expected_counts` is the whole of it in one call."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Shaped
from torch import Tensor

from ptypinn.physics.patches import extract_patches
from ptypinn.physics.shift import shift_probe
from ptypinn.types import Canvases, Corners, Fractions, Patterns, Probe, Probes, Waves


def interact(patches: Complex[Tensor, "batch y x"], probes: Probes) -> Waves:
    """Exit waves behind the sample: probe times object (projection approximation).

    Args:
        patches: Object patches, (batch, y, x), dimensionless transmission.
        probes: Probe modes, (batch or 1, mode, y, x), sqrt(photons).

    Returns:
        Exit waves, (batch, mode, y, x), sqrt(photons).
    """
    return patches[:, None] * probes


def detect(fields: Waves) -> Patterns:
    """Expected counts of detector fields: intensities of incoherent modes add, fields never do.

    Args:
        fields: Detector fields, (batch, mode, y, x), sqrt(photons).

    Returns:
        Expected photons per pixel, (batch, y, x), in the order of the fields.
    """
    return add_modes(fields.real.square() + fields.imag.square())


def add_modes(waves: Shaped[Tensor, "batch mode y x"]) -> Shaped[Tensor, "batch y x"]:
    """Sum over modes, (batch, y, x); a single mode is returned as it is, without a copy."""
    return waves[:, 0] if waves.shape[1] == 1 else waves.sum(1)


def diffract(patches: Complex[Tensor, "batch y x"], probes: Probes) -> Patterns:
    """Expected far-field counts of illuminated patches.

    Args:
        patches: Object patches, (batch, y, x), dimensionless transmission.
        probes: Probe modes, (batch or 1, mode, y, x), sqrt(photons).

    Returns:
        Expected photons per pixel, (batch, y, x), FFT order.
    """
    return detect(far_field(interact(patches, probes)))


def expected_counts(canvases: Canvases, probe: Probe, corners: Corners, fractions: Fractions | None = None) -> Patterns:
    """Expected counts of a scan over one or several canvases: the complete forward model.

    Args:
        canvases: Objects, (window, height, width), dimensionless transmission.
        probe: Incoherent modes, (mode, y, x), sqrt(photons).
        corners: Integer patch corners (y, x), (window, positions, 2).
        fractions: Sub-pixel rest of every position in window-major order, (window * positions, 2), pixels;
            None for integer positions.

    Returns:
        Expected photons per pixel, (window * positions, y, x), FFT order.
    """
    patches = extract_patches(canvases, corners, probe.shape[-1]).flatten(0, 1)
    probes = probe[None] if fractions is None else shift_probe(probe, fractions)
    return diffract(patches, probes)


Fields = Complex[Tensor, "*batch y x"]


def far_field(waves: Fields) -> Fields:
    """Propagate exit waves to the detector (Fraunhofer), FFT order.

    Orthonormal, so `sum(abs(field)**2) == sum(abs(wave)**2)` (Parseval): photons are neither made nor lost.
    Goodman, Introduction to Fourier Optics, eq. 4-25, in pixel units.

    Args:
        waves: Exit waves, (..., y, x), sqrt(photons).
    """
    return torch.fft.fft2(waves, norm="ortho")


def back_propagate(fields: Fields) -> Fields:
    """Inverse and adjoint of `far_field`.

    Args:
        fields: Detector fields in FFT order, (..., y, x), sqrt(photons).
    """
    return torch.fft.ifft2(fields, norm="ortho")


def to_fft_order(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from the centre `N//2` to `[0, 0]`."""
    return torch.fft.ifftshift(patterns, dim=(-2, -1))


def to_centred(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from `[0, 0]` to the centre `N//2`."""
    return torch.fft.fftshift(patterns, dim=(-2, -1))
