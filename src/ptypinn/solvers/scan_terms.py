"""Terms of the frames of a scan: flux and positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.flux import flatten_slope, measure_flux
from ptypinn.metrics.position_errors import LAST_CHANGE, PositionErrors, measure_position_errors
from ptypinn.solvers.term import MAX_CANVAS_PX, MIN_GAIN, MIN_MISFIT, MIN_SIGNIFICANCE, Evidence, Solver

if TYPE_CHECKING:
    from ptypinn.solvers.positions import PositionEstimate

MIN_VARIATION = 0.004
"""Smallest standard deviation of the flux that is solved for: on scans of constant flux, errors of the object that
exceed counting noise imitate up to half of it."""
MIN_CORE_GAIN, MIN_WIDE_MISFIT = 0.8, 2.0
"""Fraction of the misfit above counting noise that the positions around the middle of the scan explain where they are
to blame: 0.95 or more; and the misfit that is left where they are too far off for the gradient. Where they explain
less and leave less, another cause is more likely."""


class FluxTerm:
    """One factor per frame."""

    name, min_gain, min_misfit = "flux", MIN_GAIN, 0.0

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

    name, min_gain, min_misfit = "positions", MIN_GAIN, MIN_MISFIT

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Solve the patterns around the middle for their positions."""
        if recon.object.size > MAX_CANVAS_PX:
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
        places, probe, variation = estimate.positions_px, estimate.probe, estimate.variation
        result = solver.solve(scan.replace(positions_px=places, probe=probe, probe_variation=variation, truth=None))
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
