"""Terms of the detector: a beam that moves over it, its point spread, a background."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64

from ptypinn.data.beam_centre import flatten_curvature
from ptypinn.data.calibration import measure_fraction
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.background import measure_background
from ptypinn.metrics.misfit_causes import MIN_MISFIT
from ptypinn.solvers.core_trials import MIN_CORE_MISFIT, MIN_SIGNIFICANCE, CoreGain
from ptypinn.solvers.term import MIN_GAIN, Evidence, State

MIN_BEAM_PX = 0.1
"""Smallest slow motion of the patterns, detector pixels, that is solved for."""
MIN_BLUR_EXPLAINED = 0.025
"""Smallest fraction of the misfit above counting noise that a blur of the prediction explains, from which a point
spread is searched for: 0.09 where there is one, 0.04 to 0.07 with motion or a background, else 0."""
MIN_CORE_GAIN = 0.8
"""Fraction of the misfit above counting noise that a point spread explains around the middle of the scan: 0.95."""
MIN_BACKGROUND = 0.0015
"""Smallest background, over the photons measured, that an ideal solve leaves to be solved for: a tenth of the true one,
whose rest the object has imitated. On scans without one, up to two thirds of it are left where counts are few."""
MIN_EXPLAINED = 0.05
"""Smallest fraction of the misfit above counting noise that this background explains: errors of other causes leave
excess counts too, which explain 0.02 of theirs."""

MIN_FIRST_SHARE, MIN_SHARE_OF_MODES = 0.8, 0.78
"""Smallest fall of the deviance around the middle of the scan over that by incoherent modes, which explain most of a
background: by iterations 0.9 or more where there is one, up to 0.83 without; by rounds, 0.92 and up to 0.65."""


class BeamTerm:
    """A beam that moves slowly over the detector, and the patterns with it."""

    name, min_gain, min_misfit = "beam", MIN_GAIN, MIN_MISFIT

    def weigh(self, state: State) -> Evidence:
        """Look for a slow motion of the patterns."""
        from ptypinn.metrics.beam import measure_beam

        evidence = measure_beam(state.scan, state.solver.device)
        large = evidence.rms_px >= MIN_BEAM_PX and evidence.significance >= MIN_SIGNIFICANCE
        return Evidence(evidence.significance, large, beam_px=evidence.path_px)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve for it with object and probe, from the slow motion of the patterns."""
        scan, solver, start_px = state.scan, state.solver, evidence.beam_px
        if start_px is None:  # forced, where nothing proposes it
            from ptypinn.metrics.beam import measure_beam

            start_px = measure_beam(scan, solver.device).path_px
        start_px = start_px if scan.beam_px is None else start_px + scan.beam_px
        result = solver.solve(scan.replace(beam_px=start_px), self.name)
        yield flatten_curvature(result) if result.beam_px is not None and solver.refines_probe else result

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the root mean square of the motion along one axis beside the one that is known, detector pixels."""
        return 0.0 if recon.beam_px is None else float(np.sqrt(np.mean(np.var(_own_motion(scan, recon), axis=0))))

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return the largest distance from the start of the scan, detector pixels."""
        if recon.beam_px is None:
            return {}
        motion = _own_motion(scan, recon)
        return {"reach_px": float(np.linalg.norm(motion - motion[0], axis=1).max())}


def _own_motion(scan: ScanData, recon: Reconstruction) -> Float64[np.ndarray, "patterns 2"]:
    """Return the motion of the beam in a reconstruction beside that which the scan has, as a disk that is followed."""
    assert recon.beam_px is not None
    return recon.beam_px if scan.beam_px is None else recon.beam_px - scan.beam_px


class PointSpreadTerm:
    """A detector that blurs: a Gaussian point spread."""

    name, min_gain, min_misfit = "point_spread", MIN_GAIN, MIN_MISFIT

    def weigh(self, state: State) -> Evidence:
        """Blur the prediction, and where that helps solve the patterns around the middle with ever other blurs."""
        from ptypinn.metrics.point_spread import measure_point_spread

        solver = state.solver
        if len(state.recon.probe) > 1:  # which explain a blur as well
            return Evidence(0.0, False)
        blurred = measure_point_spread(state.scan, state.recon, batch=solver.batch, device=solver.device)
        if blurred.explained < MIN_BLUR_EXPLAINED:
            return Evidence(0.0, False)
        from ptypinn.solvers.point_spread_search import search_point_spread

        spread, gain = search_point_spread(state.core, rivals="modes" in state.names)
        proposes = gain.fraction >= MIN_CORE_GAIN and not _is_background(state, gain)
        proposes = proposes and (state.core.is_conclusive or gain.is_significant)
        return Evidence(0.0, proposes, spread_px=spread)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve with the point spread that was found."""
        spread = evidence.spread_px
        if spread is None:  # forced, where nothing proposes it
            from ptypinn.solvers.point_spread_search import search_point_spread

            spread, _ = search_point_spread(state.core, forced=True)
        yield state.solver.solve(state.scan.replace(point_spread_px=spread))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return its standard deviation, detector pixels."""
        return recon.point_spread_px or 0.0

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


def _is_background(state: State, blur: CoreGain) -> bool:
    """Return True if a background predicts held-out pixels around the middle better than a blur does."""
    return "background" in state.names and state.core.background.held_out > blur.held_out


class BackgroundTerm:
    """One image of counts that every frame has beside the diffraction."""

    name, min_gain, min_misfit = "background", MIN_GAIN, 0.0

    def weigh(self, state: State) -> Evidence:
        """Look for excess counts where little is predicted; compare with modes around the middle of the scan."""
        batch, device = state.solver.batch, state.solver.device
        evidence = measure_background(state.scan, state.recon, batch=batch, device=device)
        large = evidence.fraction >= MIN_BACKGROUND and evidence.explained >= MIN_EXPLAINED
        if not large or evidence.significance < MIN_SIGNIFICANCE:
            return Evidence(evidence.significance, False)
        if "modes" not in state.names or not state.core.has_modes:
            return Evidence(evidence.significance, True)
        core = state.core
        if core.reaches_noise:
            explains = core.background.held_out >= core.modes.held_out
            return Evidence(evidence.significance, explains, min_rival_misfit=MIN_CORE_MISFIT)
        modes = core.settled_modes.deviance
        explains = core.background.deviance >= MIN_FIRST_SHARE * modes
        explains = explains and core.settled_background.deviance >= MIN_SHARE_OF_MODES * modes
        return Evidence(evidence.significance, explains, min_rival_misfit=math.inf)

    def solve(self, state: State, evidence: Evidence) -> Iterator[Reconstruction]:
        """Solve for it afresh, with object and probe: what those have imitated of it is not easily undone."""
        yield state.solver.solve(state.scan, self.name)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return its fraction of the photons measured."""
        return 0.0 if recon.background is None else measure_fraction(scan, recon.background)

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}
