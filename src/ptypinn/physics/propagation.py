"""Propagation from the sample to the detector: the seam where a new geometry goes in.

A propagator is a linear map of exit waves to detector fields together with its exact adjoint. `ForwardModel` takes any;
solvers, networks and metrics see none of it. A new one is a class here, with the adjoint dot-product test of
`tests/physics/test_propagation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Shaped
from torch import Tensor

Fields = Complex[Tensor, "*batch y x"]


@runtime_checkable
class Propagator(Protocol):
    """A linear map from exit waves to detector fields, both (..., y, x), sqrt(photons), and its adjoint."""

    def propagate(self, waves: Fields) -> Fields:
        """Return the detector fields of exit waves, FFT order."""

    def adjoint(self, fields: Fields) -> Fields:
        """Return the exit waves to which the adjoint maps detector fields."""


@dataclass(frozen=True)
class FarField:
    """Fraunhofer diffraction.

    >>> far_field = FarField()
    >>> wave = torch.full((1, 2, 2), 1.0 + 0.0j)
    >>> far_field.propagate(wave).abs().square().sum() == wave.abs().square().sum()  # Parseval
    tensor(True)
    """

    def propagate(self, waves: Fields) -> Fields:
        """Propagate exit waves to the detector."""
        return far_field(waves)

    def adjoint(self, fields: Fields) -> Fields:
        """Propagate detector fields back: the adjoint, and the inverse as well."""
        return back_propagate(fields)


def far_field(waves: Fields) -> Fields:
    """Propagate exit waves to the detector (Fraunhofer), FFT order.

    Orthonormal, so `sum(abs(field)**2) == sum(abs(wave)**2)` (Parseval): the number of photons is conserved.
    Goodman, Introduction to Fourier Optics, eq. 4-25, in pixel units.

    Args:
        waves: Exit waves, (..., y, x), sqrt(photons).
    """
    return torch.fft.fft2(waves, norm="ortho")


def back_propagate(fields: Fields) -> Fields:
    """Propagate detector fields back to the sample: inverse and adjoint of `far_field`.

    Args:
        fields: Detector fields in FFT order, (..., y, x), sqrt(photons).
    """
    return torch.fft.ifft2(fields, norm="ortho")


def to_fft_order(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from the centre `N//2` to `[0, 0]`.

    >>> to_fft_order(torch.tensor([[0, 0], [0, 9]])).tolist()
    [[9, 0], [0, 0]]
    """
    return torch.fft.ifftshift(patterns, dim=(-2, -1))


def to_centred(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from `[0, 0]` to the centre `N//2`."""
    return torch.fft.fftshift(patterns, dim=(-2, -1))
