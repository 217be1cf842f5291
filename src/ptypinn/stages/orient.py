"""Relative orientation of patterns and positions: solve a few patterns in every orientation and compare residuals.

A scan whose patterns, positions and probe are all turned alike is its own mirror image, so counts determine at most the
orientation of the patterns relative to the positions: one of eight. These form four pairs of twins: conjugate waves
give the pattern of a wave turned by 180 degrees, `|F[conj(P O)](q)|^2 = |F[P O](-q)|^2` at the same positions. Only a
property of the probe, such as the sign of its defocus, distinguishes twins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float64

from ptypinn.config.load import MIN_PATTERNS, InfoConfig
from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.orientation import ORIENTATIONS, Orientation, rotation_matrix, undo_matrix
from ptypinn.data.pattern_form import require_far_field
from ptypinn.data.positions import find_nearest
from ptypinn.data.probe_candidates import focus_pupil
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.optics import illumination_mask, mode_photons
from ptypinn.solvers.positions import find_rotation
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.utils.progress import Progress, silent

DEFAULTS = InfoConfig()
SURE, LIKELY = 1.3, 1.1
"""Ratio of another orientation's residual to the best's from which the best is sure, and likely."""


@dataclass(frozen=True)
class Candidate:
    """One relative orientation and the fit to the patterns in it."""

    orientation: Orientation
    """Orientation applied to the positions as they were read."""
    residual: float
    """Amplitude residual, `sum (sqrt I - sqrt I_pred)^2 / sum I`."""
    per_pattern: Float64[np.ndarray, " patterns"]
    """Amplitude residual of every pattern."""
    object: Complex64[np.ndarray, "height width"]
    """Object of the solve, inside the illuminated box."""

    @property
    def is_as_read(self) -> bool:
        """True if it is the orientation of the scan as it was read."""
        return self.orientation.is_identity


@dataclass(frozen=True)
class Ranking:
    """The eight relative orientations, best first."""

    scan: ScanData
    """The scan as it was read."""
    config: InfoConfig
    """Number of patterns and iterations."""
    candidates: tuple[Candidate, ...]
    """Candidates by residual, the smallest first."""
    rotation_deg: float = 0.0
    """Turn of the recorded scan against the detector beside the best orientation, degrees; 0 where none is seen."""
    best_turned_back: Candidate | None = None
    """The best with its positions turned back by as much; None where no turn is seen."""

    @property
    def best(self) -> Candidate:
        """Candidate of the smallest residual."""
        return self.candidates[0]

    @property
    def twin(self) -> Candidate:
        """The best turned by 180 degrees, which only the probe distinguishes from it."""
        return next(one for one in self.candidates if one.orientation == self.best.orientation.half_turn)

    @property
    def runner_up(self) -> Candidate:
        """The next best apart from the twin; patterns alone distinguish it from the best."""
        return next(one for one in self.candidates[1:] if one is not self.twin)

    @property
    def margin(self) -> float:
        """Ratio of the second residual to the first."""
        return self.ratio_to_best(self.candidates[1])

    def ratio_to_best(self, other: Candidate) -> float:
        """Return the ratio of a candidate's residual to the best's, at least 1."""
        return other.residual / max(self.best.residual, 1e-12)

    def margin_over(self, other: Candidate) -> float:
        """Return the ratio of another's residual to that of the best with its positions turned back."""
        return other.residual / max(self._rival_of(other).residual, 1e-12)

    def fraction_for_best(self, other: Candidate) -> float:
        """Return the fraction of the patterns that the best, turned back, fits better than another does."""
        return float(np.mean(self._rival_of(other).per_pattern < other.per_pattern))

    def _rival_of(self, other: Candidate) -> Candidate:
        """Return the best as another is compared with it: turned back, but for the twin, which a turn helps alike."""
        return self.best if self.best_turned_back is None or other is self.twin else self.best_turned_back

    def verdict(self, other: Candidate) -> str:
        """Return the certainty that the best is right and another wrong: sure, likely or open."""
        ratio = self.margin_over(other)
        return "sure" if ratio >= SURE else "likely" if ratio >= LIKELY else "open"

    def positions_turned(self, candidate: Candidate) -> Orientation:
        """Return the orientation of the file's positions for a candidate, with the patterns as they were read."""
        return candidate.orientation.after(_read_with(self.scan, "positions"))

    def patterns_turned(self, candidate: Candidate) -> Orientation:
        """Return the orientation of patterns, mask and probe instead: same residual, mirrored object."""
        return candidate.orientation.inverse.after(_read_with(self.scan, "patterns"))

    def load_options(self, candidate: Candidate) -> dict[str, dict[str, Any]]:
        """Return options that read the scan in a candidate's orientation, either of the stage or of the camera.

        The positions of a scan with a true object index that object, and cannot be flipped.
        """
        turns = self._turns_beside(candidate)
        stage = {"stage": {**_options("positions", self.positions_turned(candidate)), **turns[0]}}
        camera = {"camera": {**_options("patterns", self.patterns_turned(candidate)), **turns[1]}}
        return camera if self.scan.truth is not None else {**stage, **camera}

    def _turns_beside(self, candidate: Candidate) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the option for the turn, or the matrix, that goes with the orientation of the stage, and the camera.

        Positions p are read as `M^-1 p`, and best as `R^-1 G M^-1 p`, with the orientation G of the candidate and its
        turn R; or all turned by `G^-1`, where the patterns are instead.
        """
        rotation = self.rotation_deg if candidate is self.best else 0.0
        entries = self.scan.option("scan_matrix", None)
        if entries is None:
            hand = round(float(np.linalg.det(candidate.orientation.matrix)))
            total = hand * float(self.scan.option("scan_rotation_deg", 0.0)) + rotation
            stage, camera = ({} if total == 0 else {"scan_rotation_deg": round(a, 2)} for a in (total, hand * total))
            return stage, camera
        matrix, orientation = np.reshape(np.asarray(entries, np.float64), (2, 2)), candidate.orientation.matrix
        turn = rotation_matrix(np.deg2rad(rotation))
        both = orientation @ matrix @ orientation.T @ turn, matrix @ orientation.T @ turn @ orientation
        rows = [tuple(float(value) for value in one.ravel().round(6)) for one in both]
        return {"scan_matrix": rows[0]}, {"scan_matrix": rows[1]}

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and texts for JSON."""
        return {
            "patterns": len(self.best.per_pattern),
            "iterations": self.config.orient_iterations,
            "probe": "estimated" if self.scan.probe is None else "of the scan",
            "stored_orientation_is_best": self.best.is_as_read,
            "rotation_deg": self.rotation_deg,
            "residual_turned": None if self.best_turned_back is None else self.best_turned_back.residual,
            "margin": self.margin,
            "verdict": self.verdict(self.runner_up),
            "margin_over_rival": self.margin_over(self.runner_up),
            "twin_verdict": self.verdict(self.twin),
            "margin_over_twin": self.margin_over(self.twin),
            "ranking": [
                {
                    "residual": one.residual,
                    "ratio_to_best": self.ratio_to_best(one),
                    "as_read": one.is_as_read,
                    "twin_of_best": one is self.twin,
                    "options": self.load_options(one),
                }
                for one in self.candidates
            ],
        }


def orient(scan: ScanData, config: InfoConfig = DEFAULTS, *, progress: Progress | None = None) -> Ranking:
    """Rank the eight relative orientations of patterns and positions, and measure a turn beside the best.

    The scan itself stays as it is. Every one is solved from the same probe (one mode, refined on the way) on the same
    few neighbouring patterns.

    Args:
        scan: A far-field scan. Its probe is the start; without one, the mean pattern gives a probe in focus.
        config: Number of patterns and iterations.
        progress: Called as `progress("orient", orientations_done, 8, residual=...)`.

    Raises:
        InputError: Where the scan has too few patterns or is near-field.
    """
    if scan.n_patterns < MIN_PATTERNS:
        expected = f"at least {MIN_PATTERNS} to determine the orientation"
        raise InputError(scan.source, "--orient", f"{scan.n_patterns} patterns", expected)
    require_far_field(scan)
    part = _select_middle(scan, config.orient_patterns)
    candidates: list[Candidate] = []
    for number, orientation in enumerate(ORIENTATIONS, 1):
        candidates.append(_solve(part, orientation, config.orient_iterations))
        (progress or silent)("orient", number, len(ORIENTATIONS), residual=candidates[-1].residual)
    ranking = Ranking(scan, config, tuple(sorted(candidates, key=lambda one: one.residual)))
    return _with_rotation(ranking, part)


def _with_rotation(ranking: Ranking, part: ScanData) -> Ranking:
    """Return a ranking with the turn of the scan that goes with its best orientation, where that leaves less misfit."""
    orientation = ranking.best.orientation
    oriented = part.replace(positions_px=orientation.positions(part.positions_px))
    angle = find_rotation(oriented, torch.device("cpu"))
    if angle == 0:
        return ranking
    back = _solve(undo_matrix(oriented, rotation_matrix(angle)), Orientation(), ranking.config.orient_iterations)
    if back.residual >= ranking.best.residual:
        return ranking
    back = replace(back, orientation=orientation)
    return replace(ranking, rotation_deg=float(np.rad2deg(angle)), best_turned_back=back)


def _select_middle(scan: ScanData, count: int) -> ScanData:
    """Return the patterns nearest to the middle of the scan, with a calibrated probe of one mode."""
    index = np.sort(find_nearest(scan.positions_px, np.median(scan.positions_px, 0)[None], count)[1][0])
    part = scan.subset(index).replace(truth=None)
    probe = _focused_probe(part) if scan.probe is None else _strongest_mode(scan.probe)
    gauge = "relative" if scan.probe is None else scan.probe_gauge
    return calibrate_probe(part.replace(probe=probe, probe_gauge=gauge))


def _strongest_mode(probe: Complex64[np.ndarray, "mode y x"]) -> Complex64[np.ndarray, "1 y x"]:
    """Return the strongest mode, scaled to the photons of all."""
    powers = mode_photons(probe)
    best = int(powers.argmax())
    return np.asarray(probe[best : best + 1] * np.sqrt(powers.sum() / powers[best]), np.complex64)


def _focused_probe(scan: ScanData) -> Complex64[np.ndarray, "1 y x"]:
    """Return the probe in focus, of arbitrary scale, whose far field has the intensity of the mean pattern."""
    return focus_pupil(np.sqrt(mean_pattern(scan)))


def _solve(scan: ScanData, orientation: Orientation, iterations: int) -> Candidate:
    scan = scan.replace(positions_px=orientation.positions(scan.positions_px))
    options = QuasiNewtonOptions(iterations=iterations, probe_modes=1, loss="amplitude", tolerance=0.0)
    with torch.no_grad():
        result = solve_problem(QuasiNewtonProblem(scan, options, torch.device("cpu")), silent)
    fit = compute_data_fit(scan, result.object, result.probe, result.positions_px)
    return Candidate(orientation, fit.amplitude_residual, fit.per_pattern_residual, _illuminated_box(result))


def _illuminated_box(result: QuasiNewtonResult) -> Complex64[np.ndarray, "height width"]:
    """Return the object inside the bounding box of its illuminated pixels."""
    illuminated = illumination_mask(result.illumination)
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(illuminated))
    return np.ascontiguousarray(result.object[box])


def _read_with(scan: ScanData, what: str) -> Orientation:
    """Return the orientation that the reading options gave to patterns or positions."""
    return Orientation(bool(scan.option(f"transpose_{what}", False)), str(scan.option(f"flip_{what}", "none")))


def _options(what: str, orientation: Orientation) -> dict[str, Any]:
    return {f"transpose_{what}": orientation.transpose, f"flip_{what}": orientation.flip}
