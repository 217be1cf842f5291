"""Reconstruct a near-field scan: probe from the mean pattern, distance of the focus, then object, probe and positions.

The network of the unrolled solver has been trained on far-field scans alone, so the quasi-Newton solver does all.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from ptypinn._version import __version__
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.near_field import GEOMETRY, to_near_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.physics.forward import forward_model
from ptypinn.physics.propagation import to_fft_order
from ptypinn.solvers.beam_window import BeamWindow
from ptypinn.solvers.iterative import MAX_NOISE_MISFIT, IterativeSolver, refuse_options
from ptypinn.solvers.iterative_terms import deduct_background, list_slow_terms, solve_terms
from ptypinn.solvers.position_geometry import select_middle
from ptypinn.solvers.postprocess import finalise
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonResult
from ptypinn.utils.device import pick_device
from ptypinn.utils.progress import Progress

SPANS = 0.06, 0.04
"""Differences of the distances that are tried beside an estimate, relative to it: at first, and around the best."""
UNSETTLED = 0.01
"""Error of the distance, relative to it, that short solves leave."""
MAX_SEARCHES = 6
"""Maximum number of times that the distances are moved on, where the best one is at their end."""
SEARCH_ITERATIONS, SEARCH_PATTERNS = (30, 60), 64
"""Iterations at every distance, for wide and for narrow steps, and patterns around the middle that they solve."""
FIRST_ITERATIONS, TERM_ITERATIONS = (8, 12), 25
"""Iterations of the solve that terms of the experiment build on, and further ones where they explain nearly all; and
with each of the terms."""
MAX_SETTLED_MISFIT = 5.0
"""Misfit up to which terms are weighed against a solve that has settled: above, some are missing anyway."""
WINDOW_ITERATIONS, RIM_ITERATIONS = 15, 35
"""Maximum iterations with all terms within the window of the beam; and then of whole patterns, where the misfit within
the window is above `MAX_SETTLED_MISFIT` with all terms."""
LAST_ITERATIONS, SLOW_ITERATIONS = 90, 240
"""Maximum iterations of whole patterns elsewhere; and after them where little but counting noise is left, so that slow
phases settle."""
NETWORK_OPTIONS = ("rounds", "probe_rounds", "polish", "tile_px", "halo_px", "workers", "scheduler")
"""Options of the network's rounds and of their tiles."""
FAR_FIELD_TERMS = ("beam", "point_spread")
"""Terms of the experiment that are solved for in the far field alone."""
STRETCH = ("scale_y", "scale_x")
"""Names of the stretches in the record of the positions."""


def reconstruct_near_field(
    scan: ScanData,
    config: ReconstructConfig,
    progress: Progress,
    watch: SnapshotCallback | None = None,
    *,
    refines_focus: bool = True,
) -> Reconstruction:
    """Reconstruct a near-field scan.

    Args:
        scan: The scan, as `resolve_geometry` returns it.
        config: Options; those of rounds and tiles belong to the network.
        progress: Called after every iteration.
        watch: Called after every iteration with a function that returns the reconstruction so far.
        refines_focus: Refine the distance of the focus from that of the scan, unless the experiment is ideal.

    Raises:
        InputError: Where options are given that only far-field scans have.
    """
    _require_options(config)
    finish = partial(_to_reconstruction, config=config)
    solver = IterativeSolver(config, pick_device(config.device), progress, watch, finish)
    with torch.no_grad():
        window = BeamWindow.of(scan)
        scan = _refine_focus(scan, window, solver) if refines_focus and config.assume != "ideal" else add_probe(scan)
        recon, iterations = _solve_experiment(scan, window, solver)
        scan, recon = deduct_background(scan, recon)
        last = _finish(scan, recon, solver, iterations)
    return finalise(
        _with_uncertainty(replace(last, provenance=recon.provenance)),
        scan,
        device=solver.device,
        batch=config.batch_size,
        match_flux=True,
        prediction_scale=config.prediction_scale,
    )


def _solve_experiment(scan: ScanData, window: BeamWindow, solver: IterativeSolver) -> tuple[Reconstruction, int]:
    """Return the reconstruction with terms of the experiment, and the number of iterations to go on for.

    They are weighed against an ideal experiment. Where what is missing matters more than the few photons outside the
    window of the beam, this is solved within the window.
    """
    first, further = FIRST_ITERATIONS
    if not solver.config.solved_terms():
        return solver.iterate(scan, first + further), LAST_ITERATIONS
    part = window.cut(scan)
    recon = solver.iterate(part, first)
    if solver.measure_misfit(part, recon) <= MAX_SETTLED_MISFIT:
        return solve_terms(scan, solver.iterate(scan, first + further), solver, TERM_ITERATIONS), LAST_ITERATIONS
    recon = solve_terms(part, recon, solver, TERM_ITERATIONS)
    last = solver.iterate(recon.scan_part(part), WINDOW_ITERATIONS, recon, unknowns=list_slow_terms(recon))
    is_explained = solver.measure_misfit(part, last) <= MAX_SETTLED_MISFIT
    last = window.widen(replace(last, provenance=recon.provenance), part, scan)
    return last, LAST_ITERATIONS if is_explained else RIM_ITERATIONS


def _finish(scan: ScanData, recon: Reconstruction, solver: IterativeSolver, iterations: int) -> Reconstruction:
    """Go on until slow phases have settled, where little but counting noise is left."""
    part, unknowns = recon.scan_part(scan), list_slow_terms(recon)
    last = solver.iterate(part, iterations, recon, unknowns=unknowns)
    if solver.measure_misfit(part, last) < MAX_NOISE_MISFIT:
        return solver.iterate(last.scan_part(part), SLOW_ITERATIONS, last, unknowns=unknowns, prior=True)
    return last


def _require_options(config: ReconstructConfig) -> None:
    """Raise `InputError` for options of far-field scans."""
    refuse_options(config, NETWORK_OPTIONS, FAR_FIELD_TERMS, "a far-field scan, which reads it")
    if config.slices != 1:
        raise InputError("--slices", "", str(config.slices), "1, for near-field scans are of thin samples")


def add_probe(scan: ScanData) -> ScanData:
    """Return a scan with a calibrated probe: its own, or the mean pattern propagated back to the sample."""
    if scan.probe is not None:
        return calibrate_probe(scan)
    field = to_fft_order(torch.from_numpy(np.sqrt(mean_pattern(scan)))).to(torch.complex64)
    probe = forward_model(scan.size, scan.fresnel_number).propagator.adjoint(field[None])
    rule = scan.option("calibration", "mean")
    started = scan.replace(probe=probe.numpy(), probe_gauge="relative")
    return calibrate_probe(started, "mean" if rule == "none" else rule, scan.option("photons", None))


def _refine_focus(scan: ScanData, window: BeamWindow, solver: IterativeSolver) -> ScanData:
    """Return a scan at the distance of the focus of largest likelihood, with its probe and the record of the distance.

    Short solves at three distances give a parabola of the loss. Its curvature is the uncertainty, widened by the misfit
    that is left, by what the distance changes from wide steps to narrow ones, and by `UNSETTLED`.
    """
    start = float(scan.provenance[GEOMETRY]["focus_distance_m"])
    core = window.cut(scan.subset(select_middle(scan.positions_px, SEARCH_PATTERNS)))
    first = _search_focus(core, start, 0, solver)
    last = _search_focus(core, first.distance_m, 1, solver)
    refined = to_near_field(scan, last.distance_m)
    parts = last.uncertainty_m, last.distance_m - first.distance_m, UNSETTLED * last.distance_m
    spread = float(np.linalg.norm(parts))
    record = {**refined.provenance[GEOMETRY], "uncertainty_m": spread}
    return add_probe(refined.replace(provenance={**refined.provenance, GEOMETRY: record}))


class _Focus(NamedTuple):
    """Distance of the focus from the sample, metres."""

    distance_m: float
    uncertainty_m: float


def _search_focus(scan: ScanData, middle: float, stage: int, solver: IterativeSolver) -> _Focus:
    """Move three distances until the best one is between them; return the lowest point of their parabola."""
    losses, span = dict[float, float](), SPANS[stage]
    for _ in range(MAX_SEARCHES):
        places = [middle * (1 + span * number) for number in (-1, 0, 1)]
        for place in (place for place in places if place not in losses):
            near = add_probe(to_near_field(scan, place))
            losses[place] = float(solver.iterate(near, SEARCH_ITERATIONS[stage]).history["loss"][-1])
        below, best, above = (losses[place] for place in places)
        curvature = below - 2 * best + above
        offset = (below - above) / (2 * curvature) if curvature > 0 else 2 * float(np.sign(below - above))
        if abs(offset) <= 1:
            break
        middle = places[2] if offset > 0 else places[0]
    noise = scan.n_patterns * int(scan.good.sum()) / 2
    spread = span * middle * float(np.sqrt(max(best / noise, 1.0) / max(curvature, 1e-30)))
    return _Focus(middle * (1 + span * float(np.clip(offset, -1, 1))), spread)


def _with_uncertainty(recon: Reconstruction) -> Reconstruction:
    """Widen the uncertainty of the distance by the mean stretch of the positions: a magnification is one as well."""
    geometry = recon.provenance["scan"].get(GEOMETRY, {})
    positions = recon.provenance.get("experiment", {}).get("positions", {})
    if "uncertainty_m" not in geometry or not positions.get("corrected"):
        return recon
    stretch = float(np.mean([positions.get(name, 0.0) for name in STRETCH]))
    spread = float(np.hypot(geometry["uncertainty_m"], stretch * geometry["focus_distance_m"]))
    scan = {**recon.provenance["scan"], GEOMETRY: {**geometry, "uncertainty_m": spread}}
    return replace(recon, provenance={**recon.provenance, "scan": scan})


def _to_reconstruction(scan: ScanData, result: QuasiNewtonResult, config: ReconstructConfig) -> Reconstruction:
    record = {"stage": "reconstruct", "solver": "near field", "version": __version__, "config": asdict(config)}
    return result.reconstruction(scan, {**record, **result.notes})
