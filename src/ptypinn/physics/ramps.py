"""Phase ramps on spectra, which move fields by parts of a pixel (shift theorem), and their exact adjoint.

A ramp is a product of one factor per row and one per column, and stays so as long as nobody asks for all of its pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex
from torch import Tensor

from ptypinn.physics import kernels
from ptypinn.physics.kernels import as_reals
from ptypinn.types import Fractions, Probe, Probes, Waves


class Ramps(NamedTuple):
    """Fourier factors `exp(-2 pi i (q . shift))` of some shifts."""

    rows: Complex[Tensor, "batch y"]
    columns: Complex[Tensor, "batch x"]

    @classmethod
    def of(cls, shifts: Fractions, size: int) -> Ramps:
        """Return the factors that move fields.

        Args:
            shifts: Displacements (y, x), pixels, (batch, 2).
            size: Edge of the square fields, pixels.
        """
        frequency = torch.fft.fftfreq(size, device=shifts.device, dtype=shifts.dtype)
        angle = -2 * torch.pi * shifts[:, :, None] * frequency
        factors = torch.polar(torch.ones_like(angle), angle)
        return cls(factors[:, 0], factors[:, 1])

    def factors(self) -> Complex[Tensor, "batch y x"]:
        """Return the factor of every pixel."""
        return self.rows[:, :, None] * self.columns[:, None, :]


def multiply_ramps(spectra: Probes, ramps: Ramps) -> Waves:
    """Return spectra times ramps, (batch, mode, y, x).

    Args:
        spectra: Spectra of modes, those of every position or the same for all, (batch or 1, mode, y, x).
        ramps: Fourier factors.
    """
    rows, columns = ramps
    if not kernels.are_usable(spectra, rows, columns) or not spectra.dtype == rows.dtype == columns.dtype:
        return spectra * ramps.factors()[:, None]
    moved = spectra.new_empty((len(rows), *spectra.shape[1:]))
    kernels.multiply_ramps(as_reals(spectra), as_reals(rows), as_reals(columns), as_reals(moved, writes=True))
    return moved


def add_unramped(spectra: Waves, ramps: Ramps, total: Probe) -> None:
    """Add spectra times conjugate ramps onto one set of modes in place: the adjoint of `multiply_ramps` in that set.

    Args:
        spectra: Spectra of modes at every position, (batch, mode, y, x).
        ramps: Fourier factors.
        total: The sums, (mode, y, x).
    """
    rows, columns = ramps
    if not kernels.are_usable(spectra, rows, columns, written=total) or not spectra.dtype == rows.dtype == total.dtype:
        total += (spectra * ramps.factors().conj()[:, None]).sum(0)
        return
    kernels.add_unramped(as_reals(spectra), as_reals(rows), as_reals(columns), as_reals(total, writes=True))
