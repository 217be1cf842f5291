"""Short solves of parts of a scan with equal slices, which compare focus, thickness and tilt of a sample of atoms.

Equal slices of phase alone have few unknowns, and electrons that are scattered many times over depend on where in the
sample the focus lies, and along which axis the columns of atoms run. So a solve of few iterations explains the counts
near the right values, and hardly begins to anywhere else. Lengths are in squares of an object pixel over the
wavelength: inverse Fresnel numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64

from ptypinn.data.depth import flat_stack
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import apply_filter
from ptypinn.physics.propagation import free_space
from ptypinn.solvers.iterative import IterativeSolver
from ptypinn.solvers.position_geometry import select_middle
from ptypinn.utils.progress import Progress, silent


class Effort(NamedTuple):
    """Size of a solve."""

    patterns: int
    """Patterns around the middle of the scan."""
    iterations: int


WIDE, FINE = Effort(64, 12), Effort(100, 20)
"""Solves over a wide range of foci; and those near the best, which tell thicknesses apart as well."""


class Tilt(NamedTuple):
    """Tilt of the sample against the beam, cycles per object pixel."""

    y: float = 0.0
    x: float = 0.0


NO_TILT = Tilt()


def tilt_of(scan: ScanData) -> Tilt:
    """Return the tilt of the sample of a scan."""
    return NO_TILT if scan.sample_tilt is None else Tilt(*scan.sample_tilt.tolist())


def measure_aperture(scan: ScanData) -> float:
    """Return the square of the largest angle of a beam that fills its aperture, in squares of a cycle per object pixel.

    It is twice the mean square over the aperture.
    """
    power = np.square(np.abs(np.fft.fft2(scan.require_probe()))).sum(0)
    frequency = np.fft.fftfreq(scan.size)
    fraction = power / power.sum()
    y, x = ((fraction.sum(axis) * frequency).sum() for axis in (1, 0))
    spread = (fraction.sum(1) * (frequency - y) ** 2).sum() + (fraction.sum(0) * (frequency - x) ** 2).sum()
    return float(2 * spread)


def move_focus(scan: ScanData, distance: float) -> ScanData:
    """Return a scan whose probe has gone some distance along the beam."""
    if distance == 0:
        return scan
    kernel = free_space(scan.size, 1 / distance)
    return scan.replace(probe=apply_filter(torch.from_numpy(scan.require_probe())[None], kernel)[0].numpy())


@dataclass(frozen=True)
class ShortSolves:
    """Short solves of parts of a scan, each done once."""

    scan: ScanData
    solver: IterativeSolver
    progress: Progress
    stage: str
    """Name of the search, for its progress."""
    total: int
    """Number of solves that it takes, about."""
    losses: dict[tuple[float, int, float, Tilt, Effort], float] = field(default_factory=dict)
    parts: dict[int, ScanData] = field(default_factory=dict)
    """Parts of the scan by their number of patterns, counts in memory."""

    def measure(
        self, gaps: Float64[np.ndarray, " gap"], focus: float, effort: Effort = FINE, tilt: Tilt = NO_TILT
    ) -> float:
        """Return the loss of a solve.

        Args:
            gaps: Fresnel numbers of the gaps between slices.
            focus: Distance by which the probe goes along the beam.
            effort: Size of the solve.
            tilt: Tilt of the sample.
        """
        key = round(float(np.sum(1 / gaps)), 6), len(gaps), round(focus, 6), tilt, effort
        if key not in self.losses:
            losses = self.solve(gaps, focus, effort, tilt).history["loss"]
            self.losses[key] = float(losses[-1]) if losses else math.inf  # none where not even the first step descends
            done = len(self.losses)
            self.progress(self.stage, done, max(done, self.total), loss=self.losses[key])
        return self.losses[key]

    def solve(
        self,
        gaps: Float64[np.ndarray, " gap"],
        focus: float,
        effort: Effort,
        tilt: Tilt = NO_TILT,
        held_out_period: int | None = None,
    ) -> Reconstruction:
        """Solve the middle of the scan; as a thin sample, which is complex, where there are no gaps."""
        if effort.patterns not in self.parts:
            part = self.scan.subset(select_middle(self.scan.positions_px, effort.patterns))
            self.parts[effort.patterns] = part.replace(counts=part.counts[:])
        moved = move_focus(self.parts[effort.patterns], focus)
        if len(gaps):
            moved = moved.replace(gap_fresnel_numbers=gaps, sample_tilt=np.array(tilt))
        start, quiet = flat_stack(moved), replace(self.solver, progress=silent, watch=None)
        return quiet.iterate(moved, effort.iterations, start, hold_probe=True, held_out_period=held_out_period)
