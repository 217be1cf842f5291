"""Probe that changes slowly over a scan: its images and the positions are solved for together with the object.

A slow change of the probe, a slow motion of it and a slow warp of the object explain much of each other. Counts tell
them apart, but only to a solver that follows all of them at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex64

from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.probe_variation import ProbeVariation, VaryingProbe, measure_change, slow_weights, split_shifts
from ptypinn.solvers.joint_solve import add_margin, solve_jointly
from ptypinn.solvers.quasi_newton.problem import POSITION_MARGIN
from ptypinn.solvers.quasi_newton.unknowns import mix_variation
from ptypinn.utils.progress import Progress

ORDER = 6
"""Degree in time of the changes."""
FIRST_ITERATIONS, ITERATIONS = 40, 150
"""Iterations without moves of the positions, which show whether the probe varies, and with them."""


def start_variation(
    scan: ScanData,
    recon: Reconstruction,
    device: torch.device,
    progress: Progress,
    iterations: int = FIRST_ITERATIONS,
) -> Reconstruction:
    """Solve for object, probe and its variation, from a reconstruction whose probe is the same in all frames.

    Args:
        scan: The scan.
        recon: Its reconstruction.
        device: Device to compute on.
        progress: Called after every iteration.
        iterations: Upper bound of the iterations.
    """
    varying = with_variation(scan, len(recon.probe))
    return solve_jointly(varying, recon, device, progress, iterations=iterations)


def with_variation(scan: ScanData, modes: int) -> ScanData:
    """Return a scan whose probe may change slowly, and does not yet.

    Args:
        scan: The scan.
        modes: Number of modes of the probe.

    Raises:
        InputError: For a single pattern, over which nothing can vary.
    """
    if scan.n_patterns < 2:
        raise InputError("--probe-variation", "", "a scan of 1 pattern", "2 patterns or more for a probe that varies")
    weights = slow_weights(scan.n_patterns, ORDER).numpy()
    images = np.zeros((weights.shape[1], modes, scan.size, scan.size), np.complex64)
    return scan.replace(probe_variation=images, probe_weights=weights)


def free_frames(
    scan: ScanData,
    recon: Reconstruction,
    device: torch.device,
    progress: Progress,
    iterations: int,
    *,
    positions: bool,
    flux: bool,
) -> Reconstruction:
    """Go on with object, probe and its variation, and with the position and the flux of every frame.

    Args:
        scan: The scan.
        recon: Its reconstruction with a variation.
        device: Device to compute on.
        progress: Called after every iteration.
        iterations: Upper bound of the iterations.
        positions: Solve for the positions.
        flux: Solve for the flux.
    """
    varying = scan.replace(probe_variation=recon.probe_variation, probe_weights=recon.probe_weights)
    start = add_margin(recon, int(POSITION_MARGIN * scan.size)) if positions else recon
    moves: Literal["free", "none"] = "free" if positions else "none"
    return solve_jointly(varying, start, device, progress, iterations=iterations, moves=moves, solve_flux=flux)


def settle_variation(scan: ScanData, recon: Reconstruction, device: torch.device, progress: Progress) -> ScanData:
    """Solve for object, probe, its variation and slow moves of the positions; return the scan with them.

    Args:
        scan: The scan.
        recon: Its reconstruction with a variation, whose shifts of the probe become moves of the positions.
        device: Device to compute on.
        progress: Called after every iteration.
    """
    start = move_shifts(scan, add_margin(recon, int(POSITION_MARGIN * scan.size)), device)
    varying = scan.replace(probe_variation=start.probe_variation, probe_weights=start.probe_weights)
    solved = solve_jointly(varying, start, device, progress, iterations=ITERATIONS, moves="slow")
    moves = solved.positions_px + np.asarray(solved.origin_px, float) - scan.positions_px
    return scan.replace(
        positions_px=scan.positions_px + moves - moves.mean(0),
        probe=solved.probe,
        probe_variation=solved.probe_variation,
        probe_weights=solved.probe_weights,
        truth=None,
    )


def with_modes(recon: Reconstruction, probe: Complex64[np.ndarray, "modes y x"]) -> Reconstruction:
    """Return a reconstruction with other modes, and its variation, where it has one, as theirs.

    Args:
        recon: The reconstruction.
        probe: Modes of the mean probe, which may be more than there were, sqrt(photons).
    """
    images = recon.probe_variation
    if images is not None:
        images = mix_variation(*(torch.from_numpy(each) for each in (images, recon.probe, probe))).numpy()
    return replace(recon, probe=probe, probe_variation=images)


def drop_variation(recon: Reconstruction) -> Reconstruction:
    """Return a reconstruction whose probe is the mean in all frames."""
    return replace(recon, probe_variation=None, probe_weights=None)


def move_shifts(scan: ScanData, recon: Reconstruction, device: torch.device) -> Reconstruction:
    """Return a reconstruction with the shifts of the varying probe in the positions.

    Args:
        scan: The scan.
        recon: Its reconstruction with a variation.
        device: Device to compute on.
    """
    own = scan.replace(probe_variation=recon.probe_variation, probe_weights=recon.probe_weights)
    variation = FrameTerms.of(own, device).variation
    assert variation is not None
    shifts, rest = split_shifts(torch.from_numpy(recon.probe).to(device), variation)
    places = recon.positions_px + shifts.cpu().numpy()
    return replace(recon, positions_px=places, probe_variation=rest.images.cpu().numpy())


def measure_still_change(recon: Reconstruction) -> float:
    """Return the fraction of the photons outside of the one probe that explains most frames, shifts left out.

    A shift of the probe is a position, and a phase of a frame changes no counts: neither is a change of the probe.
    """
    if recon.probe_variation is None or recon.probe_weights is None:
        return 0.0
    probe = torch.from_numpy(recon.probe)
    variation = ProbeVariation(*(torch.from_numpy(part) for part in (recon.probe_variation, recon.probe_weights)))
    rest = split_shifts(probe, variation)[1]
    shares = VaryingProbe.of(probe, rest).shares
    return measure_change(torch.cat([probe[None], rest.images]), shares)
