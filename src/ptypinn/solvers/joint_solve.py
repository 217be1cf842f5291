"""Object and probe from where a reconstruction left them, with more unknowns: further modes, variation, slow moves.

Quasi-Newton iterations take fewer passes than rounds for modes and variation of a probe, which gain their power slowly.
The object has fitted noise after them: rounds with the probe held give the final one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex64, Float

from ptypinn.data.beam_centre import BeamOffset, circular_centre, move_ramp_to_probe, wrap_distance
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import far_field_intensity
from ptypinn.physics.patches import shift_images
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
from ptypinn.utils.progress import Progress

TOLERANCE = 1e-5
"""Default of the relative gain over five iterations below which they end."""


def solve_jointly(
    scan: ScanData,
    recon: Reconstruction,
    device: torch.device,
    progress: Progress,
    *,
    iterations: int,
    tolerance: float = TOLERANCE,
    refine_probe: bool = True,
    moves: Literal["none", "slow", "free"] = "none",
    solve_flux: bool = False,
) -> Reconstruction:
    """Solve for object and probe, and the variation of the probe where the scan has one.

    Args:
        scan: The scan, with its terms.
        recon: Reconstruction to start from: its canvas, positions, object and probe.
        device: Device to compute on.
        progress: Called after every iteration.
        iterations: Upper bound of the iterations.
        tolerance: Relative gain over five iterations below which they end.
        refine_probe: Solve for the probe; False for a known one.
        moves: Moves of the positions to solve for too: slow ones, in time as the probe varies, or free ones.
        solve_flux: Solve for the flux of every frame too.
    """
    options = QuasiNewtonOptions(iterations, refine_probe=refine_probe, tolerance=tolerance, solve_flux=solve_flux)
    options = replace(options, refine_positions=moves != "none", slow_moves=moves == "slow")
    with torch.no_grad():
        problem = QuasiNewtonProblem(scan.replace(probe=recon.probe), options, device, recon)
        result = solve_problem(problem, progress)
    return replace(
        recon,
        object=result.object,
        probe=result.probe,
        illumination=result.illumination,
        positions_px=result.positions_px,
        flux=result.flux if solve_flux else recon.flux,
        probe_variation=result.probe_variation,
        probe_weights=scan.probe_weights,
    )


def add_margin(recon: Reconstruction, margin: int) -> Reconstruction:
    """Return a reconstruction on a larger canvas, transparent beyond the former one, without its uncertainty.

    Args:
        recon: The reconstruction.
        margin: Width of what is added on every side, pixels.
    """
    return replace(
        recon,
        object=np.pad(recon.object, margin, constant_values=1),
        illumination=np.pad(recon.illumination, margin),
        origin_px=(recon.origin_px[0] - margin, recon.origin_px[1] - margin),
        positions_px=recon.positions_px + margin,
        uncertainty=None,
        unscaled=None,
    )


def align_probe(scan: ScanData, reference: Complex64[np.ndarray, "mode y x"]) -> ScanData:
    """Return a scan whose probe has the place and the direction of a reference.

    Counts do not tell a probe that moves or turns from an object that does, so that iterations for both leave it
    elsewhere. Networks expect an object without a ramp, on the grid of the reference.

    Args:
        scan: Scan with a probe that was solved for, which may vary.
        reference: Probe to align it with, of any scale.
    """
    probe, images, size = scan.require_probe(), scan.probe_variation, scan.size
    y, x = _measure_offset(far_field_intensity(probe), far_field_intensity(reference))
    shift = torch.tensor([_measure_offset(*(np.square(np.abs(each)).sum(0) for each in (probe, reference)))])

    def move(fields: Complex64[np.ndarray, "*batch y x"]) -> Complex64[np.ndarray, "*batch y x"]:
        flat = torch.from_numpy(fields.reshape(-1, size, size))
        return shift_images(flat, shift.expand(len(flat), 2)).numpy().reshape(fields.shape).astype(np.complex64)

    moved = scan.replace(probe=move(probe), probe_variation=None if images is None else move(images))
    return move_ramp_to_probe(moved, BeamOffset(y, x, size))


def _measure_offset(image: Float[np.ndarray, "y x"], reference: Float[np.ndarray, "y x"]) -> tuple[float, float]:
    """Return how far (y, x) the centre of a reference is from that of an image, pixels."""
    distances = circular_centre(reference.astype(np.float64)) - circular_centre(image.astype(np.float64))
    y, x = (wrap_distance(distance, len(image)) for distance in distances)
    return y, x
