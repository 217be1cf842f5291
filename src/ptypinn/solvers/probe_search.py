"""Find a probe for a scan that holds none: candidates on trial on the patterns around the middle of the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float64

from ptypinn.config.probe import ProbeStartConfig
from ptypinn.config.shared import option_name
from ptypinn.data.beam_centre import (
    BeamOffset,
    add_phase_ramp,
    mean_pattern,
    measure_beam_offset,
    move_ramp_to_probe,
)
from ptypinn.data.beam_survey import BeamSurvey, survey_beam
from ptypinn.data.bright_field import fit_bright_field
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.probe_candidates import (
    PROBE_ESTIMATE,
    ProbeCandidate,
    ProbeOptics,
    complete_mean,
    suggest_probes,
)
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.physics.probes import (
    ZonePlate,
    compute_pupil_radius,
    defocus_to_distance,
    defocus_to_waves,
    zone_plate_probe,
)
from ptypinn.solvers.position_geometry import select_middle
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
from ptypinn.utils.progress import Progress, silent

TRIAL_PATTERNS = 64
"""Patterns around the middle that candidates are tried on."""
TRIAL_ITERATIONS, LAST_ITERATIONS = 15, 60
"""Iterations for object and probe of every candidate, and of the best ones."""
BEST = 3
"""Candidates that are solved for longer."""
MAX_DEFOCUS_ERROR = 0.2
"""Largest relative error of a defocus, measured from tilted images, that is tried beside others."""


def start_probe(
    scan: ScanData,
    config: ProbeStartConfig,
    device: torch.device,
    progress: Progress,
    beam: BeamSurvey | None = None,
) -> ScanData:
    """Return a scan with the probe that a configuration describes as far as it does, scaled by its reading options.

    Args:
        scan: The scan; a probe that it holds is not used.
        config: What is given about the optics.
        device: Device to compute on.
        progress: Called after every trial, as the stage `probe`.
        beam: The beam that its patterns show; None where they have not been looked at.

    Raises:
        InputError: Where lengths are given and the scan has no object pixel or wavelength.
    """
    return _scale(find_probe(scan, _pixel_optics(scan, config), device, progress, beam))


def _scale(scan: ScanData) -> ScanData:
    """Return a scan whose probe has the power that its reading options ask for, that of the mean pattern by default."""
    rule, started = scan.option("calibration", "mean"), scan.replace(probe_gauge="relative")
    return calibrate_probe(started, "mean" if rule == "none" else rule, scan.option("photons", None))


def start_lens(
    scan: ScanData,
    config: ProbeStartConfig,
    device: torch.device,
    progress: Progress,
    beam: BeamSurvey | None = None,
) -> ScanData:
    """Return a scan with the probe of a lens whose aperture is its bright-field disk, for a focus that is still open.

    Patterns of thick crystals have disks beside that of the beam, so that their mean is none. Without a disk, or for
    other probes than that of a lens, the probe is that of `start_probe`.

    Args:
        scan: The scan; a probe that it holds is not used.
        config: What is given about the optics; without a defocus, the probe is in focus.
        device: Device to compute on.
        progress: Called after every trial, as the stage `probe`.
        beam: The beam that its patterns show; None where they have not been looked at.
    """
    optics, disk = _pixel_optics(scan, config), fit_bright_field(mean_pattern(scan), scan.good)
    radius = 2 * disk.radius_px / scan.size if disk is not None and not optics.pupil_radius else optics.pupil_radius
    if radius is None or optics.model not in (None, "lens"):
        return start_probe(scan, config, device, progress, beam)
    waves = (optics.edge_waves or 0.0) * radius**2
    probe = zone_plate_probe(scan.size, ZonePlate(radius, optics.central_stop, waves, osa_radius=2.0)).numpy()
    record = _describe(ProbeCandidate("lens", waves, probe, radius), scan)
    return _scale(scan.replace(probe=probe, provenance={**scan.provenance, PROBE_ESTIMATE: record}))


def find_probe(
    scan: ScanData,
    optics: ProbeOptics,
    device: torch.device,
    progress: Progress = silent,
    beam: BeamSurvey | None = None,
) -> ScanData:
    """Return a scan with the probe, of arbitrary scale, that explains the patterns around its middle best.

    Every candidate is solved for with the object for some iterations, the best ones for longer. The overlap of
    neighbouring patterns decides between defoci, and between the two sides of the focus.

    Args:
        scan: The scan; a probe that it holds is not used.
        optics: What is given about the optics.
        device: Device to compute on.
        progress: Called after every trial, as the stage `probe`.
        beam: The beam that its patterns show; None where they have not been looked at.

    Raises:
        InputError: Where the patterns hold no photons.
    """
    bare = scan.replace(probe=None, probe_gauge="relative", truth=None)
    offset, mean = measure_beam_offset(bare), complete_mean(bare)
    if not mean.sum() > 0:
        raise InputError(scan.source, "counts", "0 photons in the mean pattern", "photons to find a probe from")
    lens = _measure_lens(bare, mean, optics, beam)
    centred = np.roll(mean, (-round(offset.y_px), -round(offset.x_px)), (0, 1))
    candidates = [probe for one in (lens, optics) if one is not None for probe in suggest_probes(centred, one)]
    middle = bare.subset(select_middle(scan.positions_px, TRIAL_PATTERNS))
    best, *others = _Trials(middle, offset, device, progress).choose(candidates)
    record = {
        **_describe(best.candidate, scan),
        "diameter_px": equivalent_diameter(best.probe),
        "trials": len(candidates),
        "losses": [trial.loss for trial in (best, *others) if np.isfinite(trial.loss)],
    }
    probe = add_phase_ramp(best.probe, (-offset.ramp[0], -offset.ramp[1]))
    return scan.replace(probe=probe, probe_gauge="relative", provenance={**scan.provenance, PROBE_ESTIMATE: record})


def _measure_lens(
    scan: ScanData, mean: Float64[np.ndarray, "y x"], optics: ProbeOptics, beam: BeamSurvey | None = None
) -> ProbeOptics | None:
    """Return the lens whose defocus the tilted images of an electron scan show; None where they show none well.

    Args:
        scan: The scan.
        mean: Its mean pattern.
        optics: What is given: of a lens whose defocus is, or of another kind of probe, nothing is measured.
        beam: The beam that its patterns show; None where they have not been looked at.
    """
    if optics.model not in (None, "lens") or optics.edge_waves is not None:
        return None
    beam = beam or survey_beam(scan, mean)
    if beam is None or beam.shifts is None or beam.shifts.defocus_error > MAX_DEFOCUS_ERROR * abs(beam.shifts.defocus):
        return None
    # A phase of w waves at the edge of the detector moves rays by 8 w / N object pixels per detector pixel.
    return replace(optics, model="lens", edge_waves=beam.shifts.defocus * scan.size / 8)


@dataclass(frozen=True)
class _Trial:
    """One candidate after its iterations."""

    candidate: ProbeCandidate
    probe: Complex64[np.ndarray, "1 y x"]
    """The probe that was solved for from it."""
    loss: float
    """Loss that is left."""


class _Trials:
    """Solves candidates on a part of a scan.

    Args:
        part: The patterns, without a probe.
        offset: Displacement of the patterns, which the probe takes in.
        device: Device to compute on.
        progress: Called after every trial.
    """

    def __init__(self, part: ScanData, offset: BeamOffset, device: torch.device, progress: Progress) -> None:
        self.part, self.offset, self.device, self.progress = part, offset, device, progress
        self.done = self.total = 0

    def choose(self, candidates: Sequence[ProbeCandidate]) -> list[_Trial]:
        """Return the trials of the best of some candidates, the best first."""
        choice = len(candidates) > BEST
        self.total = len(candidates) + BEST if choice else len(candidates)
        if choice:
            candidates = [trial.candidate for trial in self.rank(candidates, TRIAL_ITERATIONS)[:BEST]]
        return self.rank(candidates, LAST_ITERATIONS)

    def rank(self, candidates: Sequence[ProbeCandidate], iterations: int) -> list[_Trial]:
        """Return the trials of some candidates, the best first."""
        return sorted((self._try(candidate, iterations) for candidate in candidates), key=lambda trial: trial.loss)

    def _try(self, candidate: ProbeCandidate, iterations: int) -> _Trial:
        scan = calibrate_probe(self.part.replace(probe=candidate.probe))
        options = QuasiNewtonOptions(iterations, loss="amplitude")
        problem = QuasiNewtonProblem(move_ramp_to_probe(scan, self.offset), options, self.device)
        with torch.no_grad():
            result = solve_problem(problem, silent)
        self.done += 1
        self.progress("probe", self.done, self.total)
        losses = result.history["loss"]  # none where the first step already fails
        return _Trial(candidate, result.probe, losses[-1] if losses else float("inf"))


def _pixel_optics(scan: ScanData, config: ProbeStartConfig) -> ProbeOptics:
    """Return what a configuration gives about the optics in pixels of a scan."""
    if config.probe_model == "auto":
        return ProbeOptics()
    if config.probe_model == "aperture" or config.probe_model == "gaussian":
        if config.probe_diameter_m is None:
            return ProbeOptics(config.probe_model)
        return ProbeOptics(config.probe_model, diameter_px=config.probe_diameter_m / _pixel(scan, "probe_diameter_m"))
    zone, option = config.outermost_zone_m, "outermost_zone_m"
    if config.convergence_mrad is not None:
        # A lens of semi-angle a reaches as far out on the detector as a zone plate of outermost zone lambda / (2 a).
        zone, option = _wavelength(scan, "convergence_mrad") / (2e-3 * config.convergence_mrad), "convergence_mrad"
    radius = None if zone is None else compute_pupil_radius(zone, _pixel(scan, option))
    waves = None
    if config.defocus_m is not None:
        # A zone plate of one object pixel reaches to the edge of the detector.
        waves = defocus_to_waves(config.defocus_m, _wavelength(scan, "defocus_m"), _pixel(scan, "defocus_m"))
    return ProbeOptics("lens", radius, config.central_stop or 0.0, waves)


def _describe(candidate: ProbeCandidate, scan: ScanData) -> dict[str, Any]:
    """Return the model of a candidate and its curvature, for the provenance."""
    record = {"model": candidate.model, "curvature": candidate.curvature}
    if candidate.pupil_radius is None or scan.pixel_size_m is None or scan.wavelength_m is None:
        return record
    zone = scan.pixel_size_m / candidate.pupil_radius
    return {**record, "defocus_m": defocus_to_distance(candidate.curvature, scan.wavelength_m, zone)}


def _pixel(scan: ScanData, option: str) -> float:
    if scan.pixel_size_m is None:
        expected = (
            "an object pixel, by --energy-eV with --detector-distance-m and --detector-pixel-m, or --pixel-size-m"
        )
        raise InputError(scan.source, "object pixel", f"none for {option_name(option)}", expected)
    return scan.pixel_size_m


def _wavelength(scan: ScanData, option: str) -> float:
    if scan.wavelength_m is None:
        raise InputError(scan.source, "energy", f"none for {option_name(option)}", "a value, or --energy-eV")
    return scan.wavelength_m
