"""Find thickness of a sample of atoms, and focus of the probe in front of it, from short solves of a part of a scan.

Lengths are in squares of an object pixel over the wavelength: inverse Fresnel numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.solvers.iterative import IterativeSolver
from ptypinn.solvers.short_solves import FINE, NO_TILT, WIDE, Effort, ShortSolves, Tilt, measure_aperture, tilt_of
from ptypinn.solvers.slice_search import fit_lowest_point
from ptypinn.utils.progress import Progress, silent

STEP_RAD, REACH, MAX_MOVES = 1.2, 10, 4
"""Phase at the rim of the beam by which neighbouring foci on trial differ, radians; foci on either side of the start;
and how many times the range is moved on where the best focus is its last."""
FINE_STEPS = 0.5, 0.25
"""Steps around the best focus, over those of the first search."""
COARSE_SLICE_RAD, SLICE_RAD = 1.2, 0.7
"""Phase at the rim of the beam over the spacing of slices: in the search of a thickness, and of those that follow."""
FIRST_THICKNESSES = 2.5, 3.5, 5.0, 7.0, 10.0, 14.0
"""Thicknesses that are tried first, each with all foci, in slices of the search."""
FOCUS_PER_THICKNESS = -0.75
"""Distance by which the best focus moves along the beam with every unit of a thickness that is wrong."""
FOCI, MORE_TRIALS = 30, 40
"""Solves that a search of the focus takes, about, and those of thicknesses after the first ones."""
THICKNESS_STEP, MAX_THICKNESSES = 1.2, 16
"""Factor between thicknesses on trial, and their largest number."""
HELD_OUT_PERIOD, MIN_GAIN = 10, 0.01
"""One pixel in how many is held out where slices are compared with a thin sample, and the relative fall of the deviance
for which they are taken."""
UNSETTLED = 0.15
"""Error of a thickness, relative to it, that short solves leave."""


class Thickness(NamedTuple):
    """A stack of even slices of the thickness that a search ends with."""

    spacing: float
    """Distance between neighbouring slices."""
    slices: int
    """Their number; 1 where the sample is thinner than two of them."""
    relative_error: float
    """Standard error of the thickness over it."""


def find_focus(scan: ScanData, solver: IterativeSolver, progress: Progress = silent, *, is_near: bool = False) -> float:
    """Return how far along the beam the probe of a scan has to go.

    Args:
        scan: Scan with a probe, with the gaps between slices, and with the tilt of the sample if it has one.
        solver: Solver of equal slices of phase alone.
        progress: Called after every solve.
        is_near: The probe is nearly in focus, so that no wide range is tried.
    """
    gaps = scan.gap_fresnel_numbers
    assert gaps is not None
    solves = ShortSolves(scan.replace(truth=None), solver, progress, "focus", FOCI)
    search = _Search(solves, tilt_of(scan))
    return search.refine_focus(gaps, 0.0 if is_near else search.find_focus(gaps, 0.0))


def find_thickness(
    scan: ScanData, solver: IterativeSolver, progress: Progress = silent, *, moves_focus: bool = True
) -> Thickness:
    """Return the stack of slices of the thickness that explains the patterns around the middle of a scan best.

    It is a single slice unless more of them predict held-out pixels better.

    Args:
        scan: Scan with a probe, which may be out of focus.
        solver: Solver of equal slices of phase alone.
        progress: Called after every solve.
        moves_focus: Find the focus of the probe as well; False for a probe that is known.
    """
    total = (FOCI if moves_focus else 1) * len(FIRST_THICKNESSES) + MORE_TRIALS
    solves = ShortSolves(scan.replace(truth=None), solver, progress, "thickness", total)
    search = _Search(solves, tilt_of(scan), moves_focus)
    coarse, fine = (search.limit(angle / (np.pi * search.aperture)) for angle in (COARSE_SLICE_RAD, SLICE_RAD))
    best, step, error = _refine_thickness(
        search, *search.find_both(coarse * np.array(FIRST_THICKNESSES), coarse), coarse
    )
    if not search.are_better(_even_gaps(best.thickness, coarse), best.focus, best.thickness):
        return Thickness(fine, 1, UNSETTLED)
    thickness = best.thickness * step
    slices = max(2, round(thickness / fine))
    return Thickness(thickness / slices, slices, float(np.hypot(error, UNSETTLED)))


class _Place(NamedTuple):
    """A thickness with its best focus."""

    thickness: float
    focus: float


def _refine_thickness(search: _Search, first: float, focus: float, spacing: float) -> tuple[_Place, float, float]:
    """Climb from a thickness and its focus to the best ones.

    Returns:
        The best place that was tried, the factor from its thickness to the lowest point of a parabola through the
        nearest ones, and the relative error of that.
    """
    foci: dict[int, float] = {}

    def measure(power: int) -> float:
        """Return the loss at a power of the factor between thicknesses, with the best focus."""
        thickness = first * THICKNESS_STEP**power
        gaps = _even_gaps(thickness, spacing)
        if power not in foci:
            foci[power] = search.refine_focus(gaps, focus + FOCUS_PER_THICKNESS * (thickness - first))
        return search.measure(gaps, foci[power])

    best = 0
    for _ in range(MAX_THICKNESSES):
        least = min((best - 1, best, best + 1), key=measure)
        if least == best or first * THICKNESS_STEP**least < spacing:
            break
        best = least
    steps = np.arange(-1, 2)
    power, error = fit_lowest_point(steps.astype(float), np.array([measure(best + int(step)) for step in steps]))
    place = _Place(first * THICKNESS_STEP**best, foci[best])
    return place, float(THICKNESS_STEP**power), float(error * np.log(THICKNESS_STEP))


@dataclass(frozen=True)
class _Search:
    """Foci and thicknesses on trial in front of a sample of some tilt."""

    solves: ShortSolves
    tilt: Tilt = NO_TILT
    """Tilt of the sample."""
    moves_focus: bool = True
    """Try other foci than that of the probe."""

    @property
    def aperture(self) -> float:
        """Square of the largest angle of the beam, in squares of a cycle per object pixel."""
        return measure_aperture(self.solves.scan)

    @property
    def step(self) -> float:
        """Distance between neighbouring foci on trial."""
        return STEP_RAD / (np.pi * self.aperture)

    def find_both(self, thicknesses: Float64[np.ndarray, " thickness"], spacing: float) -> tuple[float, float]:
        """Return the best of some thicknesses, in slices about so far apart, and its best focus."""
        tried = [(thickness, _even_gaps(thickness, spacing)) for thickness in thicknesses]
        foci = [self.refine_focus(gaps, self.find_focus(gaps, 0.0)) for _, gaps in tried]
        losses = [self.measure(gaps, focus) for (_, gaps), focus in zip(tried, foci, strict=True)]
        best = int(np.argmin(losses))
        return float(thicknesses[best]), foci[best]

    def limit(self, spacing: float) -> float:
        """Return a spacing of slices, or the longest that the patterns sample."""
        return min(spacing, float(self.solves.scan.size))

    def are_better(self, gaps: Float64[np.ndarray, " gap"], focus: float, thickness: float) -> bool:
        """Return True if slices predict held-out pixels better than a thin sample in their middle.

        Args:
            gaps: Fresnel numbers of the gaps between the slices.
            focus: The best focus.
            thickness: Thickness of the stack.
        """
        none = np.empty(0)
        middle = self.refine_focus(none, focus + thickness / 2)
        recons = [self.solve_held_out(gaps, focus), self.solve_held_out(none, middle)]
        thick, thin = (min(recon.history.get("held_out_loss", [math.inf])) for recon in recons)
        return thin - thick > max(MIN_GAIN * thin, thin**0.5)

    def solve_held_out(self, gaps: Float64[np.ndarray, " gap"], focus: float) -> Reconstruction:
        """Solve with pixels held out."""
        return self.solves.solve(gaps, focus, FINE, self.tilt, HELD_OUT_PERIOD)

    def find_focus(self, gaps: Float64[np.ndarray, " gap"], middle: float) -> float:
        """Return the best focus over a wide range."""
        if not self.moves_focus:
            return middle
        places = self.step * np.arange(-REACH, REACH + 1)
        for _ in range(MAX_MOVES):
            best = self.best_of(gaps, middle + places, WIDE)
            if abs(best - middle) < places[-1] * (1 - 1e-6):
                break
            middle = best
        return best

    def refine_focus(self, gaps: Float64[np.ndarray, " gap"], focus: float) -> float:
        """Return the best focus near one that is nearly right: the lowest point of a parabola."""
        if not self.moves_focus:
            return 0.0
        for fine in FINE_STEPS:
            for _ in range(MAX_MOVES):
                middle, tried = focus, focus + fine * self.step * np.arange(-1, 2)
                focus = self.best_of(gaps, tried, FINE)
                if focus == middle:
                    break
        tried = focus + FINE_STEPS[-1] * self.step * np.arange(-1, 2)
        return fit_lowest_point(tried, np.array([self.measure(gaps, float(place)) for place in tried]))[0]

    def best_of(
        self, gaps: Float64[np.ndarray, " gap"], places: Float64[np.ndarray, " place"], effort: Effort
    ) -> float:
        """Return the focus of least loss."""
        return float(min(places, key=lambda place: self.measure(gaps, float(place), effort)))

    def measure(self, gaps: Float64[np.ndarray, " gap"], focus: float, effort: Effort = FINE) -> float:
        """Return the loss of a solve with gaps between slices, and with the probe so far along the beam."""
        return self.solves.measure(gaps, focus, effort, self.tilt)


def _even_gaps(thickness: float, spacing: float) -> Float64[np.ndarray, " gap"]:
    """Return the Fresnel numbers of the gaps of a stack of even slices, about so far apart, two at least."""
    slices = max(2, round(thickness / spacing))
    return np.full(slices - 1, slices / thickness)
