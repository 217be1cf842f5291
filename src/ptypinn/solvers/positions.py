"""Estimate the scan positions where the recorded ones are off: the rotation first, then smooth errors, then each.

Some patterns around the middle come first, a core: errors that grow with the distance, such as those of a rotation, a
wrong scale or a drift, are small there, so that object, probe and positions are solved for together; what is smooth in
the result predicts the rest of the scan. Where that leaves much unexplained, errors are large and independent: each
pattern is searched for on a reconstruction with the present positions, over and over, and then once more from the
middle outwards, because patterns at the rim, which have few neighbours, agree on wrong places. In the end all positions
are solved for together with the object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex64, Float64, Int64
from scipy.spatial import KDTree

from ptypinn.data.reconstruction import DataFit, Reconstruction, SolverResult
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.metrics.position_errors import measure_position_errors
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.solvers.position_geometry import distance_from_middle, fit_affine, rotate, select_middle
from ptypinn.solvers.position_search import FINE_RADIUS, search_positions
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.utils.progress import Progress, rename_stage, silent

CORE_PATTERNS = 60
"""Patterns around the middle that are solved first."""
CORE_ITERATIONS, ITERATIONS, LONG_ITERATIONS = 240, 80, 150
"""Iterations for object, probe and positions: of the core, whose cost is small, and of more of the scan, after which
positions settle; and the same where other causes are left, for which positions have to be right first."""
MAX_SETTLED_MISFIT = 1.3
"""Misfit of solved positions up to which they are the last large error of the experiment: 0.92 to 1.05 without others,
1.67 or more with all others."""
TRIAL_ITERATIONS = 10
"""Iterations for the object alone, with positions on trial."""
ROTATION_STEP_DEG, MAX_ROTATION_DEG = 5.0, 45.0
"""Rotations on trial: steps from the recorded one, in the direction in which the misfit falls, and their end."""
MIN_ROTATION_GAIN = 0.1
"""Smallest fraction of the loss that a rotation has to gain: smaller ones are within reach of the gradient."""
MAX_CORE_MISFIT = 2.0
"""Amplitude residual over that of counting noise above which the errors of the core were out of reach."""
GROWTH, SETTLED_PX = 1.7, 0.1
"""Growth of a core from solve to solve, and the median change of the other positions at which it needs no more."""
SETTLED_SCATTER = 0.5
"""The same as a fraction of the scatter of errors that neighbours do not share, and that no core predicts."""
NEIGHBOURS = 40
"""Solved patterns that predict the position of another one."""
SEARCH_CYCLES = 3
SEARCH_RADIUS, LOST_RADIUS = 0.4, 0.8
"""Radius of the first search, and of that for patterns that fit badly, in diameters of the probe."""
SMOOTH_RADIUS = 0.8
"""Errors are independent from pattern to pattern: their median within this many diameters of the probe is taken out. A
smooth warp of positions and object is hardly seen by the counts."""
SEARCH_ITERATIONS, RING_ITERATIONS = 80, 40
"""Iterations for all positions after a search, and for those within a ring."""
MAX_LEGS, LEG_ITERATIONS, LEG_CHANGE = 6, 100, 1e-3
"""After a search, all positions are solved for in legs, at most this many, until scales and shear change less in one.
"""
RING_PATTERNS = 40
"""Smallest number of patterns in a ring; an eighth of large scans."""
MAX_DEVIATIONS = 2.7
"""Radius of the search for the patterns of a ring, in standard deviations of the errors within."""
MEDIAN_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
MIN_LOST_MISFIT, MIN_JUMP_GAIN = 1.5, 0.1
"""Residual of a pattern, over the median, from which it is searched for again, on an object without it; and the
smallest fraction of its misfit that another place has to gain."""

Positions = Float64[np.ndarray, "patterns 2"]


@dataclass(frozen=True)
class PositionEstimate:
    """Positions of a scan that were solved for, from its core or from all of it."""

    positions_px: Positions
    """Coordinates (y, x) of the probe array's pixel (0, 0), object pixels."""
    probe: Complex64[np.ndarray, "mode y x"]
    """Probe that was solved for with them, sqrt(photons)."""
    variation: Complex64[np.ndarray, "order mode y x"] | None
    """Its variation over the frames, where the scan has one."""
    misfit: float
    """Amplitude residual over that of counting noise."""
    gain: float = 1.0
    """Fraction of the misfit above counting noise that the positions of the core explain."""
    significance: float = 0.0
    """Mean fall of the residual of a pattern of the core over its standard error."""


def solve_core(
    scan: ScanData,
    recon: Reconstruction,
    device: torch.device,
    progress: Progress = silent,
    *,
    refine_probe: bool = True,
) -> PositionEstimate:
    """Solve for the rotation of a scan, and for the positions around its middle.

    Args:
        scan: Scan with a calibrated probe, which may be a rough guess.
        recon: Reconstruction with the recorded positions, to compare with.
        device: Device to compute on.
        progress: Called after every iteration, as the stage `positions`.
        refine_probe: Solve for the probe too; False for a known one.
    """
    run = _Run(scan.replace(truth=None), device, progress, refine_probe)
    core = select_middle(scan.positions_px, CORE_PATTERNS)
    before = _fit_of(scan.subset(core), recon.object, recon.probe, recon.positions_px[core], device)
    with torch.no_grad():
        run.positions_px = rotate(run.positions_px, run.find_rotation(core), run.positions_px[core].mean(0))
        after = run.solve(core, CORE_ITERATIONS)
        if len(core) < scan.n_patterns:
            run.extrapolate(core)
    falls = before.per_pattern_residual - after.per_pattern_residual
    error = float(falls.std() / np.sqrt(len(falls)))
    excess = max(before.misfit - 1, 1e-9)
    return PositionEstimate(
        run.positions_px,
        run.probe,
        run.variation,
        after.misfit,
        gain=(before.misfit - after.misfit) / excess,
        significance=float(falls.mean()) / error if error > 0 else 0.0,
    )


def find_rotation(scan: ScanData, device: torch.device, progress: Progress = silent) -> float:
    """Return the turn of the recorded positions against the true ones, radians, 0 where none is seen.

    Short solves for the object alone, of the patterns around the middle, compare turns by up to 45 degrees.

    Args:
        scan: Scan with a calibrated probe, which may be a rough guess.
        device: Device to compute on.
        progress: Called after every solve.
    """
    run = _Run(scan.replace(truth=None), device, progress, refine_probe=False)
    with torch.no_grad():
        return -run.find_rotation(select_middle(scan.positions_px, CORE_PATTERNS))


def solve_positions(
    scan: ScanData,
    core: PositionEstimate,
    device: torch.device,
    progress: Progress = silent,
    *,
    refine_probe: bool = True,
) -> PositionEstimate:
    """Solve for all positions of a scan.

    The mean move is 0: a common shift of positions and object changes no pattern.

    Args:
        scan: Scan with a calibrated probe and the recorded positions.
        core: Estimate from `solve_core`.
        device: Device to compute on.
        progress: Called after every iteration, as the stage `positions`.
        refine_probe: Solve for the probe too; False for a known one.
    """
    run, everything = _Run(scan.replace(truth=None), device, progress, refine_probe), np.arange(scan.n_patterns)
    with torch.no_grad():
        if core.misfit > MAX_CORE_MISFIT:
            run.search()
            run.solve(everything, SEARCH_ITERATIONS)
            run.grow(np.argsort(distance_from_middle(scan.positions_px), kind="stable"))
        else:
            run.positions_px, run.probe, run.variation = core.positions_px, core.probe, core.variation
            run.has_other_causes = core.misfit >= MAX_SETTLED_MISFIT
            run.extend(np.argsort(distance_from_middle(scan.positions_px), kind="stable"))
        fit = run.solve(everything, run.iterations)
        if core.misfit > MAX_CORE_MISFIT:
            fit = run.converge(fit)
        elif run.jump(fit):
            fit = run.solve(everything, SEARCH_ITERATIONS)
    moves = run.positions_px - scan.positions_px
    positions_px = scan.positions_px + moves - moves.mean(0)
    solved = replace(core, positions_px=positions_px, probe=run.probe, variation=run.variation)
    return replace(solved, misfit=fit.misfit)


class _Run:
    """State of one estimate: positions and probe."""

    def __init__(self, scan: ScanData, device: torch.device, progress: Progress, refine_probe: bool) -> None:
        self.scan, self.device, self.refine_probe = scan, device, refine_probe
        self.progress = rename_stage(progress, "positions")
        self.positions_px, self.probe, self.variation = scan.positions_px, scan.require_probe(), scan.probe_variation
        self.has_other_causes, self.diameter = False, equivalent_diameter(torch.from_numpy(self.probe))

    @property
    def iterations(self) -> int:
        """Iterations for more of the scan than its core."""
        return LONG_ITERATIONS if self.has_other_causes else ITERATIONS

    def find_rotation(self, core: Int64[np.ndarray, " core"]) -> float:
        """Return the rotation of the scan, radians, 0 where none gains much."""
        centre, losses = self.positions_px[core].mean(0), dict[int, float]()

        def loss(step: int) -> float:
            if step not in losses:
                places = rotate(self.positions_px[core], np.deg2rad(step * ROTATION_STEP_DEG), centre)
                losses[step] = self._solve_object(core, places).history["loss"][-1]
            return losses[step]

        best, limit = min((-1, 0, 1), key=loss), int(MAX_ROTATION_DEG / ROTATION_STEP_DEG)
        while best and abs(best) < limit and loss(best + int(np.sign(best))) < loss(best):
            best += int(np.sign(best))
        if loss(best) > (1 - MIN_ROTATION_GAIN) * loss(0):
            return 0.0
        below, here, above = loss(best - 1), loss(best), loss(best + 1)
        bend = below - 2 * here + above
        return float(np.deg2rad(ROTATION_STEP_DEG * (best + ((below - above) / (2 * bend) if bend > 0 else 0.0))))

    def solve(self, index: Int64[np.ndarray, " part"], iterations: int) -> DataFit:
        """Solve some patterns for object, probe and positions; return their agreement with the counts."""
        result = self._solve_positions(index, iterations)
        part = self._part(index, self.positions_px[index])
        return _fit_of(part, result.object, result.probe, result.positions_px, self.device)

    def extend(self, order: Int64[np.ndarray, " patterns"]) -> None:
        """Solve ever more patterns around the middle, until they no longer change the prediction of the others.

        Args:
            order: Indices of all patterns, those in the middle first.
        """
        size, largest = int(GROWTH * CORE_PATTERNS), len(order) if self.has_other_causes else len(order) / GROWTH**0.5
        while size < largest:
            inner, outer, before = np.sort(order[:size]), order[size:], self.positions_px
            self._solve_positions(inner, self.iterations)
            scatter = np.linalg.norm(self._moves(inner) - self._predict_moves(inner, inner), axis=1)
            self.extrapolate(inner)
            change = np.linalg.norm((self.positions_px - before)[outer], axis=1)
            least = 0.0 if self.has_other_causes else SETTLED_SCATTER * np.median(scatter)
            if np.median(change) < max(SETTLED_PX, least):
                return
            size = int(GROWTH * size)

    def extrapolate(self, index: Int64[np.ndarray, " part"]) -> None:
        """Move all other patterns as the affine part of the moves around the nearest of some has it."""
        rest = np.setdiff1d(np.arange(self.scan.n_patterns), index)
        self.positions_px = self.positions_px.copy()
        self.positions_px[rest] = self.scan.positions_px[rest] + self._predict_moves(index, rest)

    def search(self) -> None:
        """Search for every pattern on reconstructions with the present positions, over and over."""
        recorded, everything = self.scan.positions_px, np.arange(self.scan.n_patterns)
        neighbours = KDTree(recorded).query_ball_point(recorded, SMOOTH_RADIUS * self.diameter)
        for cycle in range(SEARCH_CYCLES):
            result = self._solve_object(everything, self.positions_px)
            radius = max(FINE_RADIUS, round(SEARCH_RADIUS * self.diameter) - 2 * cycle)
            match = search_positions(self.scan, result, result.positions_px, radius, self.device)
            moves = match.positions_px + np.asarray(result.origin_px, float) - recorded
            self.positions_px = recorded + moves - np.array([np.median(moves[near], 0) for near in neighbours])

    def grow(self, order: Int64[np.ndarray, " patterns"]) -> None:
        """Solve from the middle outwards; search for the patterns of every ring on what lies within.

        Args:
            order: Indices of all patterns, those in the middle first.
        """
        for size in range(len(order) // 3, len(order), max(RING_PATTERNS, len(order) // 8)):
            inner, ring = np.sort(order[:size]), np.sort(order[size : size + max(RING_PATTERNS, len(order) // 8)])
            result = self._solve_positions(inner, RING_ITERATIONS)
            moves = self._moves(inner)
            common = np.median(moves, 0)
            spread = MEDIAN_TO_DEVIATION * float(np.median(np.abs(moves - common)))
            places = self.scan.positions_px[ring] + common - np.asarray(result.origin_px, float)
            match = search_positions(
                self.scan.subset(ring), result, places, max(FINE_RADIUS, round(MAX_DEVIATIONS * spread)), self.device
            )
            self.positions_px[ring] = match.positions_px + np.asarray(result.origin_px, float)

    def converge(self, fit: DataFit) -> DataFit:
        """Solve all patterns until scales and shear settle, and search for those that fit badly in between.

        Args:
            fit: Agreement with the counts.

        Returns:
            The same with the positions that were solved for.
        """
        everything = np.arange(self.scan.n_patterns)
        for _ in range(MAX_LEGS):
            before = self.positions_px
            has_jumped = self.jump(fit)
            fit = self.solve(everything, LEG_ITERATIONS)
            if not has_jumped and measure_position_errors(before, self.positions_px).max_stretch < LEG_CHANGE:
                break
        return fit

    def jump(self, fit: DataFit) -> bool:
        """Move patterns that fit badly to other places, out of reach of the gradient, that explain them much better.

        Places around the present one and around the one that the neighbours predict are searched.

        Args:
            fit: Agreement with the counts.

        Returns:
            True if a pattern has moved.
        """
        lost = np.flatnonzero(fit.per_pattern_residual > MIN_LOST_MISFIT * np.median(fit.per_pattern_residual))
        if not len(lost):
            return False
        others, present = np.setdiff1d(np.arange(self.scan.n_patterns), lost), self.positions_px
        result = self._solve_object(others, present[others])
        origin, radius = np.asarray(result.origin_px, float), max(FINE_RADIUS, round(LOST_RADIUS * self.diameter))
        self.extrapolate(others)
        part, starts = self.scan.subset(lost), (present[lost], self.positions_px[lost])
        here, there = (search_positions(part, result, start - origin, radius, self.device) for start in starts)
        closest = np.where((here.misfit <= there.misfit)[:, None], here.positions_px, there.positions_px)
        better = np.minimum(here.misfit, there.misfit) < (1 - MIN_JUMP_GAIN) * here.misfit_before
        self.positions_px = present.copy()
        self.positions_px[lost[better]] = closest[better] + origin
        return bool(better.any())

    def _moves(self, index: Int64[np.ndarray, " part"]) -> Positions:
        return self.positions_px[index] - self.scan.positions_px[index]

    def _predict_moves(self, index: Int64[np.ndarray, " part"], asked: Int64[np.ndarray, " asked"]) -> Positions:
        """Return the affine part of the moves of some patterns around the recorded positions of others."""
        places = self.scan.positions_px[asked]
        _, nearest = KDTree(self.scan.positions_px[index]).query(places, k=min(NEIGHBOURS, len(index)))
        near = np.reshape(nearest, (len(asked), -1))
        return fit_affine(self.scan.positions_px[index][near], self._moves(index)[near], places)

    def _solve_positions(self, index: Int64[np.ndarray, " part"], iterations: int) -> QuasiNewtonResult:
        """Solve some patterns for object, probe and positions."""
        options = QuasiNewtonOptions(
            iterations, refine_probe=self.refine_probe, refine_variation=False, refine_positions=True
        )
        part = self._part(index, self.positions_px[index])
        result = solve_problem(QuasiNewtonProblem(part, options, self.device), self.progress)
        self.positions_px = self.positions_px.copy()
        self.positions_px[index] = _scan_positions(result)
        self.probe, self.variation = result.probe, result.probe_variation
        return result

    def _solve_object(self, index: Int64[np.ndarray, " part"], positions_px: Positions) -> QuasiNewtonResult:
        """Solve some patterns for the object alone."""
        options = QuasiNewtonOptions(TRIAL_ITERATIONS, refine_probe=False, loss="amplitude")
        return solve_problem(QuasiNewtonProblem(self._part(index, positions_px), options, self.device), silent)

    def _part(self, index: Int64[np.ndarray, " part"], positions_px: Positions) -> ScanData:
        scan = self.scan if len(index) == self.scan.n_patterns else self.scan.subset(index)
        return scan.replace(positions_px=positions_px, probe=self.probe, probe_variation=self.variation)


def _fit_of(
    scan: ScanData, canvas: np.ndarray, probe: np.ndarray, positions_px: Positions, device: torch.device
) -> DataFit:
    return compute_data_fit(scan, canvas, probe, positions_px, device=device)


def _scan_positions(result: SolverResult) -> Positions:
    return result.positions_px + np.asarray(result.origin_px, float)
