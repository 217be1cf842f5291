"""Probe modes at the sub-pixel positions of a scan, and the same ones on the next pass where nothing has moved."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ptypinn.physics.ramps import Ramps, multiply_ramps
from ptypinn.types import Fractions, Probe, Probes

BUDGET_BYTES = 2**30
"""Maximum size of moved modes that stay in memory."""


class Moved(NamedTuple):
    """Modes at some positions."""

    probes: Probes
    """The moved modes, (batch, mode, y, x), sqrt(photons)."""
    ramps: Ramps
    """Fourier factors that moved them."""


def move_spectra(spectra: Probes, shifts: Fractions) -> Moved:
    """Move modes by parts of a pixel.

    Args:
        spectra: Spectra of the modes, those of every position or the same for all, (batch or 1, mode, y, x).
        shifts: Displacements (y, x), pixels, (batch, 2).
    """
    ramps = Ramps.of(shifts, spectra.shape[-1])
    return Moved(torch.fft.ifft2(multiply_ramps(spectra, ramps)), ramps)


class HeldProbes:
    """Modes of a probe that no pass changes, moved once for every batch of positions, as far as the memory suffices.

    A pass with a known probe then costs two transforms per pattern at sub-pixel positions as well.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        """Begin with none.

        Args:
            budget_bytes: Maximum size of what stays in memory.
        """
        self._left_bytes = budget_bytes
        self._moved: dict[int, tuple[Probe, Fractions, Moved]] = {}

    def move(self, probe: Probe, spectra: Probes, shifts: Fractions, part: slice) -> Moved:
        """Return the modes at the positions of a batch.

        Args:
            probe: The modes: what was moved before holds for this very tensor alone.
            spectra: Their spectra, (1, mode, y, x).
            shifts: Displacements (y, x) of all patterns, pixels; the same holds.
            part: Patterns of the batch.
        """
        held = self._moved.get(part.start)
        if held is not None and held[0] is probe and held[1] is shifts:
            return held[2]
        moved = move_spectra(spectra, shifts[part])
        nbytes = moved.probes.nbytes
        if held is None and nbytes <= self._left_bytes:
            self._left_bytes -= nbytes
            self._moved[part.start] = probe, shifts, moved
        elif held is not None:
            self._moved[part.start] = probe, shifts, moved
        return moved
