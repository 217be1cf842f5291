"""Which way round patterns and positions belong: solve a few patterns in every orientation and compare residuals.

Patterns, positions and probe turned together are the same scan in a mirror, so that counts tell the orientation of the
patterns relative to the positions at most: one of eight. Of these, two and two are twins: conjugate waves give the
pattern of a wave turned by 180 degrees, `|F[conj(P O)](q)|^2 = |F[P O](-q)|^2` at the same positions. Only what is
known of the probe tells twins apart, such as the sign of its defocus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float64

from ptypinn.config.load import MIN_PATTERNS, InfoConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.grouping import nearest
from ptypinn.data.near_field import require_far_field
from ptypinn.data.orientation import ORIENTATIONS, Orientation
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.optics import illumination_mask, mode_photons
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.utils.progress import Progress, silent

DEFAULTS = InfoConfig()
SURE, LIKELY = 1.3, 1.1
"""Residual of the next best over that of the best from which the best is taken as sure, and as likely."""


@dataclass(frozen=True)
class Candidate:
    """One relative orientation and how well the patterns are explained in it."""

    orientation: Orientation
    """What was done to the positions as they were read."""
    residual: float
    """Amplitude residual, `sum (sqrt I - sqrt I_pred)^2 / sum I`."""
    per_pattern: Float64[np.ndarray, " patterns"]
    """The same of every pattern."""
    object: Complex64[np.ndarray, "height width"]
    """What the patterns were solved to, where light fell."""

    @property
    def is_as_read(self) -> bool:
        """True if nothing was turned."""
        return self.orientation.is_identity


@dataclass(frozen=True)
class Ranking:
    """The eight relative orientations, best first."""

    scan: ScanData
    """The scan as it was read."""
    config: InfoConfig
    """How it was tried."""
    candidates: tuple[Candidate, ...]
    """By residual."""

    @property
    def best(self) -> Candidate:
        """The one with the least residual."""
        return self.candidates[0]

    @property
    def twin(self) -> Candidate:
        """The best turned by 180 degrees, which only the probe tells from it."""
        return next(one for one in self.candidates if one.orientation == self.best.orientation.half_turn)

    @property
    def runner_up(self) -> Candidate:
        """The best of those that are not the twin, which the patterns themselves tell from it."""
        return next(one for one in self.candidates[1:] if one is not self.twin)

    @property
    def margin(self) -> float:
        """Residual of the second over that of the first."""
        return self.ratio_to_best(self.candidates[1])

    def ratio_to_best(self, other: Candidate) -> float:
        """Residual of a candidate over that of the best, at least 1."""
        return other.residual / max(self.best.residual, 1e-12)

    def fraction_for_best(self, other: Candidate) -> float:
        """Share of the patterns that the best explains better than another."""
        return float(np.mean(self.best.per_pattern < other.per_pattern))

    def verdict(self, other: Candidate) -> str:
        """How sure it is that the best is right and another wrong: sure, likely or open."""
        ratio = self.ratio_to_best(other)
        return "sure" if ratio >= SURE else "likely" if ratio >= LIKELY else "open"

    def positions_turned(self, candidate: Candidate) -> Orientation:
        """How the file's positions are to be turned for a candidate, while its patterns stay as they were read."""
        return candidate.orientation.after(_read_with(self.scan, "positions"))

    def patterns_turned(self, candidate: Candidate) -> Orientation:
        """How patterns, mask and probe are to be turned instead: the same residual, and the object in a mirror."""
        return candidate.orientation.inverse.after(_read_with(self.scan, "patterns"))

    def load_options(self, candidate: Candidate) -> dict[str, dict[str, Any]]:
        """Options that read the scan in a candidate's orientation, either of the stage or of the camera.

        The positions of a scan with a true object index that object, and cannot be turned.
        """
        stage = (
            {} if self.scan.truth is not None else {"stage": _options("positions", self.positions_turned(candidate))}
        )
        return {**stage, "camera": _options("patterns", self.patterns_turned(candidate))}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts for JSON."""
        return {
            "patterns": len(self.best.per_pattern),
            "iterations": self.config.orient_iterations,
            "probe": "estimated" if self.scan.probe is None else "of the scan",
            "stored_orientation_is_best": self.best.is_as_read,
            "margin": self.margin,
            "verdict": self.verdict(self.runner_up),
            "margin_over_rival": self.ratio_to_best(self.runner_up),
            "twin_verdict": self.verdict(self.twin),
            "margin_over_twin": self.ratio_to_best(self.twin),
            "ranking": [
                {
                    "residual": one.residual,
                    "over_best": self.ratio_to_best(one),
                    "as_read": one.is_as_read,
                    "twin_of_best": one is self.twin,
                    "options": self.load_options(one),
                }
                for one in self.candidates
            ],
        }


def orient(scan: ScanData, config: InfoConfig = DEFAULTS, *, progress: Progress | None = None) -> Ranking:
    """Rank the eight relative orientations of patterns and positions; the scan itself stays as it is.

    Every one is solved from the same probe (one mode, refined on the way) on the same few neighbouring patterns.

    Args:
        scan: A far-field scan. Its probe is the start; without one, the mean pattern gives a probe in focus.
        config: How many patterns and iterations.
        progress: Called as `progress("orient", orientations_done, 8, residual=...)`.

    Raises:
        InputError: Where the scan has too few patterns or is near-field.
    """
    if scan.n_patterns < MIN_PATTERNS:
        found, expected = f"{scan.n_patterns} patterns", f"at least {MIN_PATTERNS} to tell the orientation by"
        raise InputError(scan.source, "--orient", found, expected)
    require_far_field(scan)
    some = _middle(scan, config.orient_patterns)
    tried: list[Candidate] = []
    for number, turn in enumerate(ORIENTATIONS, 1):
        tried.append(_try(some, turn, config.orient_iterations))
        (progress or silent)("orient", number, len(ORIENTATIONS), residual=tried[-1].residual)
    return Ranking(scan, config, tuple(sorted(tried, key=lambda one: one.residual)))


def _middle(scan: ScanData, count: int) -> ScanData:
    """The patterns nearest to the middle of the scan, with a calibrated probe of one mode."""
    index = np.sort(nearest(scan.positions_px, np.median(scan.positions_px, 0)[None], count)[0])
    some = scan.subset(index).replace(truth=None)
    probe = _focus(some) if scan.probe is None else _strongest(scan.probe)
    gauge = "relative" if scan.probe is None else scan.probe_gauge
    return calibrate_probe(some.replace(probe=probe, probe_gauge=gauge))


def _strongest(probe: Complex64[np.ndarray, "mode y x"]) -> Complex64[np.ndarray, "1 y x"]:
    """The strongest mode with the power of all."""
    powers = mode_photons(probe)
    best = int(powers.argmax())
    return np.asarray(probe[best : best + 1] * np.sqrt(powers.sum() / powers[best]), np.complex64)


def _focus(scan: ScanData) -> Complex64[np.ndarray, "1 y x"]:
    """The probe in focus whose far field is as bright as the mean pattern, of arbitrary scale."""
    mean = np.where(scan.good, scan.counts[:].mean(0, dtype=np.float64), 0.0)
    field = np.fft.ifft2(np.fft.ifftshift(np.sqrt(mean)))
    return np.fft.fftshift(field)[None].astype(np.complex64)


def _try(scan: ScanData, turn: Orientation, iterations: int) -> Candidate:
    scan = scan.replace(positions_px=turn.positions(scan.positions_px))
    options = QuasiNewtonOptions(
        iterations=iterations, probe_modes=1, loss="amplitude", early_stop=False, tolerance=0.0
    )
    with torch.no_grad():
        result = solve_problem(QuasiNewtonProblem(scan, options, torch.device("cpu")), silent)
    fit = compute_data_fit(scan, result.object, result.probe, result.positions_px)
    return Candidate(turn, fit.amplitude_residual, fit.per_pattern_residual, _lit(result))


def _lit(result: QuasiNewtonResult) -> Complex64[np.ndarray, "height width"]:
    """The object inside the box where light fell."""
    illuminated = illumination_mask(result.illumination)
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(illuminated))
    return np.ascontiguousarray(result.object[box])


def _read_with(scan: ScanData, what: str) -> Orientation:
    """How the options that a scan was read with turned its patterns or positions."""
    return Orientation(bool(scan.option(f"transpose_{what}", False)), str(scan.option(f"flip_{what}", "none")))


def _options(what: str, orientation: Orientation) -> dict[str, Any]:
    return {f"transpose_{what}": orientation.transpose, f"flip_{what}": orientation.flip}
