"""Departures from the ideal experiment: proposed by the counts, solved for, and taken in where they explain.

A scan is solved as if its experiment were ideal. What that leaves unexplained proposes a term; the term is solved for
from there, and the scan solved again with it. It is taken in where the misfit above counting noise falls by more than
`MIN_GAIN`: a term that explains what another one has caused gains little. Terms are tried one after the other, each on
top of those that were taken in before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.calibration import take_background_out
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import measure_misfit, sum_deviance
from ptypinn.metrics.position_errors import LAST_CHANGE, MOVED
from ptypinn.solvers.detector_terms import BackgroundTerm, BeamTerm, PointSpreadTerm
from ptypinn.solvers.probe_terms import ModesTerm, ProbeVariationTerm, SufficientModesTerm
from ptypinn.solvers.scan_terms import FluxTerm, PositionsTerm, SurePositionsTerm
from ptypinn.solvers.term import MIN_GAIN, Solver, State, Term, fit_misfit

TERMS: tuple[Term, ...] = (
    BeamTerm(),
    SurePositionsTerm(),
    PointSpreadTerm(),
    BackgroundTerm(),
    FluxTerm(),
    SufficientModesTerm(),
    ProbeVariationTerm(),
    PositionsTerm(),
    PointSpreadTerm(),
    ModesTerm(),
)
"""Terms in the order in which they are tried: what one imitates of another is gone where that is taken in first."""
RIVALS = {"background": (ModesTerm(),)}
"""Terms that explain much of each other's misfit: a detector that blurs leaves excess counts, as a background does.
Before the one is taken in, the others are solved for too, and the one that explains most is."""
COMPANIONS = {"modes": ("probe_variation", "flux", "positions")}
"""Terms that may be solved for together with another one."""
MIN_MOVED_PX = 1e-3
"""Smallest move of positions, solved for together with another term, that is put on record."""
MAX_WORSE = 1.02
"""Misfit up to which positions that have settled once more are taken, over that before."""
RIVAL_MARGIN = 1.2
"""Misfit above counting noise that a rival may leave, over that of the best term, to be preferred. Where there is a
background, it leaves only noise, and modes leave more: then the background is taken in."""
MIN_EXCESS = 0.01
"""Misfit above counting noise that fractions refer to where less is left, or where the object has fitted noise."""


@dataclass(frozen=True)
class Finding:
    """One departure from the ideal experiment, whether it was taken in or not."""

    size: float
    """In the unit of the term: of the flux, the standard deviation over the frames; of the background, its fraction of
    the photons measured; of the positions, the root mean square error of the recorded ones, pixels; of the modes, the
    fraction of the photons outside of the strongest."""
    significance: float
    """Gain of log-likelihood on what the term was not fitted to, over its standard error."""
    misfit_before: float
    """Amplitude residual over that of counting noise, without the term."""
    misfit_after: float
    """The same with the term."""
    min_gain: float = MIN_GAIN
    """Smallest fraction of the misfit above counting noise that the term has to explain."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is on record."""

    @property
    def is_corrected(self) -> bool:
        """True if the term explains enough to be taken in."""
        return self.misfit_after <= self.misfit_before - self.min_gain * max(self.misfit_before - 1, MIN_EXCESS)

    def to_record(self, *, taken: bool) -> dict[str, Any]:
        """Return the finding as plain values for the provenance; `taken` is true if the term was taken in."""
        return {
            "size": self.size,
            "significance": self.significance,
            "misfit_before": self.misfit_before,
            "misfit_after": self.misfit_after,
            "corrected": taken,
            **self.details,
        }


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
    solved: dict[str, _Trial] = {}  # since a term was last taken in: nothing else changes a solve
    untried, taken = [term for term in TERMS if term.name in names], list[str]()
    state, left = State(recon.scan_part(scan), recon, solver, tuple(names)), _left_unexplained(scan, recon, solver)
    while untried:
        term = untried.pop(0)
        earlier, force = solved.get(term.name), term.name in forced
        if left < term.min_misfit and not force:
            continue
        trial = _try_term(term, scan, state, force) if earlier is None else earlier.judged_by(term, force)
        trials = [trial] if force else [trial, *_try_rivals(trial, scan, state, forced)]
        solved |= {trial.term.name: trial for trial in trials if trial.finding is not None}
        best = _choose_trial(state.scan, trials, solver)
        findings |= _list_findings(trials, best, taken)
        if best.is_taken:
            together, solved = _list_companions(best, scan, state), {}
            findings |= together
            taken = [*(name for name in taken if name != best.term.name), best.term.name, *together]
            scan, recon = _go_on_from(scan, best.reconstruction), _with_record(best.reconstruction, findings, taken)
            state = State(recon.scan_part(scan), recon, solver, _list_open(names, findings, taken))
            left, untried = _left_unexplained(scan, recon, solver), _list_again(untried, findings, state.names)
    if "positions" in taken and _may_settle(findings["positions"], is_last=taken[-1] == "positions"):
        settled = _settle_positions(scan, state, findings["positions"])
        recon, findings["positions"] = settled.reconstruction, settled.finding or findings["positions"]
    return _with_record(recon, findings, taken)


def _list_open(names: Sequence[str], findings: Mapping[str, Finding], taken: Sequence[str]) -> tuple[str, ...]:
    """Return the names of terms that may still be solved for: positions that moved with modes are, by themselves."""
    return tuple(name for name in names if name not in taken or MOVED in findings[name].details)


def _may_settle(finding: Finding, *, is_last: bool) -> bool:
    """Return True if positions that were solved for by themselves have not settled with all other terms."""
    return MOVED not in finding.details and (not is_last or LAST_CHANGE not in finding.details)


def _settle_positions(scan: ScanData, state: State, finding: Finding) -> _Trial:
    """Let positions settle once more, now that terms beside them are known; as they were where the fit is worse.

    Args:
        scan: The scan with the recorded positions.
        state: Where all other terms are taken in.
        finding: That of the positions.
    """
    term = PositionsTerm()
    settled = term.settle(state.scan.replace(probe=state.recon.probe), state.solver)
    after = fit_misfit(scan, settled, state.solver)
    if after > MAX_WORSE * state.misfit:
        return _Trial(term, state.recon)
    details = term.describe(scan, settled)
    return _Trial(term, settled, replace(finding, size=term.measure(scan, settled), details=details))


def _with_record(recon: Reconstruction, findings: Mapping[str, Finding], taken: Sequence[str]) -> Reconstruction:
    """Return a reconstruction with all findings in its provenance."""
    if not findings:
        return recon
    records = {name: finding.to_record(taken=name in taken) for name, finding in findings.items()}
    return replace(recon, provenance=record_experiment(recon, records))


def _list_findings(trials: Sequence[_Trial], best: _Trial, taken: Sequence[str]) -> dict[str, Finding]:
    """Return the findings of trials by name; of a term that is taken in already, only where it is taken anew."""
    held = [name for name in taken if not (best.is_taken and name == best.term.name)]
    findings = {trial.term.name: trial.finding for trial in trials if trial.term.name not in held}
    return {name: finding for name, finding in findings.items() if finding is not None}


def _list_companions(trial: _Trial, scan: ScanData, state: State) -> dict[str, Finding]:
    """Return the findings of terms that were solved for together with the one of a trial, by name.

    Args:
        trial: The trial.
        scan: The scan with what was recorded of positions and flux.
        state: What the trial started from.
    """
    names = [name for name in COMPANIONS.get(trial.term.name, ()) if name in state.names]
    terms = {term.name: term for term in TERMS if term.name in names}
    findings = dict[str, Finding]()
    for name, term in terms.items():
        recon = trial.reconstruction
        size = term.measure(scan, recon)
        if size == 0 or trial.finding is None or (name == "flux" and recon.flux is state.scan.flux):
            continue
        if name == "positions" and size < MIN_MOVED_PX:
            continue
        moved = {MOVED: size} if name == "positions" else {}
        finding = replace(trial.finding, size=size, details={**term.describe(scan, recon), **moved})
        if name == "flux":
            without = fit_misfit(state.scan, replace(recon, flux=state.scan.flux), state.solver)
            finding = replace(finding, misfit_before=without, min_gain=0.0)
        findings[name] = finding
    return findings


def _list_again(untried: Sequence[Term], findings: Mapping[str, Finding], names: Sequence[str]) -> list[Term]:
    """Return the terms of these names that are to be tried: rejected ones again, now that less is left unexplained."""
    terms = [*untried, *(term for term in TERMS if term.name in findings and term not in untried)]
    return [term for term in terms if term.name in names]


@dataclass(frozen=True)
class _Trial:
    """A term after its solve; without a finding where nothing proposes it."""

    term: Term
    reconstruction: Reconstruction
    finding: Finding | None = None
    is_taken: bool = False
    """True if the term explains enough, or is forced."""
    min_rival_misfit: float = 0.0
    """Misfit from which its rivals are solved for too."""

    def judged_by(self, term: Term, force: bool) -> _Trial:
        """Return the trial under the demand of another entry of `TERMS` with the same name, which has one step."""
        if self.finding is None:
            return replace(self, term=term)
        finding = replace(self.finding, min_gain=term.min_gain)
        return replace(self, term=term, finding=finding, is_taken=force or finding.is_corrected)


def _try_term(term: Term, scan: ScanData, state: State, force: bool) -> _Trial:
    """Solve for a term where the counts propose it, until it explains too little.

    Args:
        term: The term.
        scan: The scan with what was recorded of positions and flux, which the size of the term refers to.
        state: What to start from.
        force: Take the term in whatever it explains.
    """
    evidence, finding = term.weigh(state), None
    if not (force or evidence.proposes):
        return _Trial(term, state.recon)
    min_gain = term.min_gain if evidence.min_gain is None else evidence.min_gain
    for trial in term.solve(state, evidence):
        size, details = term.measure(scan, trial), term.describe(scan, trial)
        after = fit_misfit(state.scan, trial, state.solver)
        finding = Finding(size, evidence.significance, state.misfit, after, min_gain, details)
        if not (force or finding.is_corrected):
            return _Trial(term, trial, finding)
    return _Trial(term, trial, finding, is_taken=True, min_rival_misfit=evidence.min_rival_misfit)


def _try_rivals(trial: _Trial, scan: ScanData, state: State, forced: Sequence[str]) -> list[_Trial]:
    """Solve for the rivals of a term that would be taken in, unless they explain less and the term leaves nothing."""
    if not trial.is_taken or trial.finding is None:
        return []
    if trial.finding.misfit_after < trial.min_rival_misfit:
        return []
    rivals = [rival for rival in RIVALS.get(trial.term.name, ()) if rival.name in state.names]
    return [_try_term(rival, scan, state, rival.name in forced) for rival in rivals]


def _go_on_from(scan: ScanData, recon: Reconstruction) -> ScanData:
    """Return a scan to go on from: with the probe of a reconstruction where it has other modes, or varies."""
    same = len(recon.probe) == len(scan.require_probe()) and recon.probe_variation is None
    if same:
        return scan
    return scan.replace(probe=recon.probe, probe_variation=recon.probe_variation, probe_weights=recon.probe_weights)


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
    return scan, centred, recon.scale_probe(factor)


def _left_unexplained(scan: ScanData, recon: Reconstruction, solver: Solver) -> float:
    """Return the misfit of some of the frames."""
    return measure_misfit(recon.scan_part(scan), recon, batch=solver.batch, device=solver.device)


def _choose_trial(scan: ScanData, trials: Sequence[_Trial], solver: Solver) -> _Trial:
    """Return the trial that explains most; a rival, which is the likelier cause, where it explains nearly as much."""
    if len(trials) == 1:
        return trials[0]
    best = min(trials, key=lambda trial: _deviance(scan, trial, solver))
    limit = _excess(best) + (RIVAL_MARGIN - 1) * max(_excess(best), MIN_EXCESS)
    rivals = [trial for trial in trials[1:] if trial.is_taken and _excess(trial) < limit]
    return min(rivals, key=_excess, default=best)


def _excess(trial: _Trial) -> float:
    """Return the misfit above counting noise that a trial leaves."""
    return float("inf") if trial.finding is None else trial.finding.misfit_after - 1


def _deviance(scan: ScanData, trial: _Trial, solver: Solver) -> float:
    """Return the Poisson deviance that a term leaves, infinite where it explains too little.

    The misfit is no measure between terms: a background raises the counting noise that is expected where it is dark.
    """
    if not trial.is_taken:
        return float("inf")
    recon = trial.reconstruction
    arrays = recon.sample, recon.probe, recon.positions_px
    return sum_deviance(recon.scan_part(scan), *arrays, batch=solver.batch, device=solver.device)
