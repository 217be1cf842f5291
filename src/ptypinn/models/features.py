"""Input features of the networks, made by physics alone; all of them are blind to dose."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ptypinn.physics.propagation import back_propagate, far_field, to_fft_order
from ptypinn.types import Probe

Amplitudes = Float[Tensor, "batch channel y x"]

DIM = 0.02
"""Share of the probe's peak intensity below which the projected patch fades out."""
FAINT = 1e-8
"""Share of the brightest vacuum pixel below which the probe's own phase on the detector is not trusted."""


def unit_energy(amplitudes: Amplitudes) -> Amplitudes:
    """Scale each group of patterns to mean square 1 per pixel; brightness within the group is kept."""
    energy = amplitudes.square().mean((1, 2, 3), keepdim=True)
    return amplitudes * torch.rsqrt(energy.clamp(min=1e-20))


def projected_patches(amplitudes: Amplitudes, probe: Probe) -> Complex[Tensor, "batch channel y x"]:
    """Estimate of the object's deviation from vacuum by one projection onto the measured modulus.

    The probe alone is propagated to the detector, given the measured amplitude, propagated back and divided by the
    probe where there is light: the first half step of every iterative solver.

    Args:
        amplitudes: Centred amplitudes of mean square 1 per pixel, (batch, channel, y, x).
        probe: Probe modes in any scale, (mode, y, x).

    Returns:
        `sum_m conj(P_m) (psi_m - P_m) / (sum_m |P_m|^2 + dim)`, dimensionless, zero in the dark.
    """
    probe = probe * (probe.shape[-1] * torch.rsqrt(_intensity(probe).sum()))
    fields = far_field(probe)
    detected = _intensity(fields)
    ratio = to_fft_order(amplitudes) * torch.rsqrt(detected + FAINT * detected.amax()) - 1
    intensity = _intensity(probe)
    total = torch.zeros_like(ratio, dtype=probe.dtype)
    for mode, field in zip(probe, fields, strict=True):
        total = total + mode.conj() * back_propagate(ratio * field)
    return total / (intensity + DIM * intensity.amax())


def _intensity(waves: Probe) -> Float[Tensor, "y x"]:
    return (waves.real.square() + waves.imag.square()).sum(0)
