"""Terms of the probe: further incoherent modes, slow changes over the scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ptypinn.data.opr_modes import measure_variation
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.flux import compare_flux, flatten_slope
from ptypinn.metrics.misfit_causes import MIN_MISFIT
from ptypinn.physics.optics import mode_photons
from ptypinn.solvers.core_trials import CoreGain
from ptypinn.solvers.scan_terms import FluxTerm
from ptypinn.solvers.term import FAINT_GAIN, MAX_CANVAS_PX, MIN_GAIN, Evidence, State, fit_misfit
from ptypinn.utils.progress import rename_stage

SUFFICIENT_GAIN = 0.9
"""Smallest fraction of the misfit above counting noise that explains nearly everything."""
MIN_STILL_FRACTION = 0.45
"""Smallest part of a variation that is not a move of the probe: 0.6 to 0.8 where it varies, up to 0.3 with positions
that drift or have an affine error."""
VARIATION_GAIN = 0.45
"""Smallest fraction of the misfit above counting noise that a varying probe has to explain: 0.8 or more where it does
vary in simulations and 0.54 on a measured scan, up to 0.39 where positions are off instead."""
MODE_ITERATIONS, MODE_TOLERANCE, MODE_ROUNDS = 120, 7e-4, 72
"""Iterations for object and modes, and their relative gain over five at which they end; or rounds: modes gain their
power slowly."""

JOINT_ITERATIONS, MORE_ITERATIONS, MIN_VARIATION = 20, 12, 0.008
"""Iterations for modes and variation together, more with positions and flux where the probe varies, and the fraction of
the photons that lie beside the mean probe after the first where it does: 0.011 or more, else up to 0.005."""
MAX_NOISY_MISFIT = 1.02
"""Misfit up to which the object of these iterations has fitted noise: they go on until they settle, for many times the
work, and rounds remove it. At 1.04 they went on for minutes on a measured scan, and gained nothing."""
MIN_FLUX_SHARE = 0.15
"""Smallest fraction of the misfit above counting noise that a flux has to explain beside modes and variation: up to
0.1 is explained where the flux is constant."""


class ModesTerm:
    """Further incoherent modes: a partially coherent beam, a detector that blurs, or motion during the exposure."""

    name, min_gain, min_misfit = "modes", MIN_GAIN, MIN_MISFIT

    def weigh(self, state: State) -> Evidence:
        """Propose them where there is a single one; as a rule where they explain much of the middle of the scan."""
        if len(state.recon.probe) > 1:
            return Evidence(0.0, False)
        if state.core.is_conclusive:
            return Evidence(0.0, state.core.has_modes, min_gain=MIN_GAIN)
        if not state.is_faint:
            return Evidence(0.0, True)
        return Evidence(0.0, _predicts_best(state.wide.modes, state), min_gain=FAINT_GAIN)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve for them with the object, then for the object with the modes given; on large canvases at once.

        Where the middle of the scan shows that there are modes, the probe may vary as well: that is seen from few
        iterations for both.
        """
        scan, recon, solver = state.scan, state.recon, state.solver
        if recon.object.size > MAX_CANVAS_PX:
            yield solver.solve(scan, self.name)
            return
        from ptypinn.solvers.joint_solve import solve_jointly
        from ptypinn.solvers.probe_variation import drop_variation, start_variation, with_modes

        device, progress = solver.device, rename_stage(solver.progress, self.name)
        recon = with_modes(recon, state.core.mode_probe)
        scan = scan.replace(probe=recon.probe, probe_variation=recon.probe_variation)
        if "probe_variation" in state.names and state.core.is_conclusive:
            recon = start_variation(scan, recon, device, progress, iterations=JOINT_ITERATIONS)
            if measure_variation(recon) >= MIN_VARIATION:
                yield from self._solve_both(state, recon)
                return
            recon = drop_variation(recon)
        limits: dict[str, Any] = {"iterations": MODE_ITERATIONS, "tolerance": MODE_TOLERANCE}
        first = solve_jointly(scan, recon, device, progress, **limits)
        yield solver.solve(scan.replace(probe=first.probe, probe_variation=first.probe_variation), hold_probe=True)

    def _solve_both(self, state: State, start: Reconstruction) -> Iterator[Reconstruction]:
        """Go on with modes, variation, positions and flux; an object that leaves much unexplained has fitted no noise.

        Recorded positions that are to be kept move no more than a varying probe has them.
        """
        from ptypinn.solvers.probe_variation import free_frames, settle_variation

        scan, solver = state.scan, state.solver
        progress, solved = rename_stage(solver.progress, self.name), start
        free = {name: name in state.names for name in ("positions", "flux")}
        if any(free.values()):
            solved = free_frames(scan, start, solver.device, progress, MORE_ITERATIONS, **free)
        misfit = None
        if free["flux"]:
            varies, misfit = _weigh_flux(state, solved)
            flux = flatten_slope(solved, state.scan.flux) if varies else scan.flux
            if flux is not solved.flux:  # the object has taken up a slope, or what is no flux
                scan, free["flux"], solved, misfit = scan.replace(flux=flux), False, replace(solved, flux=flux), None
                solved = free_frames(scan, solved, solver.device, progress, MORE_ITERATIONS, **free)
            scan = scan.replace(flux=flux)
        if (misfit or fit_misfit(scan, solved, solver)) >= MAX_NOISY_MISFIT:
            yield solved
        else:
            yield solver.solve(settle_variation(scan, solved, solver.device, progress), hold_probe=True)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the fraction of the photons outside of the strongest mode."""
        photons = mode_photons(recon.probe)
        return float(1 - photons.max() / photons.sum())

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return the number of modes."""
        return {"modes": len(recon.probe)}


def _weigh_flux(state: State, solved: Reconstruction) -> tuple[bool, float]:
    """Return whether a flux varies by more than what the rest of the model has left unexplained imitates.

    Args:
        state: What the solve started from.
        solved: Reconstruction with modes, variation and flux.

    Returns:
        True if it does, and the misfit with it.
    """
    scan, solver, flat = state.scan, state.solver, replace(solved, flux=state.scan.flux)
    before, after = compare_flux(solved.scan_part(scan), solved, flat.flux, batch=solver.batch, device=solver.device)
    if after - 1 > (1 - MIN_FLUX_SHARE) * (before - 1):
        return False, after
    return FluxTerm().weigh(State(flat.scan_part(scan), flat, solver)).proposes, after


def _predicts_best(gain: CoreGain, state: State) -> bool:
    """Return True if a term predicts held-out pixels better than by chance, and no worse than its rivals do."""
    if not gain.is_significant:
        return False
    rivals = [
        *([state.wide.modes] if "modes" in state.names and len(state.recon.probe) == 1 else []),
        *([state.wide.variation] if "probe_variation" in state.names else []),
        *([state.wide.background] if "background" in state.names else []),
    ]
    return gain.held_out >= max(rival.held_out for rival in [gain, *rivals])


class SufficientModesTerm(ModesTerm):
    """Further incoherent modes where they explain nearly everything, so that nothing dearer has to be tried."""

    min_gain = SUFFICIENT_GAIN


class ProbeVariationTerm:
    """A probe that changes slowly over the scan: optics that drift."""

    name, min_gain, min_misfit = "probe_variation", VARIATION_GAIN, MIN_MISFIT

    def weigh(self, state: State) -> Evidence:
        """Solve for it with object and probe; a probe that mostly moves is one whose positions are off."""
        recon, solver = state.recon, state.solver
        if recon.object.size > MAX_CANVAS_PX or recon.probe_variation is not None:
            return Evidence(0.0, False)
        if state.is_faint and not _predicts_best(state.wide.variation, state):
            return Evidence(0.0, False)
        start = self._start(state)
        from ptypinn.solvers.probe_variation import move_shifts

        still = measure_variation(move_shifts(state.scan, start, solver.device))
        return Evidence(0.0, still >= MIN_STILL_FRACTION * measure_variation(start), start=start)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve for it with object and probe, then with the positions, then for the object with both given."""
        from ptypinn.solvers.probe_variation import settle_variation

        scan, solver, trial = state.scan, state.solver, evidence.start or self._start(state)
        progress = rename_stage(solver.progress, "varying probe")
        yield trial
        yield solver.solve(settle_variation(scan, trial, solver.device, progress), hold_probe=True)

    def _start(self, state: State) -> Reconstruction:
        from ptypinn.solvers.probe_variation import start_variation

        progress = rename_stage(state.solver.progress, "varying probe")
        return start_variation(state.scan, state.recon, state.solver.device, progress)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the fraction of the photons that what changes of the probe holds, its motion left out."""
        from ptypinn.solvers.probe_variation import measure_still_change

        return measure_still_change(recon)

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return the number of images that are added."""
        return {} if recon.probe_variation is None else {"order": len(recon.probe_variation)}
