"""Terms of the probe: further incoherent modes, slow changes over the scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import mode_photons
from ptypinn.solvers.term import MAX_CANVAS_PX, MIN_GAIN, MIN_MISFIT, Evidence, Solver
from ptypinn.utils.progress import rename_stage

SUFFICIENT_GAIN = 0.9
"""Smallest fraction of the misfit above counting noise that explains nearly everything."""
VARIATION_GAIN = 0.45
"""Smallest fraction of the misfit above counting noise that a varying probe has to explain: 0.8 or more where it does
vary in simulations and 0.54 on a measured scan, up to 0.39 where positions are off instead."""
MODES, MODE_ITERATIONS, MODE_TOLERANCE, MODE_ROUNDS = 3, 120, 7e-4, 72
"""Modes that are solved for; iterations for object and probe, and their relative gain over five at which they end; or
rounds: modes gain their power slowly."""


class ModesTerm:
    """Further incoherent modes: a partially coherent beam, a detector that blurs, or motion during the exposure."""

    name, min_gain, min_misfit = "modes", MIN_GAIN, MIN_MISFIT

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Propose them where there is a single one."""
        return Evidence(0.0, len(recon.probe) == 1)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for them with the object, then for the object with the modes given; on large canvases at once."""
        if recon.object.size > MAX_CANVAS_PX:
            yield solver.solve(scan, self.name)
            return
        from ptypinn.solvers.joint_solve import solve_jointly

        progress = rename_stage(solver.progress, self.name)
        limits: dict[str, Any] = {"iterations": MODE_ITERATIONS, "tolerance": MODE_TOLERANCE}
        first = solve_jointly(scan, recon, solver.device, progress, modes=MODES, **limits)
        yield solver.solve(scan.replace(probe=first.probe, probe_variation=first.probe_variation), hold_probe=True)

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


class ProbeVariationTerm:
    """A probe that changes slowly over the scan: optics that drift."""

    name, min_gain, min_misfit = "probe_variation", VARIATION_GAIN, MIN_MISFIT

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Propose it where there is none, on canvases that are not too large."""
        return Evidence(0.0, recon.object.size <= MAX_CANVAS_PX and recon.probe_variation is None)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for it with object and probe, then with the positions, then for the object with both given."""
        from ptypinn.solvers.probe_variation import settle_variation, start_variation

        progress = rename_stage(solver.progress, "varying probe")
        trial = start_variation(scan, recon, solver.device, progress)
        yield trial
        yield solver.solve(settle_variation(scan, trial, solver.device, progress), hold_probe=True)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the fraction of the photons that lie beside the mean probe."""
        if recon.probe_variation is None:
            return 0.0
        added = float(np.square(np.abs(recon.probe_variation)).sum())
        return added / (added + float(mode_photons(recon.probe).sum()))

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return the number of images that are added."""
        return {} if recon.probe_variation is None else {"order": len(recon.probe_variation)}
