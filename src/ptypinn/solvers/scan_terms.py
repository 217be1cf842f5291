"""Terms of the frames of a scan: flux and positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.flux import MIN_FLUX, flatten_slope, measure_flux
from ptypinn.metrics.misfit_causes import MIN_MISFIT
from ptypinn.metrics.position_errors import LAST_CHANGE, MOVED, PositionErrors, measure_position_errors
from ptypinn.solvers.core_trials import MIN_CORE_MISFIT, MIN_SIGNIFICANCE
from ptypinn.solvers.term import FAINT_GAIN, MAX_CANVAS_PX, MIN_GAIN, Evidence, Solver, State

if TYPE_CHECKING:
    from ptypinn.solvers.positions import PositionEstimate

MIN_VARIATION = 0.004
"""Smallest standard deviation of the flux that is solved for: on scans of constant flux, errors of the object that
exceed counting noise imitate up to half of it."""
MIN_FLUX_GAIN = 0.05
"""Smallest fraction of the log-likelihood that is unexplained which the flux explains, object and probe as they are:
0.9 of an independent one, 0.2 or more of a slow one, 0.06 or more beside other terms; 0.01 where positions are off."""
SURE_FLUX_GAIN = 0.1
"""The same from which it is to blame where little is unexplained, most of it noise: 0.13 to 0.4 of a slow flux at
1e5 photons per pattern, where other terms have no significant flux."""
MIN_CORE_GAIN, MIN_WIDE_MISFIT = 0.8, 2.0
"""Fraction of the misfit above counting noise that the positions around the middle of the scan explain where they are
to blame: 0.95 or more; and the misfit that is left where they are too far off for the gradient. Where they explain
less and leave less, another cause is more likely, unless small moves help."""
MIN_MOVED_CORE_GAIN = 0.5
"""The same where small moves help: 0.65 or more beside other terms."""

MIN_MOVE_GAIN, SURE_MOVE_GAIN = 0.1, 0.175
"""Smallest fraction of what is unexplained that small moves of single patterns explain, object and probe as they are:
0.1 to 0.27 where positions are off, up to 0.17 where the probe varies, and 0.01 with other terms. Errors that are too
large for it leave much unexplained."""


class FluxTerm:
    """One factor per frame."""

    name, min_gain, min_misfit = "flux", MIN_GAIN, 0.0

    def weigh(self, state: State) -> Evidence:
        """Compare the photons of every frame with the prediction."""
        solver = state.solver
        evidence = measure_flux(state.scan, state.recon, batch=solver.batch, device=solver.device)
        large = evidence.variation >= MIN_VARIATION and evidence.gain >= MIN_FLUX_GAIN * state.unexplained
        proposes = large and evidence.significance >= MIN_SIGNIFICANCE
        is_sure = proposes and evidence.gain >= SURE_FLUX_GAIN * state.unexplained > 0
        is_sure = is_sure and state.misfit < MIN_CORE_MISFIT
        return Evidence(evidence.significance, proposes, min_gain=FAINT_GAIN if is_sure else None)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve for it with the probe held, then for object and probe with the flux given."""
        scan, recon, solver = state.scan, state.recon, state.solver
        trial = solver.solve(scan.replace(probe=recon.probe), self.name, hold_probe=True)
        yield trial
        yield solver.solve(scan.replace(flux=flatten_slope(trial, scan.flux).clip(min=MIN_FLUX)))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the standard deviation over the frames, over that of a monitor where there is one."""
        if recon.flux is None:
            return 0.0
        return float((recon.flux if scan.flux is None else recon.flux / scan.flux).std())

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


class PositionsTerm:
    """Positions of the probe beside the recorded ones."""

    name, min_gain, min_misfit = "positions", MIN_GAIN, MIN_MISFIT
    min_move_gain, is_sure = MIN_MOVE_GAIN, False

    def weigh(self, state: State) -> Evidence:
        """Move every pattern a little; where that helps solve the patterns around the middle for their positions."""
        if state.recon.object.size > MAX_CANVAS_PX or _have_settled(state.recon):
            return Evidence(0.0, False)
        from ptypinn.solvers.position_evidence import measure_position_gain

        gain = measure_position_gain(state.scan, state.recon, state.misfit, state.solver.device)
        if gain < self.min_move_gain and (self.is_sure or state.misfit < MIN_WIDE_MISFIT):
            return Evidence(0.0, False)
        estimate = self._solve_core(state)
        min_gain = MIN_CORE_GAIN if gain < MIN_MOVE_GAIN else MIN_MOVED_CORE_GAIN
        wide = estimate.misfit >= MIN_WIDE_MISFIT and estimate.gain >= MIN_GAIN
        return Evidence(estimate.significance, wide or estimate.gain >= min_gain, estimate=estimate)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve for all positions, let them settle, then solve for object and probe with the positions given.

        Where much is left, they settle when the other terms are taken in.
        """
        from ptypinn.solvers.positions import MAX_SETTLED_MISFIT, solve_positions

        scan, solver, core = state.scan, state.solver, evidence.estimate or self._solve_core(state)
        estimate = solve_positions(scan, core, solver.device, solver.progress, refine_probe=solver.refines_probe)
        places, probe, variation = estimate.positions_px, estimate.probe, estimate.variation
        scan = scan.replace(positions_px=places, probe=probe, probe_variation=variation, truth=None)
        yield self.settle(scan, solver) if estimate.misfit < MAX_SETTLED_MISFIT else self._solve_with(scan, solver)

    def settle(self, scan: ScanData, solver: Solver) -> Reconstruction:
        """Go on with positions that are nearly right; solve for object and probe with the result.

        Args:
            scan: The scan, with positions, probe and the terms that were taken in.
            solver: Solver of scans.
        """
        from ptypinn.solvers.position_cycles import settle_positions

        settled = settle_positions(scan, solver)
        result = self._solve_with(settled.scan, solver)
        return replace(result, provenance=record_experiment(result, {self.name: {LAST_CHANGE: settled.change}}))

    def _solve_with(self, scan: ScanData, solver: Solver) -> Reconstruction:
        """Solve for the object with the positions given, and for a probe that has one mode in all frames."""
        return solver.solve(scan, hold_probe=len(scan.require_probe()) > 1 or scan.probe_variation is not None)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the root mean square error of the recorded positions, pixels."""
        return self._errors(scan, recon).rms_px

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return their errors by cause, and what may be left of scales and shear."""
        record = recon.provenance.get("experiment", {}).get(self.name, {})
        settled = {LAST_CHANGE: record[LAST_CHANGE]} if LAST_CHANGE in record else {}
        return {**self._errors(scan, recon).to_record(), **settled}

    def _solve_core(self, state: State) -> PositionEstimate:
        from ptypinn.solvers.positions import solve_core

        solver = state.solver
        return solve_core(state.scan, state.recon, solver.device, solver.progress, refine_probe=solver.refines_probe)

    def _errors(self, scan: ScanData, recon: Reconstruction) -> PositionErrors:
        return measure_position_errors(scan.positions_px, recon.positions_px + np.asarray(recon.origin_px, float))


def _have_settled(recon: Reconstruction) -> bool:
    """Return True if positions were solved for with the modes, and leave less than tells causes apart."""
    record = recon.provenance.get("experiment", {}).get(PositionsTerm.name, {})
    return record.get("corrected", False) and MOVED in record and record["misfit_after"] < MIN_CORE_MISFIT


class SurePositionsTerm(PositionsTerm):
    """Positions that are to blame for sure: other terms would be taken in for what they have caused."""

    min_move_gain, is_sure = SURE_MOVE_GAIN, True
