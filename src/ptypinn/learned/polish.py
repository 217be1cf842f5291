"""Go on from the learned solver's result with the iterative one, and close with rounds that take its noise away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.learned.problem import LearnedOptions, WholeScan
from ptypinn.learned.rounds import overall_amplitude
from ptypinn.learned.solve import solve_scan
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.progress import Progress, Watch
from ptypinn.solver.options import SolverOptions
from ptypinn.solver.preconditioner import levels_of
from ptypinn.solver.problem import Problem

TOLERANCE = 1e-4
"""Polishing ends where the data term gains less over five iterations."""
CLOSING = 2
"""Rounds on all pixels after those that some were held out of, and after polishing."""


def polished(
    scan: ScanData,
    network: UnrolledCorrection,
    config: ReconstructConfig,
    found: Reconstruction,
    device: torch.device,
    progress: Progress,
    watch: Watch | None,
) -> Reconstruction:
    """The solution after quasi-Newton iterations of `refine`'s solver on the likelihood of the counts.

    They fit some counting noise before the held-out pixels show it; `CLOSING` rounds of the learned solver end it.

    Args:
        scan: The scan.
        network: Of the learned solver.
        config: How many iterations, and what they solve for.
        found: Result of the learned solver, which has not seen the held-out pixels.
        device: Where to solve.
        progress: Told about every iteration.
        watch: Given the object after every iteration and round.
    """
    options = SolverOptions(
        iterations=config.polish,
        probe_modes=config.probe_modes,
        refine_probe=config.refine_probe,
        refine_positions=config.refine_positions,
        loss="poisson",
        early_stop=True,
        tolerance=TOLERANCE,
    )
    with torch.no_grad():
        result = Problem(scan, options, device, found, judged=True).solve(progress, watch)
    found = replace(
        found,
        object=result.object,
        illumination=result.illumination,
        probe=result.probe,
        positions_px=result.positions_px,
        history={**found.history, **{f"polish_{name}": values for name, values in result.history.items()}},
        provenance={**found.provenance, "polish": {**result.notes, "closing_rounds": CLOSING}},
    )
    return _closed(scan, network, config, found, device, watch)


def _closed(
    scan: ScanData,
    network: UnrolledCorrection,
    config: ReconstructConfig,
    found: Reconstruction,
    device: torch.device,
    watch: Watch | None,
) -> Reconstruction:
    """Rounds with the probe and the positions that are found."""
    options = LearnedOptions(refine_probe=False, loss=config.loss, half=config.precision == "bf16", near=True)
    known = scan.replace(probe=found.probe, positions_px=found.positions_px + np.asarray(found.origin_px, float))
    light, canvas = torch.from_numpy(found.illumination), torch.from_numpy(found.object)
    brightest = float((np.abs(found.probe) ** 2).sum(0).max())
    start = WholeScan(
        found.origin_px,
        found.object,
        levels_of(light, canvas, brightest),
        overall_amplitude(canvas, light),
        np.arange(scan.n_patterns),
    )
    solution = solve_scan(known, network, options, CLOSING, device, whole=start, watch=watch)
    return replace(found, object=solution.object)
