"""Terms of the experiment beside the ideal one: what proposes each, how it is solved for, how large it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from ptypinn.data.beam_centre import flatten_curvature, record_experiment
from ptypinn.data.calibration import measure_fraction
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.background import measure_background
from ptypinn.metrics.flux import flatten_slope, measure_flux
from ptypinn.metrics.position_errors import (
    LAST_CHANGE,
    PositionErrors,
    measure_misfit,
    measure_position_errors,
)
from ptypinn.physics.optics import mode_photons
from ptypinn.utils.progress import Progress

if TYPE_CHECKING:
    from ptypinn.solvers.positions import PositionEstimate

MIN_SIGNIFICANCE = 4.0
"""Gain of log-likelihood over its standard error from which a term is not due to chance."""
MIN_VARIATION = 0.004
"""Smallest standard deviation of the flux that is solved for: on scans of constant flux, errors of the object that
exceed counting noise imitate up to half of it."""
MIN_BACKGROUND = 0.0015
"""Smallest background, over the photons measured, that an ideal solve leaves to be solved for: a tenth of the true one,
whose rest the object has imitated. On scans without one, up to two thirds of it are left where counts are few."""
MIN_EXPLAINED = 0.05
"""Smallest fraction of the misfit above counting noise that this background explains: errors of other causes leave
excess counts too, which explain 0.02 of theirs."""
MIN_MISFIT = 1.04
"""Amplitude residual over that of counting noise from which detector or positions may be to blame: up to 1.03 on scans
without faults."""
MIN_BLUR_EXPLAINED = 0.025
"""Smallest fraction of the misfit above counting noise that a blur of the prediction explains, from which a point
spread is searched for: 0.09 where there is one, 0.04 to 0.07 with motion or a background, else 0."""
MIN_BEAM_PX = 0.1
"""Smallest slow motion of the patterns, detector pixels, that is solved for."""
MAX_CANVAS_PX = 2**22
"""Largest canvas on which positions are solved for: the solver holds forty of it in memory."""
MIN_GAIN = 0.3
"""Smallest fraction of the misfit above counting noise that a term has to explain."""
SUFFICIENT_GAIN = 0.9
"""The same for what explains nearly everything."""
MODES, MODE_ROUNDS = 3, 72
"""Modes that are solved for, and rounds for object and probe: modes gain their power slowly."""
MIN_CORE_GAIN, MIN_WIDE_MISFIT = 0.8, 2.0
"""Fraction of the misfit above counting noise that the positions around the middle of the scan explain where they are
to blame: 0.95 or more; and the misfit that is left where they are too far off for the gradient. Where they explain
less and leave less, another cause is more likely."""


@runtime_checkable
class Solver(Protocol):
    """Solver of scans, with the options of the run."""

    @property
    def batch(self) -> int:
        """Patterns in memory at once."""

    @property
    def device(self) -> torch.device:
        """Device to compute on."""

    @property
    def refines_probe(self) -> bool:
        """True if the probe is solved for as well."""

    @property
    def progress(self) -> Progress:
        """Called after every step."""

    def solve(self, scan: ScanData, unknown: str = "", *, hold_probe: bool = False) -> Reconstruction:
        """Solve a scan.

        Args:
            scan: The scan, with the terms that are given.
            unknown: Name of a term to solve for as well.
            hold_probe: Take the probe of the scan as it is.
        """


@dataclass(frozen=True)
class Evidence:
    """Evidence of a term in what an ideal solve has left unexplained."""

    significance: float
    """Gain of log-likelihood on what the term was not fitted to, over its standard error."""
    proposes: bool
    """True if the term is worth a solve."""
    estimate: PositionEstimate | None = None
    """First estimate of the positions, to go on from."""
    beam_px: np.ndarray | None = None
    """First estimate of the beam, detector pixels."""
    spread_px: float | None = None
    """Estimate of the point spread, detector pixels."""


@runtime_checkable
class Term(Protocol):
    """A term of the experiment, as `solve_experiment` tries it."""

    name: str
    min_gain: float
    """Smallest fraction of the misfit above counting noise that the term has to explain."""

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Return the evidence of the term in what a reconstruction leaves unexplained, for little work."""

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve the scan with the term, from cheap trials to the result; each has to explain enough for the next."""

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the size of the term in a reconstruction that has it."""

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return what else is worth recording about the term."""


class BeamTerm:
    """A beam that moves slowly over the detector, and the patterns with it."""

    name, min_gain = "beam", MIN_GAIN

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Look for a slow motion of the patterns, where much is left unexplained."""
        misfit = measure_misfit(scan, recon, batch=solver.batch, device=solver.device)
        if misfit < MIN_MISFIT:
            return Evidence(0.0, False)
        from ptypinn.metrics.beam import measure_beam

        evidence = measure_beam(scan, solver.device)
        large = evidence.rms_px >= MIN_BEAM_PX and evidence.significance >= MIN_SIGNIFICANCE
        return Evidence(evidence.significance, large, beam_px=evidence.path_px)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for it with object and probe, from the slow motion of the patterns."""
        start_px = evidence.beam_px
        if start_px is None:  # forced, where nothing proposes it
            from ptypinn.metrics.beam import measure_beam

            start_px = measure_beam(scan, solver.device).path_px
        result = solver.solve(scan.replace(beam_px=start_px), self.name)
        yield flatten_curvature(result) if result.beam_px is not None and solver.refines_probe else result

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the root mean square of the motion along one axis, detector pixels."""
        return 0.0 if recon.beam_px is None else float(np.sqrt(np.mean(recon.beam_px**2)))

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return the largest distance from the start of the scan, detector pixels."""
        if recon.beam_px is None:
            return {}
        return {"reach_px": float(np.linalg.norm(recon.beam_px - recon.beam_px[0], axis=1).max())}


class PointSpreadTerm:
    """A detector that blurs: a Gaussian point spread."""

    name, min_gain = "point_spread", MIN_GAIN

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Blur the prediction, and where that helps solve the patterns around the middle with ever other blurs."""
        misfit = measure_misfit(scan, recon, batch=solver.batch, device=solver.device)
        if misfit < MIN_MISFIT:
            return Evidence(0.0, False)
        from ptypinn.metrics.point_spread import measure_point_spread

        blurred = measure_point_spread(scan, recon, batch=solver.batch, device=solver.device)
        if blurred.explained < MIN_BLUR_EXPLAINED:
            return Evidence(0.0, False)
        from ptypinn.solvers.point_spread_search import search_point_spread

        spread, gain = search_point_spread(scan, solver)
        return Evidence(0.0, gain >= MIN_CORE_GAIN, spread_px=spread)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve with the point spread that was found."""
        spread = evidence.spread_px
        if spread is None:  # forced, where nothing proposes it
            from ptypinn.solvers.point_spread_search import search_point_spread

            spread, _ = search_point_spread(scan, solver)
        yield solver.solve(scan.replace(point_spread_px=spread))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return its standard deviation, detector pixels."""
        return recon.point_spread_px or 0.0

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


class BackgroundTerm:
    """One image of counts that every frame has beside the diffraction."""

    name, min_gain = "background", MIN_GAIN

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Look for excess counts where little is predicted."""
        evidence = measure_background(scan, recon, batch=solver.batch, device=solver.device)
        large = evidence.fraction >= MIN_BACKGROUND and evidence.explained >= MIN_EXPLAINED
        return Evidence(evidence.significance, large and evidence.significance >= MIN_SIGNIFICANCE)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for it afresh, with object and probe: what those have imitated of it is not easily undone."""
        yield solver.solve(scan, self.name)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return its fraction of the photons measured."""
        return 0.0 if recon.background is None else measure_fraction(scan, recon.background)

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


class FluxTerm:
    """One factor per frame."""

    name, min_gain = "flux", MIN_GAIN

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Compare the photons of every frame with the prediction."""
        evidence = measure_flux(scan, recon, batch=solver.batch, device=solver.device)
        significant = evidence.significance >= MIN_SIGNIFICANCE
        return Evidence(evidence.significance, significant and evidence.variation >= MIN_VARIATION)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for it with the probe held, then for object and probe with the flux given."""
        trial = solver.solve(scan.replace(probe=recon.probe), self.name, hold_probe=True)
        flux = trial.flux
        if flux is not None:
            yield trial
            flux = flatten_slope(trial)
        else:  # scans in tiles are solved with the flux that is given
            ratio = measure_flux(scan, recon, batch=solver.batch, device=solver.device).ratio
            flux = ratio / ratio.mean()
        yield solver.solve(scan.replace(flux=flux))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the standard deviation over the frames."""
        return 0.0 if recon.flux is None else float(recon.flux.std())

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


class PositionsTerm:
    """Positions of the probe beside the recorded ones."""

    name, min_gain = "positions", MIN_GAIN

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Solve the patterns around the middle for their positions, where much is left unexplained."""
        misfit = measure_misfit(scan, recon, batch=solver.batch, device=solver.device)
        if recon.object.size > MAX_CANVAS_PX or misfit < MIN_MISFIT:
            return Evidence(0.0, False)
        estimate = self._solve_core(scan, recon, solver)
        wide = estimate.misfit >= MIN_WIDE_MISFIT and estimate.gain >= MIN_GAIN
        return Evidence(estimate.significance, wide or estimate.gain >= MIN_CORE_GAIN, estimate)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for all positions, then for object and probe with the positions given."""
        from ptypinn.solvers.positions import solve_positions

        core = evidence.estimate or self._solve_core(scan, recon, solver)
        estimate = solve_positions(scan, core, solver.device, solver.progress, refine_probe=solver.refines_probe)
        moved = scan.replace(positions_px=estimate.positions_px, probe=estimate.probe, truth=None)
        result = solver.solve(moved)
        yield replace(result, provenance=record_experiment(result, {self.name: {LAST_CHANGE: estimate.change}}))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the root mean square error of the recorded positions, pixels."""
        return self._errors(scan, recon).rms_px

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return their errors by cause, and what may be left of scales and shear."""
        change = recon.provenance.get("experiment", {}).get(self.name, {}).get(LAST_CHANGE, 0.0)
        return {**self._errors(scan, recon).to_record(), LAST_CHANGE: change}

    def _solve_core(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> PositionEstimate:
        from ptypinn.solvers.positions import solve_core

        return solve_core(scan, recon, solver.device, solver.progress, refine_probe=solver.refines_probe)

    def _errors(self, scan: ScanData, recon: Reconstruction) -> PositionErrors:
        return measure_position_errors(scan.positions_px, recon.positions_px + np.asarray(recon.origin_px, float))


class ModesTerm:
    """Further incoherent modes: a partially coherent beam, a detector that blurs, or motion during the exposure."""

    name, min_gain = "modes", MIN_GAIN

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Look for what a single mode leaves unexplained."""
        misfit = measure_misfit(scan, recon, batch=solver.batch, device=solver.device)
        return Evidence(0.0, len(recon.probe) == 1 and misfit >= MIN_MISFIT)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for them afresh, with the object."""
        yield solver.solve(scan, self.name)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the fraction of the photons outside of the strongest mode."""
        photons = mode_photons(recon.probe)
        return float(1 - photons.max() / photons.sum())

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return the number of modes."""
        return {"modes": len(recon.probe)}


class SufficientModesTerm(ModesTerm):
    """Further incoherent modes where they explain nearly everything, so that nothing dearer has to be tried."""

    min_gain = SUFFICIENT_GAIN


TERMS: tuple[Term, ...] = (
    BeamTerm(),
    PointSpreadTerm(),
    BackgroundTerm(),
    FluxTerm(),
    SufficientModesTerm(),
    PositionsTerm(),
    PointSpreadTerm(),
    ModesTerm(),
)
"""Terms in the order in which they are tried: what one imitates of another is gone where that is taken in first."""
RIVALS = {"background": (ModesTerm(),)}
"""Terms that explain much of each other's misfit: a detector that blurs leaves excess counts, as a background does.
Before the one is taken in, the others are solved for too, and the one that explains most is."""
