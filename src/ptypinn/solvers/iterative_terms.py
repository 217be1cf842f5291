"""Terms of the experiment of scans that the network was not trained for: near fields, and thick samples.

Every term is solved for with object and probe from where the ideal solve has ended, and taken in where it explains
enough of what that has left above counting noise. Terms with evidence that costs one pass are tried only where it
proposes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.calibration import pattern_sums, take_background_out
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.beam import measure_beam
from ptypinn.metrics.data_fit import sum_deviance
from ptypinn.metrics.flux import flatten_slope, measure_flux
from ptypinn.solvers.core_trials import MIN_SIGNIFICANCE
from ptypinn.solvers.detector_terms import BackgroundTerm, BeamTerm
from ptypinn.solvers.experiment import Finding
from ptypinn.solvers.iterative import IterativeSolver
from ptypinn.solvers.probe_terms import ModesTerm, ProbeVariationTerm
from ptypinn.solvers.probe_variation import ORDER
from ptypinn.solvers.scan_terms import FluxTerm, PositionsTerm
from ptypinn.solvers.term import State, Term

ITERATIONS, FLUX_ITERATIONS = 60, 150
"""Iterations with a term of the experiment, and for the flux of the frames."""
SLOW_TERMS, HELD_TERMS = ("background",), ("flux",)
"""Terms that trade with the contrast of the object, and settle as late as that; and terms that are held once they are
solved for, as their slope over the scan trades with one of object and probe, and has been taken out."""
RIVALS = "positions", "modes"
"""Terms that explain a part of what a background does: it is solved for too then, and taken where it explains more."""
MIN_GAIN = 0.1
"""Smallest fraction of the misfit above counting noise that a term has to explain."""


def solve_terms(
    scan: ScanData, recon: Reconstruction, solver: IterativeSolver, iterations: int = ITERATIONS
) -> Reconstruction:
    """Solve for terms of the experiment; take them in where they explain enough, and record all that were tried.

    Args:
        scan: The scan.
        recon: Its reconstruction as an ideal experiment.
        solver: The solver.
        iterations: Iterations with each term.
    """
    run = _Run(scan, solver, recon, solver.measure_misfit(scan, recon), iterations)
    candidates = _list_candidates(scan, solver)
    while candidates:
        candidate = candidates.pop(0)
        if not run.proposes(candidate):
            continue
        trial = run.solve(candidate.term)
        rival = run.solve(BackgroundTerm()) if trial.is_taken and run.has_rival(candidate.term) else trial
        best = min((trial, rival), key=run.measure_deviance)
        run.take(best)
        if best is not trial:  # it is tried again, now that less is left
            candidates.append(candidate)
    records = {name: finding.to_record(taken=name in run.taken) for name, finding in run.findings.items()}
    return replace(run.recon, provenance=record_experiment(run.recon, records)) if records else run.recon


@dataclass(frozen=True)
class _Candidate:
    """A term, and whether it is weighed before it is solved for."""

    term: Term
    weighs: bool = False
    """True if the term is tried only where its evidence proposes it."""


class _Trial(NamedTuple):
    """A term after its solve."""

    name: str
    recon: Reconstruction
    finding: Finding
    is_taken: bool


@dataclass
class _Run:
    """State of the trials."""

    scan: ScanData
    solver: IterativeSolver
    recon: Reconstruction
    """Reconstruction with the terms that were taken in."""
    misfit: float
    """Its misfit."""
    iterations: int
    """Iterations with each term."""
    findings: dict[str, Finding] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)

    def proposes(self, candidate: _Candidate) -> bool:
        """Return True if a term may be solved for, and what is left is worth it."""
        term, config = candidate.term, self.solver.config
        if term.name in self.taken or term.name not in config.solved_terms():
            return False
        if term.name in config.forced_terms():
            return True
        if self.misfit < term.min_misfit:
            return False
        part = self.recon.scan_part(self.scan)
        return not candidate.weighs or term.weigh(State(part, self.recon, self.solver)).proposes

    def has_rival(self, term: Term) -> bool:
        """Return True if a background, which is seldom weighed right, may explain what a term does."""
        config = self.solver.config
        if "background" not in config.solved_terms() or "background" in self.findings:
            return False
        if term.name not in RIVALS or term.name in config.forced_terms():
            return False
        state = State(self.recon.scan_part(self.scan), self.recon, self.solver)
        return BackgroundTerm().weigh(state).significance >= MIN_SIGNIFICANCE

    def solve(self, term: Term) -> _Trial:
        """Solve for a term beside those that were taken in."""
        part, solver = self.recon.scan_part(self.scan), self.solver
        unknowns = [name for name in (*self.taken, term.name) if name not in HELD_TERMS]
        if term.name == "flux":
            part = part.replace(flux=_solve_flux(part, self.recon, solver))
        if term.name == "beam":
            part = part.replace(beam_px=_start_beam(part, solver))
        recon = solver.iterate(part, self.iterations, self.recon, unknowns=unknowns)
        if "positions" in unknowns:
            recon = replace(recon, provenance=record_experiment(recon, {"positions": {"corrected": True}}))
        after = solver.measure_misfit(self.scan, recon)
        size = term.measure(self.scan, recon)
        finding = Finding(size, 0.0, self.misfit, after, MIN_GAIN, term.describe(self.scan, recon))
        self.findings[term.name] = finding
        return _Trial(term.name, recon, finding, finding.is_corrected or term.name in solver.config.forced_terms())

    def take(self, trial: _Trial) -> None:
        """Go on from a trial that explains enough; positions that were taken in before have moved with it."""
        if trial.is_taken:
            self.recon, self.misfit = trial.recon, trial.finding.misfit_after
            self.taken.append(trial.name)
            if "positions" in self.taken:
                term, finding = PositionsTerm(), self.findings["positions"]
                size, details = term.measure(self.scan, self.recon), term.describe(self.scan, self.recon)
                self.findings["positions"] = replace(finding, size=size, details=details)

    def measure_deviance(self, trial: _Trial) -> float:
        """Return the Poisson deviance that a trial leaves, infinite where it explains too little."""
        if not trial.is_taken:
            return math.inf
        recon, solver = trial.recon, self.solver
        arrays = recon.sample, recon.probe, recon.positions_px
        return sum_deviance(recon.scan_part(self.scan), *arrays, batch=solver.batch, device=solver.device)


def list_slow_terms(recon: Reconstruction) -> list[str]:
    """Return the names of terms that were taken in and go on to change with object and probe in the end."""
    return [name for name in SLOW_TERMS if recon.has_solved(name)]


def _start_beam(part: ScanData, solver: IterativeSolver) -> Float64[np.ndarray, "patterns 2"]:
    """Return the displacement of every pattern to start from: the known one and the slow motion of their centres."""
    path = measure_beam(part, solver.device).path_px
    return path if part.beam_px is None else path + part.beam_px


def _solve_flux(part: ScanData, recon: Reconstruction, solver: IterativeSolver) -> Float64[np.ndarray, " patterns"]:
    """Return the flux of every frame, solved for with object and probe.

    A slope of the flux over the scan, one of the object's amplitude and one of the probe together change no count: with
    both solved for, none of the flux is as likely as any. What is slow in time is flattened by the amplitude.

    Args:
        part: The patterns of the reconstruction.
        recon: Their reconstruction with the same flux in all.
        solver: The solver.
    """
    evidence = measure_flux(part, recon, batch=solver.batch, device=solver.device)
    ratio = evidence.ratio if part.flux is None else evidence.ratio * part.flux
    start = part.replace(flux=ratio / ratio.mean())
    result = solver.iterate(start, FLUX_ITERATIONS, recon, unknowns=["flux"])
    assert result.flux is not None
    if not solver.refines_probe or solver.depth_precision is not None:
        return result.flux
    monitor = np.ones(len(ratio)) if part.flux is None else part.flux
    rest = flatten_slope(result, part.flux) / monitor
    flux = monitor * _drop_slope(rest, recon.positions_px, pattern_sums(part))
    return flux / flux.mean()


def _drop_slope(
    flux: Float64[np.ndarray, " patterns"],
    positions_px: Float64[np.ndarray, "patterns 2"],
    photons: Float64[np.ndarray, " patterns"],
) -> Float64[np.ndarray, " patterns"]:
    """Return the flux without its slope over the positions, which frames with more photons have a larger say in."""
    design, logarithm = np.column_stack([np.ones(len(flux)), positions_px]), np.log(np.maximum(flux, 1e-12))
    roots = np.sqrt(photons)[:, None]
    slope = np.linalg.lstsq(design * roots, logarithm * roots[:, 0], rcond=None)[0]
    return np.asarray(flux * np.exp(-design @ slope))


def _list_candidates(scan: ScanData, solver: IterativeSolver) -> list[_Candidate]:
    """Return the terms in the order in which they are tried: what is cheap to tell apart from others comes first."""
    candidates = [_Candidate(BackgroundTerm(), True), _Candidate(FluxTerm(), True), _Candidate(PositionsTerm())]
    if scan.fresnel_number is None:  # a near-field detector moves with the positions
        candidates.insert(0, _Candidate(BeamTerm(), True))
    if solver.config.refine_probe:
        candidates.append(_Candidate(ModesTerm()))
    if solver.config.refine_probe and (scan.n_patterns > 2 * ORDER or solver.config.probe_variation == "solve"):
        candidates.append(_Candidate(ProbeVariationTerm()))
    return candidates


def deduct_background(scan: ScanData, recon: Reconstruction) -> tuple[ScanData, Reconstruction]:
    """Return a scan, and its reconstruction, whose probe is scaled to the photons without a background that was found.

    Args:
        scan: Scan with a calibrated probe.
        recon: Its reconstruction.
    """
    if recon.background is None or recon.background is scan.background:
        return scan, recon
    scan, factor = take_background_out(scan, recon.background)
    return scan, recon.scale_probe(factor)
