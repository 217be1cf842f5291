"""Terms of the experiment beside the ideal one: proposed by the counts, solved for, and taken in where they explain.

A scan is solved as if its experiment were ideal. What that leaves unexplained proposes a term; the term is solved for
from there, and the scan solved again with it. It is taken in where the misfit above counting noise falls by more than
`MIN_GAIN`: a term that explains what another one has caused gains little. Terms are tried one after the other, each on
top of those that were taken in before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.calibration import measure_fraction, take_background_out
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.background import measure_background
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.metrics.flux import measure_flux
from ptypinn.metrics.position_errors import (
    LAST_CHANGE,
    PositionErrors,
    measure_misfit,
    measure_position_errors,
)
from ptypinn.utils.progress import Progress

if TYPE_CHECKING:
    from ptypinn.solvers.positions import PositionEstimate

MIN_SIGNIFICANCE = 4.0
"""Gain of log-likelihood over its standard error from which a term is not due to chance."""
MIN_VARIATION = 0.004
"""Smallest standard deviation of the flux that is solved for: on scans of constant flux, errors of the object that
exceed counting noise imitate up to half of it."""
MIN_BACKGROUND = 0.0015
"""Smallest background, over the photons measured, that an ideal solve leaves to be solved for: a tenth of the true one,
whose rest the object has imitated. On scans without one, up to two thirds of it are left where counts are few."""
MIN_EXPLAINED = 0.05
"""Smallest fraction of the misfit above counting noise that this background explains: errors of other causes leave
excess counts too, which explain 0.02 of theirs."""
MIN_MISFIT = 1.1
"""Amplitude residual over that of counting noise from which the positions may be to blame."""
MAX_CANVAS_PX = 2**22
"""Largest canvas on which positions are solved for: the solver holds forty of it in memory."""
MIN_GAIN = 0.3
"""Smallest fraction of the misfit above counting noise that a term has to explain."""


@runtime_checkable
class Solver(Protocol):
    """Solver of scans, with the options of the run."""

    @property
    def batch(self) -> int:
        """Patterns in memory at once."""

    @property
    def device(self) -> torch.device:
        """Device to compute on."""

    @property
    def refines_probe(self) -> bool:
        """True if the probe is solved for as well."""

    @property
    def progress(self) -> Progress:
        """Called after every step."""

    def solve(self, scan: ScanData, unknown: str = "", *, hold_probe: bool = False) -> Reconstruction:
        """Solve a scan.

        Args:
            scan: The scan, with the terms that are given.
            unknown: Name of a term to solve for as well.
            hold_probe: Take the probe of the scan as it is.
        """


@dataclass(frozen=True)
class Evidence:
    """Evidence of a term in what an ideal solve has left unexplained."""

    significance: float
    """Gain of log-likelihood on what the term was not fitted to, over its standard error."""
    proposes: bool
    """True if the term is worth a solve."""
    estimate: PositionEstimate | None = None
    """First estimate of the positions, to go on from."""


@dataclass(frozen=True)
class Finding:
    """One departure from the ideal experiment, whether it was taken in or not."""

    name: str
    size: float
    """In the unit of the term: of the flux, the standard deviation over the frames; of the background, its fraction of
    the photons measured; of the positions, the root mean square error of the recorded ones, pixels."""
    significance: float
    """Gain of log-likelihood on what the term was not fitted to, over its standard error."""
    misfit_before: float
    """Amplitude residual over that of counting noise, without the term."""
    misfit_after: float
    """The same with the term."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is on record."""

    @property
    def is_corrected(self) -> bool:
        """True if the term explains enough to be taken in."""
        return self.misfit_after - 1 <= (1 - MIN_GAIN) * (self.misfit_before - 1)

    def to_record(self, *, forced: bool = False) -> dict[str, Any]:
        """Return the finding as plain values for the provenance."""
        return {
            "size": self.size,
            "significance": self.significance,
            "misfit_before": self.misfit_before,
            "misfit_after": self.misfit_after,
            "corrected": forced or self.is_corrected,
            **self.details,
        }


@runtime_checkable
class Term(Protocol):
    """A term of the experiment, as `solve_experiment` tries it."""

    name: str

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Return the evidence of the term in what a reconstruction leaves unexplained, for little work."""

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve the scan with the term, from cheap trials to the result; each has to explain enough for the next."""

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the size of the term in a reconstruction that has it."""

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return what else is worth recording about the term."""


class BackgroundTerm:
    """One image of counts that every frame has beside the diffraction."""

    name = "background"

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Look for excess counts where little is predicted."""
        evidence = measure_background(scan, recon, batch=solver.batch, device=solver.device)
        large = evidence.fraction >= MIN_BACKGROUND and evidence.explained >= MIN_EXPLAINED
        return Evidence(evidence.significance, large and evidence.significance >= MIN_SIGNIFICANCE)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for it afresh, with object and probe: what those have imitated of it is not easily undone."""
        yield solver.solve(scan, self.name)

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return its fraction of the photons measured."""
        return 0.0 if recon.background is None else measure_fraction(scan, recon.background)

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


class FluxTerm:
    """One factor per frame."""

    name = "flux"

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Compare the photons of every frame with the prediction."""
        evidence = measure_flux(scan, recon, batch=solver.batch, device=solver.device)
        significant = evidence.significance >= MIN_SIGNIFICANCE
        return Evidence(evidence.significance, significant and evidence.variation >= MIN_VARIATION)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for it with the probe held, then for object and probe with the flux given."""
        trial = solver.solve(scan.replace(probe=recon.probe), self.name, hold_probe=True)
        flux = trial.flux
        if flux is not None:
            yield trial
        else:  # scans in tiles are solved with the flux that is given
            ratio = measure_flux(scan, recon, batch=solver.batch, device=solver.device).ratio
            flux = ratio / ratio.mean()
        yield solver.solve(scan.replace(flux=flux))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the standard deviation over the frames."""
        return 0.0 if recon.flux is None else float(recon.flux.std())

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return nothing: the size says it all."""
        return {}


class PositionsTerm:
    """Positions of the probe beside the recorded ones."""

    name = "positions"

    def weigh(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> Evidence:
        """Solve the patterns around the middle for their positions, where much is left unexplained."""
        misfit = measure_misfit(scan, recon, batch=solver.batch, device=solver.device)
        if recon.object.size > MAX_CANVAS_PX or misfit < MIN_MISFIT:
            return Evidence(0.0, False)
        estimate = self._solve_core(scan, recon, solver)
        return Evidence(estimate.significance, estimate.gain >= MIN_GAIN, estimate)

    def solve(
        self, scan: ScanData, recon: Reconstruction, solver: Solver, evidence: Evidence
    ) -> Iterator[Reconstruction]:
        """Solve for all positions, then for object and probe with the positions given."""
        from ptypinn.solvers.positions import solve_positions

        core = evidence.estimate or self._solve_core(scan, recon, solver)
        estimate = solve_positions(scan, core, solver.device, solver.progress, refine_probe=solver.refines_probe)
        result = solver.solve(scan.replace(positions_px=estimate.positions_px, probe=estimate.probe))
        yield replace(result, provenance=record_experiment(result, {self.name: {LAST_CHANGE: estimate.change}}))

    def measure(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the root mean square error of the recorded positions, pixels."""
        return self._errors(scan, recon).rms_px

    def describe(self, scan: ScanData, recon: Reconstruction) -> dict[str, Any]:
        """Return their errors by cause, and what may be left of scales and shear."""
        change = recon.provenance.get("experiment", {}).get(self.name, {}).get(LAST_CHANGE, 0.0)
        return {**self._errors(scan, recon).to_record(), LAST_CHANGE: change}

    def _solve_core(self, scan: ScanData, recon: Reconstruction, solver: Solver) -> PositionEstimate:
        from ptypinn.solvers.positions import solve_core

        return solve_core(scan, recon, solver.device, solver.progress, refine_probe=solver.refines_probe)

    def _errors(self, scan: ScanData, recon: Reconstruction) -> PositionErrors:
        return measure_position_errors(scan.positions_px, recon.positions_px + np.asarray(recon.origin_px, float))


TERMS: dict[str, Term] = {term.name: term for term in (BackgroundTerm(), FluxTerm(), PositionsTerm())}
"""Terms in the order in which they are tried: what one imitates of another is gone where that is taken in first."""


def solve_experiment(
    scan: ScanData, recon: Reconstruction, solver: Solver, names: Sequence[str], forced: Sequence[str] = ()
) -> Reconstruction:
    """Solve for the terms that the counts demand, one after the other; those rejected again after others are taken in.

    Args:
        scan: The scan.
        recon: Its reconstruction without them.
        solver: Solves the scan again, with terms.
        names: Names of the terms that may be solved for.
        forced: Names of those that are taken in whatever they explain.

    Returns:
        The reconstruction with the terms that were taken in, all that were tried on record.
    """
    findings: dict[str, Finding] = {}
    untried, taken = [name for name in TERMS if name in names], list[str]()
    while untried:
        name, rejected = untried.pop(0), [name for name in findings if name not in taken]
        recon, finding = _try_term(TERMS[name], recon.scan_part(scan), recon, solver, name in forced)
        findings |= {} if finding is None else {name: finding}
        if finding is not None and (name in forced or finding.is_corrected):
            taken.append(name)
            untried += [name for name in rejected if name not in untried]  # now that less is left unexplained
        records = {name: finding.to_record(forced=name in forced) for name, finding in findings.items()}
        recon = replace(recon, provenance=record_experiment(recon, records)) if records else recon
    return recon


def _try_term(
    term: Term, scan: ScanData, recon: Reconstruction, solver: Solver, force: bool
) -> tuple[Reconstruction, Finding | None]:
    """Return the reconstruction with the term where it explains enough, else the former one, and the finding."""
    evidence, finding = term.weigh(scan, recon, solver), None
    if not (force or evidence.proposes):
        return recon, None
    before = _misfit(scan, recon, solver)
    for trial in term.solve(scan, recon, solver, evidence):
        size, details, after = term.measure(scan, trial), term.describe(scan, trial), _misfit(scan, trial, solver)
        finding = Finding(term.name, size, evidence.significance, before, after, details)
        if not (force or finding.is_corrected):
            return recon, finding
    return trial, finding


def deduct_background(
    scan: ScanData, centred: ScanData, recon: Reconstruction
) -> tuple[ScanData, ScanData, Reconstruction]:
    """Give the scan, once as it is and once as it was solved, and the reconstruction the scale without the background.

    A probe that was calibrated to the photons of the patterns was so to those of the background as well.
    """
    if recon.background is None or recon.background is scan.background:
        return scan, centred, recon
    scan, factor = take_background_out(scan, recon.background)
    centred, _ = take_background_out(centred, recon.background)
    scaled = np.where(recon.illumination > 0, recon.object / np.float32(factor), recon.object)
    illumination, probe = recon.illumination * np.float32(factor**2), recon.probe * np.float32(factor)
    return scan, centred, replace(recon, object=scaled, illumination=illumination, probe=probe)


def _misfit(scan: ScanData, recon: Reconstruction, solver: Solver) -> float:
    """Return the amplitude residual over the one that counting noise explains."""
    arrays = recon.object, recon.probe, recon.positions_px
    fit = compute_data_fit(recon.scan_part(scan), *arrays, batch=solver.batch, device=solver.device)
    return fit.amplitude_residual / fit.expected_residual if fit.expected_residual > 0 else float("inf")
