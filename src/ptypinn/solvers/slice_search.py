"""Number and spacing of the slices of a thick sample, from solves of the patterns around the middle of the scan.

One detector pixel in ten is held out: slices that are not there fit noise, and predict these pixels worse. So do slices
that are too far apart, which fit more noise than those at the true spacing: the pixels that are fitted tell neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.depth import FIELD_FRESNEL_NUMBER, Gaps, compute_gaps, measure_spacing, restack
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.solvers.iterative import IterativeSolver
from ptypinn.solvers.position_geometry import select_middle

CORE_PATTERNS, HELD_OUT_PERIOD = 100, 10
"""Patterns around the middle that are solved, and one pixel in how many is held out."""
MIN_GAIN = 0.01
"""Smallest relative fall of the deviance of held-out pixels for which a further slice is taken, and no less than its
root: it hardly falls, or rises by up to 8 %, where there is none, and falls by 2 to 70 % where there is one."""
MAX_SLICES = 8
"""Most slices that are tried."""
SPANS = 2.0, 1.25
"""Factors between the spacings that are tried, at first and around the best."""
MAX_MOVES = 4
"""Maximum number of times that spacings are moved on, where the best one is at their end."""
UNSETTLED = 0.15
"""Error of a spacing, relative to it, that solves of few patterns leave: the root mean square of simulated ones."""
FIT_STEP, FIT_STEPS, MAX_SPREAD = 1.2, 2, 0.5
"""Factor between the spacings around the best that a parabola is laid through, and how many on either side; and the
relative error of a spacing that they do not determine."""


class Effort(NamedTuple):
    """Length of a solve."""

    iterations: int
    prior: bool = False
    """Expect the spectrum of the slices that the counts show: slow differences of slices settle."""


TRIAL, COMPARISON, SETTLED = Effort(40), Effort(150), Effort(120, prior=True)
"""Solves of the first spacings that are tried; of those around the best, and of numbers of slices that are compared, as
solves of high dose settle late, and until then more slices seem better; and of the spacing in the end, as until slow
differences have settled larger spacings seem better."""


@dataclass(frozen=True)
class StackChoice:
    """Number of slices and their spacing, as given or as chosen."""

    gap_fresnel_numbers: Gaps
    """Fresnel number of an object pixel over every gap; empty for a thin sample."""
    record: dict[str, Any] = field(default_factory=dict)
    """Record of the choice, for the provenance."""

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
    gaps = None if config.spacings_m is None else compute_gaps(scan, config.spacings_m)
    if config.slices != "auto" and gaps is not None:
        return StackChoice(np.resize(gaps, config.slices - 1))
    search = _Search(scan, solver, None if gaps is None else 1 / float(gaps[0]))
    return search.find_spacing_of(config.slices) if config.slices != "auto" else search.find_number()


class _Search:
    """Search over stacks of equal gaps.

    Args:
        scan: The scan.
        solver: Solver of its patterns.
        given_spacing: Distance between slices, in squares of a pixel over the wavelength; None to search for it.
    """

    def __init__(self, scan: ScanData, solver: IterativeSolver, given_spacing: float | None) -> None:
        self.scan, self.given_spacing, self.core = scan, given_spacing, _Core(scan, solver)

    def find_number(self) -> StackChoice:
        """Add slices until held-out pixels are predicted no better."""
        best, deviances = (1, 0.0), [self.core.measure(1, 0.0, COMPARISON)]
        spacing = self.given_spacing or 1 / FIELD_FRESNEL_NUMBER
        for number in range(2, MAX_SLICES + 1):
            spacing = self._search(number, spacing)
            deviances.append(self.core.measure(number, spacing, COMPARISON))
            if deviances[-2] - deviances[-1] < max(MIN_GAIN * deviances[-2], deviances[-2] ** 0.5):
                break
            best = number, spacing
            spacing *= 1 if self.given_spacing else (number - 1) / number  # the same thickness
        choice = StackChoice(np.empty(0)) if best[0] == 1 else self._settle(*best)
        return replace(choice, record={**choice.record, "chosen": True, "held_out_deviance": deviances})

    def find_spacing_of(self, number: int) -> StackChoice:
        """Return a number of slices at the spacing that predicts held-out pixels best."""
        return self._settle(number, self._search(number, 1 / FIELD_FRESNEL_NUMBER))

    def _search(self, number: int, spacing: float, efforts: Sequence[Effort] = (TRIAL, COMPARISON)) -> float:
        """Return the best spacing, in squares of a pixel over the wavelength, from one to start with."""
        if self.given_spacing:
            return spacing
        for span, effort in zip(SPANS, efforts, strict=True):
            for _ in range(MAX_MOVES):
                best = self._best_of(number, (spacing / span, spacing, spacing * span), effort)
                if best == spacing:
                    break
                spacing = best
        return spacing

    def _best_of(self, number: int, spacings: Iterable[float], effort: Effort) -> float:
        """Return the best of some spacings that the patterns sample."""
        sampled = [spacing for spacing in spacings if spacing <= self.scan.size]
        return min(sampled, key=lambda spacing: self.core.measure(number, spacing, effort))

    def _settle(self, number: int, spacing: float) -> StackChoice:
        """Return a stack, with a spacing from longer solves and its uncertainty where it was searched for."""
        if self.given_spacing:
            return StackChoice(np.full(number - 1, 1 / spacing))
        refined, spread = self._refine(number, self._search(number, spacing, (SETTLED, SETTLED)))
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
        deviances = [self.core.measure(number, spacing * float(np.exp(step)), SETTLED) for step in sampled]
        lowest, error = fit_lowest_point(np.array(sampled), np.array(deviances))
        return float(spacing * np.exp(lowest)), float(np.hypot(error, UNSETTLED))


class _Core:
    """Patterns around the middle of a scan, solved as a thin sample and then as stacks, each once.

    Args:
        scan: The scan.
        solver: Solver of its patterns.
    """

    def __init__(self, scan: ScanData, solver: IterativeSolver) -> None:
        self._scan = scan.subset(select_middle(scan.positions_px, CORE_PATTERNS)).replace(truth=None)
        self._solver, self._deviances = solver, dict[tuple[int, float, Effort], float]()
        self._thin = solver.iterate(self._scan, TRIAL.iterations, held_out_period=HELD_OUT_PERIOD)

    def measure(self, number: int, spacing: float, effort: Effort) -> float:
        """Return the deviance of held-out pixels after a solve of equally spaced slices.

        All go on from the same thin solve by as many iterations, one slice as well: more iterations alone explain more.

        Args:
            number: Number of slices, 1 for a thin sample.
            spacing: Distance between them, in squares of a pixel over the wavelength.
            effort: Length of the solve.
        """
        key = number, round(spacing, 9), effort
        if key not in self._deviances:
            start, gaps = self._thin, None
            if number > 1:
                gaps = np.full(number - 1, 1 / spacing)
                start = replace(start, slices=restack(start.object, number), gap_fresnel_numbers=gaps)
            recon = self._solver.iterate(
                self._scan.replace(gap_fresnel_numbers=gaps),
                effort.iterations,
                start,
                prior=effort.prior,
                held_out_period=HELD_OUT_PERIOD,
            )
            self._deviances[key] = _held_out(recon)
        return self._deviances[key]


def _held_out(recon: Reconstruction) -> float:
    """Return the least deviance of held-out pixels over the iterations."""
    return min(recon.history["held_out_loss"])


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
