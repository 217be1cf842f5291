"""Number and spacing of the slices of a thick sample, from solves of the patterns around the middle of the scan.

One detector pixel in twenty is held out: slices that are not there fit noise, and predict these pixels worse. Spacings
of the same number of slices fit as much noise, so that the pixels that are fitted tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.depth import FIELD_FRESNEL_NUMBER, Gaps, compute_gaps, measure_spacing
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.solvers.iterative import IterativeSolver
from ptypinn.solvers.position_geometry import select_middle

CORE_PATTERNS, ITERATIONS, HELD_OUT_PERIOD = 100, 40, 20
"""Patterns around the middle that are solved, iterations for them, and one pixel in how many is held out."""
MIN_GAIN = 0.01
"""Smallest relative fall of the deviance of held-out pixels for which a further slice is taken: it rises by 1 to 8 %
where there is none, and falls by 7 to 45 % where there is one."""
MAX_SLICES = 8
"""Most slices that are tried."""
SPANS = 2.0, 1.25
"""Factors between the spacings that are tried, at first and around the best."""
MAX_MOVES = 4
"""Maximum number of times that spacings are moved on, where the best one is at their end."""
UNSETTLED = 0.05
"""Error of a spacing, relative to it, that short solves leave."""
FIT_STEP, FIT_STEPS, MAX_SPREAD = 1.2, 2, 0.5
"""Factor between the spacings around the best that a parabola is laid through, and how many on either side; and the
relative error of a spacing that they do not determine."""


class StackFit(NamedTuple):
    """Deviance that a solve has left."""

    fitted: float
    """Of the pixels that were fitted."""
    held_out: float
    """Of those that were held out: the least over the iterations."""

    @classmethod
    def of(cls, recon: Reconstruction) -> StackFit:
        """Return what a reconstruction has on record."""
        return cls(recon.history["loss"][-1], min(recon.history["held_out_loss"]))


@dataclass(frozen=True)
class StackChoice:
    """Number of slices and their spacing, as given or as chosen."""

    gap_fresnel_numbers: Gaps
    """Fresnel number of an object pixel over every gap; empty for a thin sample."""
    record: dict[str, Any] = field(default_factory=dict)
    """What it was chosen by, for the provenance."""

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.gap_fresnel_numbers) + 1


def choose_stack(scan: ScanData, config: ReconstructConfig, solver: IterativeSolver) -> StackChoice:
    """Return number and spacing of the slices: those of the options, others by held-out pixels.

    Args:
        scan: The scan.
        config: Options of the reconstruction.
        solver: Solver of its patterns.

    Raises:
        InputError: Where a spacing is given and pixel or energy are unknown.
    """
    given = None if config.slice_spacing_m is None else compute_gaps(scan, config.slice_spacing_m)
    if config.slices != "auto" and given is not None:
        return StackChoice(np.resize(given, config.slices - 1))
    search = _Search(scan, solver, None if given is None else float(given[0]))
    return search.find_spacing_of(config.slices) if config.slices != "auto" else search.find_number()


class _Search:
    """Stacks of equal gaps on the core of a scan.

    Args:
        scan: The scan.
        solver: Solver of its patterns.
        given: Fresnel number of the gaps; None to search for it.
    """

    def __init__(self, scan: ScanData, solver: IterativeSolver, given: float | None) -> None:
        self.scan, self.solver, self.given = scan, solver, given
        self.core = scan.subset(select_middle(scan.positions_px, CORE_PATTERNS)).replace(truth=None)
        self.thin = solver.solve(self.core, ITERATIONS, held_out_period=HELD_OUT_PERIOD)
        self.fits = dict[tuple[int, float], StackFit]()

    def find_number(self) -> StackChoice:
        """Add slices until held-out pixels are predicted no better."""
        best, losses = StackChoice(np.empty(0)), [StackFit.of(self.thin).held_out]
        spacing = 1 / (self.given or FIELD_FRESNEL_NUMBER)
        for number in range(2, MAX_SLICES + 1):
            spacing = self._search(number, spacing)
            losses.append(self._fit(number, spacing).held_out)
            if losses[-1] > (1 - MIN_GAIN) * losses[-2]:
                break
            best = self._choice(number, spacing)
            spacing *= 1 if self.given else (number - 1) / number  # the same thickness
        return replace(best, record={**best.record, "chosen": True, "held_out_deviance": losses})

    def find_spacing_of(self, number: int) -> StackChoice:
        """Return a number of slices at the spacing of largest likelihood."""
        return self._choice(number, self._search(number, 1 / FIELD_FRESNEL_NUMBER))

    def _search(self, number: int, spacing: float) -> float:
        """Return the best spacing, in squares of a pixel over the wavelength, from one to start with."""
        if self.given:
            return spacing
        for span in SPANS:
            for _ in range(MAX_MOVES):
                best = self._best_of(number, (spacing / span, spacing, spacing * span))
                if best == spacing:
                    break
                spacing = best
        return spacing

    def _best_of(self, number: int, spacings: Iterable[float]) -> float:
        """Return the best of some spacings that the patterns sample."""
        sampled = [spacing for spacing in spacings if spacing <= self.scan.size]
        return min(sampled, key=lambda spacing: self._fit(number, spacing).fitted)

    def _fit(self, number: int, spacing: float) -> StackFit:
        """Return what a solve of a stack leaves."""
        key = number, round(spacing, 9)
        if key not in self.fits:
            from ptypinn.solvers.multislice import restack

            gaps = np.full(number - 1, 1 / spacing)
            start = replace(self.thin, slices=restack(self.thin.object, number), gap_fresnel_numbers=gaps)
            core = self.core.replace(gap_fresnel_numbers=gaps)
            recon = self.solver.solve(core, ITERATIONS, start, held_out_period=HELD_OUT_PERIOD)
            self.fits[key] = StackFit.of(recon)
        return self.fits[key]

    def _choice(self, number: int, spacing: float) -> StackChoice:
        """Return a stack with the uncertainty of its spacing where that was searched for."""
        gaps = np.full(number - 1, 1 / spacing)
        if self.given:
            return StackChoice(gaps)
        refined, spread = self._refine(number, spacing)
        gaps, record = np.full(number - 1, 1 / refined), dict[str, Any]()
        if (lengths := measure_spacing(self.scan, gaps)) is not None:
            record["spacing_uncertainty_m"] = lengths[0] * spread
        return StackChoice(gaps, record)

    def _refine(self, number: int, spacing: float) -> tuple[float, float]:
        """Return the lowest point of a parabola over the logarithm of the spacing, and its relative error.

        What the parabola leaves of the deviances is the noise of short solves, and part of the error.
        """
        steps = np.arange(-FIT_STEPS, FIT_STEPS + 1) * np.log(FIT_STEP)
        sampled = [step for step in steps if spacing * np.exp(step) <= self.scan.size]
        fitted = [self._fit(number, spacing * float(np.exp(step))).fitted for step in sampled]
        lowest, error = fit_lowest_point(np.array(sampled), np.array(fitted))
        return float(spacing * np.exp(lowest)), float(np.hypot(error, UNSETTLED))


def fit_lowest_point(
    places: Float64[np.ndarray, " place"], values: Float64[np.ndarray, " place"]
) -> tuple[float, float]:
    """Return the lowest point of a parabola through some values, between the outermost places, and its standard error.

    The error follows from what the fit leaves, of at least a log-likelihood of one half. Where the values show no
    lowest point, it is the place of the lowest one, with `MAX_SPREAD` for an error.

    >>> lowest, error = fit_lowest_point(np.arange(-2.0, 3.0), (np.arange(-2.0, 3.0) - 0.5) ** 2)
    >>> round(lowest, 6), round(error, 3)
    (0.5, 0.104)
    """
    design = np.vander(places, 3)
    inverse = np.linalg.inv(design.T @ design)
    curve, slope, level = inverse @ design.T @ values
    left = values - design @ np.array([curve, slope, level])
    variance = max(float(left @ left) / max(len(places) - 3, 1), 0.25)
    lowest = -slope / (2 * curve) if curve > 0 else np.inf
    if not places.min() <= lowest <= places.max():
        return float(places[values.argmin()]), MAX_SPREAD
    gradient = np.array([-lowest / curve, -1 / (2 * curve), 0.0])
    error = float(np.sqrt(variance * (gradient @ inverse @ gradient)))
    return float(lowest), min(error, MAX_SPREAD)
