"""Probe that changes slowly over a scan: its images and the positions are solved for together with the object.

A slow change of the probe, a slow motion of it and a slow warp of the object explain much of each other. Counts tell
them apart, but only to a solver that follows all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex64, Float64

from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.probe_variation import slow_weights, split_shifts
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import POSITION_MARGIN, QuasiNewtonOptions, QuasiNewtonProblem
from ptypinn.utils.progress import Progress

ORDER = 4
"""Degree in time of the changes."""
ITERATIONS = 150
"""Iterations for all unknowns."""
TOLERANCE = 1e-5
"""Relative gain over five iterations below which they end."""


@dataclass(frozen=True)
class VariationEstimate:
    """A varying probe and the positions that go with it."""

    positions_px: Float64[np.ndarray, "patterns 2"]
    """Coordinates (y, x) of the probe array's pixel (0, 0), object pixels."""
    probe: Complex64[np.ndarray, "mode y x"]
    """Modes of the mean, sqrt(photons)."""
    images: Complex64[np.ndarray, "order mode y x"]
    """Images that frames add to the modes, sqrt(photons)."""


def start_variation(scan: ScanData) -> ScanData:
    """Return a scan with the weights of a slow variation, and nothing that is added yet."""
    weights = slow_weights(scan.n_patterns, ORDER).numpy()
    images = np.zeros((weights.shape[1], *scan.require_probe().shape), np.complex64)
    return scan.replace(probe_variation=images, probe_weights=weights)


def settle_variation(
    scan: ScanData, recon: Reconstruction, device: torch.device, progress: Progress
) -> VariationEstimate:
    """Solve for object, probe, its variation and the positions, from a reconstruction that has a variation.

    Args:
        scan: The scan.
        recon: Its reconstruction; shifts of the probe in the variation become moves of the positions.
        device: Device to compute on.
        progress: Called after every iteration, as the stage `variation`.
    """
    scan, start = _move_shifts(scan, _with_margin(recon, int(POSITION_MARGIN * scan.size)), device)
    options = QuasiNewtonOptions(ITERATIONS, refine_positions=True, slow_moves=True, tolerance=TOLERANCE)

    def report(_: str, done: int, total: int, /, **figures: float) -> None:
        progress("variation", done, total, **figures)

    with torch.no_grad():
        result = solve_problem(QuasiNewtonProblem(scan, options, device, start), report)
    assert result.probe_variation is not None
    places = result.positions_px + np.asarray(result.origin_px, float)
    moves = places - scan.positions_px
    return VariationEstimate(scan.positions_px + moves - moves.mean(0), result.probe, result.probe_variation)


def _move_shifts(scan: ScanData, recon: Reconstruction, device: torch.device) -> tuple[ScanData, Reconstruction]:
    """Return scan and reconstruction with the shifts of the varying probe in the positions."""
    own = scan.replace(probe_variation=recon.probe_variation, probe_weights=recon.probe_weights)
    variation = FrameTerms.of(own, device).variation
    assert variation is not None
    shifts, rest = split_shifts(torch.from_numpy(recon.probe).to(device), variation)
    images = rest.images.cpu().numpy()
    moved = replace(recon, positions_px=recon.positions_px + shifts.cpu().numpy(), probe_variation=images)
    return own.replace(probe=recon.probe, probe_variation=images), moved


def _with_margin(recon: Reconstruction, margin: int) -> Reconstruction:
    """Return a reconstruction on a larger canvas, transparent beyond the former one."""
    canvas = np.pad(recon.object, margin, constant_values=1)
    origin = recon.origin_px[0] - margin, recon.origin_px[1] - margin
    illumination = np.pad(recon.illumination, margin)
    positions = recon.positions_px + margin
    return replace(recon, object=canvas, illumination=illumination, origin_px=origin, positions_px=positions)
