"""Input features of patch networks, computed by physics alone; all of them are independent of the dose."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ptypinn.physics.propagation import back_propagate, far_field, to_fft_order
from ptypinn.types import Probe

Amplitudes = Float[Tensor, "batch channel y x"]

FADE_OUT = 0.02
"""Fraction of the probe's peak intensity below which the projected patch fades out."""
MIN_VACUUM = 1e-8
"""Fraction of the brightest vacuum pixel below which the probe's own phase on the detector is not trusted."""


def unit_energy(amplitudes: Amplitudes) -> Amplitudes:
    """Scale each group of patterns to mean square 1 per pixel; relative intensities within the group are preserved."""
    energy = amplitudes.square().mean((1, 2, 3), keepdim=True)
    return amplitudes * torch.rsqrt(energy.clamp(min=1e-20))


def projected_patches(amplitudes: Amplitudes, probe: Probe) -> Complex[Tensor, "batch channel y x"]:
    """Estimate the object's deviation from vacuum by one projection onto the measured modulus.

    The probe alone is propagated to the detector, given the measured amplitude, propagated back and divided by the
    probe where it illuminates: the first half step of every iterative solver.

    Args:
        amplitudes: Centred amplitudes of mean square 1 per pixel, (batch, channel, y, x).
        probe: Probe modes in any scale, (mode, y, x).

    Returns:
        `sum_m conj(P_m) (psi_m - P_m) / (sum_m |P_m|^2 + eps)`, dimensionless, zero where the probe is.
    """
    probe = probe * (probe.shape[-1] * torch.rsqrt(_intensity(probe).sum()))
    fields = far_field(probe)
    detected = _intensity(fields)
    ratio = to_fft_order(amplitudes) * torch.rsqrt(detected + MIN_VACUUM * detected.amax()) - 1
    intensity = _intensity(probe)
    total = torch.zeros_like(ratio, dtype=probe.dtype)
    for mode, field in zip(probe, fields, strict=True):
        total = total + mode.conj() * back_propagate(ratio * field)
    return total / (intensity + FADE_OUT * intensity.amax())


def _intensity(waves: Probe) -> Float[Tensor, "y x"]:
    return (waves.real.square() + waves.imag.square()).sum(0)
