"""The `refine` stage: solve a scan iteratively for object, probe and positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch

from ptypinn._version import __version__
from ptypinn.config.refine import RefineConfig
from ptypinn.data.beam_centre import BeamOffset, estimate_ramp, move_ramp_to_probe, remove_ramp, restore_ramp
from ptypinn.data.beam_survey import BeamSurvey
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.depth import OF_PHASE_ALONE, SLICES, require_thin
from ptypinn.data.detector_mtf import repeat_mtf
from ptypinn.data.monitor import MONITOR
from ptypinn.data.pattern_form import require_far_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.scan_rotation import follow_disk, repeat_path, repeat_turn, straighten_scan
from ptypinn.errors import InputError
from ptypinn.io.dark import DARK
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.metrics.position_errors import PositionErrors
from ptypinn.solvers.postprocess import finalise
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.plain_values import to_plain
from ptypinn.utils.progress import IterateCallback, Progress, map_callback, silent
from ptypinn.utils.solve_meter import measure_solve

NATIVE_TERMS = {
    "flux": "the flux of the frames",
    "beam_px": "a beam that moves",
    "point_spread_px": "a point spread of the detector",
    "probe_variation": "a probe that varies",
    "gap_fresnel_numbers": "slices",
}
"""Terms of the experiment that the native engine alone has in its model."""
MEASUREMENTS = {"flux": MONITOR, "background": DARK}
"""Terms of the experiment that may be measured, and the records of that in the provenance of a scan."""
FARTHEST = 4.0
"""Largest distance of a solved position from the recorded one along an axis over the root mean square of all: sqrt(3)
in the corners of a scan whose step is off, 3 of 10,000 positions with random errors."""


def refine(
    scan: ScanData,
    config: RefineConfig | None = None,
    *,
    initial: Reconstruction | None = None,
    progress: Progress | None = None,
    watch: SnapshotCallback | None = None,
) -> Reconstruction:
    """Solve a far-field scan iteratively for the object and, by default, the probe.

    Minimises the Poisson likelihood (or the amplitude loss) of the counts by quasi-Newton steps with a phase
    preconditioner, from a start that is computed from the data or from a reconstruction. The probe's power stays at the
    known photons per pattern, so the object's amplitude is absolute.

    Args:
        scan: The scan; its probe may be a rough guess, and one is found where it has none.
        config: Options of the solver.
        initial: Reconstruction of the same scan to start from: its object, probe, positions, and terms of the
            experiment, which are held but for a varying probe.
        progress: Called after every iteration.
        watch: Called after every iteration of the native engine with a function that returns the reconstruction so far.

    Raises:
        InputError: Where the scan is near-field or does not fit the initial reconstruction, and for terms of the
            experiment that the engine does not have in its model.
    """
    require_far_field(scan)
    config, report = config or RefineConfig(), progress or silent
    device = pick_device(config.device)
    with cpu_threads(config.threads), measure_solve(device) as meter:
        recon = _refine(scan, config, device, initial, report, watch)
        return recon.with_cost(meter.record(scan.n_patterns))


def _refine(
    scan: ScanData,
    config: RefineConfig,
    device: torch.device,
    initial: Reconstruction | None,
    report: Progress,
    watch: SnapshotCallback | None,
) -> Reconstruction:
    """Solve a scan as `refine` does."""
    scan, beam = _go_on_from(scan, initial, config)
    scan = calibrate_probe(_with_probe(scan, config, device, initial, report, beam))
    offset = BeamOffset(size=scan.size)
    if scan.gap_fresnel_numbers is None:
        offset = estimate_ramp(scan if initial is None else scan.replace(probe=initial.probe))
    centred, start = move_ramp_to_probe(scan, offset), None if initial is None else remove_ramp(initial, offset)
    to_reconstruction = partial(_to_reconstruction, scan, config, offset, _go_on_with_record(initial, scan))
    result = _solve(centred, config, device, start, report, map_callback(watch, to_reconstruction))
    return finalise(to_reconstruction(result), scan, device=device, match_flux=config.engine == "native")


def _go_on_from(
    scan: ScanData, initial: Reconstruction | None, config: RefineConfig
) -> tuple[ScanData, BeamSurvey | None]:
    """Return the scan to go on with, and the beam that its patterns show where they have been looked at.

    An electron scan is turned to the axes of the detector, or as the initial reconstruction has it. The scan has all
    terms of the experiment that were solved for there, but for those that are measured for this scan, and the gaps
    between its slices.

    Raises:
        InputError: Where the initial reconstruction is not of this scan, and for a scan with gaps between slices that
            are not those of it.
    """
    if initial is None or not _has_gaps_of(scan, initial):
        require_thin(scan)
    if initial is None:
        scan, still = follow_disk(scan) if config.engine == "native" else (scan, None)
        return straighten_scan(scan, still) if config.positions == "auto" else (scan, None)
    scan = repeat_mtf(repeat_path(repeat_turn(scan, initial), initial), initial)
    _check_initial(scan, initial)
    return initial.scan_part(scan).replace(**_measured_terms(scan, initial)), None


def _measured_terms(scan: ScanData, initial: Reconstruction) -> dict[str, Any]:
    """Return the terms that are measured for this scan, but those that an initial reconstruction has beside the same.

    A flux that was solved for beside this monitor goes on, as does a background beside these dark frames.
    """
    origin, measured = initial.provenance.get("scan"), dict[str, Any]()
    for name, key in MEASUREMENTS.items():
        record, term = scan.provenance.get(key), getattr(scan, name)
        is_same = bool(record) and isinstance(origin, Mapping) and origin.get(key) == to_plain(record)
        if term is not None and not (is_same and initial.has_solved(name)):
            measured[name] = term
    return measured


def _has_gaps_of(scan: ScanData, initial: Reconstruction) -> bool:
    ours, theirs = scan.gap_fresnel_numbers, initial.gap_fresnel_numbers
    return ours is not None and theirs is not None and np.array_equal(ours, theirs)


def _require_engine(scan: ScanData, config: RefineConfig) -> None:
    """Raise `InputError` for terms of the experiment that the engine does not have in its model."""
    terms = [words for name, words in NATIVE_TERMS.items() if getattr(scan, name) is not None]
    if config.engine != "native" and terms:
        raise InputError("--engine", "", config.engine, f"native, which predicts {' and '.join(terms)}")


def _go_on_with_record(initial: Reconstruction | None, scan: ScanData) -> dict[str, Any]:
    """Return the record of what an initial reconstruction has solved for and a scan goes on with.

    That is the terms of the experiment that were taken in and not measured since, and a stack, whose slices are complex
    from here on.
    """
    if initial is None:
        return {}
    terms = initial.provenance.get("experiment")
    terms = terms if isinstance(terms, Mapping) else {}
    others = {name for name in MEASUREMENTS if getattr(scan, name) is not getattr(initial, name)}
    record = {name: term for name, term in terms.items() if initial.has_solved(name) and name not in others}
    previous = {"experiment": record} if record else {}
    if initial.slices is None:
        return previous
    stack = initial.provenance.get(SLICES)
    stack = stack if isinstance(stack, Mapping) else {}
    return {**previous, SLICES: {name: value for name, value in stack.items() if name not in OF_PHASE_ALONE}}


def _with_probe(
    scan: ScanData,
    config: RefineConfig,
    device: torch.device,
    initial: Reconstruction | None,
    report: Progress,
    beam: BeamSurvey | None,
) -> ScanData:
    """Return the scan with a probe to start from: its own, that of a reconstruction, or one that is found.

    A probe that varies has the power of the reconstruction that it is from: its images hold a part of the photons.
    """
    varies = initial is not None and initial.probe_variation is not None
    if scan.probe is not None and config.probe_model == "auto" and not varies:
        return scan
    if initial is not None and config.probe_model == "auto":
        return scan.replace(probe=initial.probe, probe_gauge="calibrated")
    if initial is not None:
        raise InputError("--probe-model", "", config.probe_model, "auto beside --initial, whose probe is taken")
    from ptypinn.solvers.probe_search import start_probe

    return start_probe(scan, config, device, report, beam)


def _solve(
    scan: ScanData,
    config: RefineConfig,
    device: torch.device,
    initial: Reconstruction | None,
    report: Progress,
    watch: IterateCallback[QuasiNewtonResult] | None,
) -> QuasiNewtonResult:
    """Run the engine of the configuration.

    Raises:
        InputError: For terms of the experiment that the engine does not have in its model.
    """
    options = _solver_options(config)
    _require_engine(scan, config)
    if config.engine == "native":
        with torch.no_grad():
            return solve_problem(QuasiNewtonProblem(scan, options, device, initial), report, watch)
    from ptypinn.solvers.lsqml import refine_lsqml

    return refine_lsqml(scan, options, device, seed=config.seed, progress=report, initial=initial)


def _solver_options(config: RefineConfig) -> QuasiNewtonOptions:
    return QuasiNewtonOptions(
        iterations=config.iterations,
        probe_modes=config.probe_modes,
        refine_probe=config.refine_probe,
        refine_positions=config.refine_positions,
        loss=config.loss,
        prior=config.prior,
        tolerance=config.tolerance,
    )


def _check_initial(scan: ScanData, initial: Reconstruction) -> None:
    """Raise `InputError` where an initial reconstruction is not of this scan."""
    mismatch, expected = None, "a reconstruction of this scan"
    if initial.probe.shape[1:] != (scan.size, scan.size):
        mismatch = f"a probe of {initial.probe.shape[1:]} pixels for patterns of {scan.size}"
    elif len(initial.positions_px) != scan.n_patterns:
        mismatch = f"{len(initial.positions_px)} positions for {scan.n_patterns} patterns"
    elif _measure_distance(scan, initial) > scan.size / 2 + FARTHEST * _recorded_move(initial):
        mismatch = "positions more than half a pattern away from the scan's"
        mismatch += ", beside their errors on record" if initial.has_solved("positions") else ""
    if mismatch:
        raise InputError("--initial", "positions", mismatch, expected)


def _recorded_move(initial: Reconstruction) -> float:
    """Return the root mean square distance by which positions were off, pixels; 0 where they were not solved for."""
    if not initial.has_solved("positions"):
        return 0.0
    errors = PositionErrors.from_record(initial.provenance["experiment"]["positions"])
    return 0.0 if errors is None else errors.rms_px


def _measure_distance(scan: ScanData, initial: Reconstruction) -> float:
    """Return the largest distance of positions of a reconstruction from those of the scan along an axis, pixels."""
    return float(np.abs(initial.positions_px + initial.origin_px - scan.positions_px).max())


def _to_reconstruction(
    scan: ScanData,
    config: RefineConfig,
    offset: BeamOffset,
    previous: Mapping[str, Any],
    result: QuasiNewtonResult,
) -> Reconstruction:
    record = {**previous, "stage": "refine", "version": __version__, "config": asdict(config), **result.notes}
    return restore_ramp(result.reconstruction(scan, record), offset, probe_solved=config.refine_probe)
