"""Findings of a ledger: the stages that do not preserve the amplitude scale, by how much, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ptypinn.scale import LedgerEntry, multiply_discrepancies
from ptypinn.scale_audit.ledger import Ledger, insert_cause
from ptypinn.scale_audit.messages import ADVICE, CAUSES, EXPECTED_TIMES, SATURATED, UNKNOWN_CAUSE

EXACT_TOLERANCE = 0.02
"""Deviation allowed to stages without freedom: they copy, divide or look up."""
STAGE_TOLERANCE = {"grouping": 0.25}
"""Deviation allowed to other stages: groups draw some patterns more often than others."""
MAX_AT_CEILING = 0.02
"""Fraction of a head's outputs at its largest value above which it saturates."""
COMPARISON = "comparison"
"""Stage that converts rms to mean: it deviates if the object is less uniform than the truth, or more so."""
DATA_DEPENDENT = ("network", "solver", "reconstruction", COMPARISON, "truth", "output scaling")
"""Stages that depend on the data: they are allowed the tolerance of the configuration."""
OFF_OBJECT = ("grouping", "input normalisation", "propagation", COMPARISON)
"""Stages whose factor does not reach the object's scale."""
RECORD_ONLY = ("probe as given", "closing factor")
"""Entries for the record, which lead to no finding."""
INHERITED = {"training labels": ("training labels", 1.0), "training merge": ("merge", -1.0)}
"""Factors that a network inherits from its training: name, entry of the training's ledger, power of its factor."""
EDGES = "stitching, edges"
SAME_FACTOR = 0.02
"""Relative difference up to which two factors count as the same."""


@dataclass(frozen=True)
class Finding:
    """One stage that does not preserve the scale."""

    stage: str
    """Name of the stage."""
    factor: float
    """Factor on the amplitude, measured over expected."""
    cause: str
    """Cause, in words."""
    advice: str
    """Advice for mending it."""
    reaches_object: bool = True
    """True if the object's amplitude contains the factor."""


def derive_findings(
    ledger: Ledger, training: Mapping[str, LedgerEntry], tolerance: float
) -> tuple[list[LedgerEntry], list[Finding]]:
    """Derive the findings of a ledger, in the order from counts to object.

    Args:
        ledger: The ledger of a reconstruction.
        training: Ledger of the training behind it, by stage; empty for none.
        tolerance: Relative deviation that is attributed to data and training.

    Returns:
        The entries, in which factors inherited from a training stand under their own name, and the findings.
    """
    entries = _rename_training_probe(_insert_inherited(ledger.entries, training), training)
    findings = [finding for entry in entries if (finding := _check(entry, entries, tolerance)) is not None]
    stages = {finding.stage for finding in findings}
    findings = [finding for finding in findings if not (finding.stage == EDGES and {"merge", "stitching"} & stages)]
    findings += _training_only(training, stages)
    counting_tolerance = max((entry.counting_tolerance for entry in entries), default=0.0)
    if not findings and _deviates(ledger.total, tolerance + counting_tolerance):
        findings.append(_largest_deviation(entries, ledger.total))
    return entries, findings


def _insert_inherited(entries: list[LedgerEntry], training: Mapping[str, LedgerEntry]) -> list[LedgerEntry]:
    """Insert the factors that the network learned from wrong labels, or from a wrong merge, before the network."""
    for name, (stage, power) in INHERITED.items():
        cause, network = training.get(stage), next((entry for entry in entries if entry.stage == "network"), None)
        if cause is None or network is None:
            continue
        if not _deviates(cause.discrepancy, EXACT_TOLERANCE) or not network.discrepancy > 0:
            continue
        factor = cause.discrepancy**power
        if abs(math.log(network.discrepancy / factor)) < abs(math.log(network.discrepancy)) / 2:
            inherited = LedgerEntry(name, 1.0, factor, f"at training: {cause.source}", stats=cause.stats)
            entries = insert_cause(entries, inherited, "network")
    return entries


def _rename_training_probe(entries: list[LedgerEntry], training: Mapping[str, LedgerEntry]) -> list[LedgerEntry]:
    """Rename the entry of a wrong probe that is the training's own, while the scan's is right."""
    by_stage, trained_with = {entry.stage: entry for entry in entries}, training.get("probe")
    used, of_scan = by_stage.get("probe"), by_stage.get("probe as given")
    if used is None or of_scan is None or trained_with is None or _deviates(of_scan.discrepancy, EXACT_TOLERANCE):
        return entries
    if not _deviates(used.discrepancy, EXACT_TOLERANCE):
        return entries
    if _deviates(trained_with.discrepancy / used.discrepancy, SAME_FACTOR):
        return entries
    return [replace(entry, stage="training probe") if entry is used else entry for entry in entries]


def _check(entry: LedgerEntry, entries: Sequence[LedgerEntry], tolerance: float) -> Finding | None:
    """Return the finding of one entry, None if its stage preserves the scale."""
    compensates = entry.stage == "output scaling" and not _deviates(multiply_discrepancies(entries), tolerance)
    if entry.stage in RECORD_ONLY or compensates:
        return None
    reaches = entry.stage not in OFF_OBJECT
    if entry.stats is not None and entry.stats.non_finite:
        cause = f"{entry.stats.non_finite} values are not finite"
        return Finding(entry.stage, math.nan, cause, ADVICE["not finite"], reaches)
    allowed = tolerance if entry.stage in DATA_DEPENDENT else STAGE_TOLERANCE.get(entry.stage, EXACT_TOLERANCE)
    deviates = _deviates(entry.discrepancy, allowed + entry.counting_tolerance)
    if entry.stage == "loading" and entry.note:
        factor = entry.discrepancy if deviates else math.nan
        return Finding(entry.stage, factor, entry.note, ADVICE.get(entry.note, ADVICE["loading"]))
    if not deviates:
        return None
    cause, advice = _cause_and_advice(entry)
    return Finding(entry.stage, entry.discrepancy, cause, advice, reaches)


def _cause_and_advice(entry: LedgerEntry) -> tuple[str, str]:
    cause = CAUSES.get(entry.stage, UNKNOWN_CAUSE).format(factor=entry.discrepancy)
    advice = ADVICE.get(entry.stage, ADVICE["reconstruction"])
    at_ceiling = (entry.stats.at_ceiling if entry.stats else None) or 0.0
    if entry.stage == "network" and at_ceiling > MAX_AT_CEILING and entry.discrepancy < 1:
        cause, advice = SATURATED.format(fraction=at_ceiling), ADVICE["saturated"]
    if entry.note:
        cause = f"{entry.note}; {EXPECTED_TIMES.format(factor=entry.discrepancy)}"
    return cause, advice


def _training_only(training: Mapping[str, LedgerEntry], stages: set[str]) -> list[Finding]:
    """Return faults of the training that do not affect the object's amplitude."""
    findings = []
    for name, stage in (("input normalisation", "input normalisation"), ("training probe", "probe")):
        entry = training.get(stage)
        if entry is None or not _deviates(entry.discrepancy, EXACT_TOLERANCE) or {name, stage} & stages:
            continue
        cause = CAUSES[name].format(factor=entry.discrepancy)
        findings.append(Finding(name, entry.discrepancy, f"at training, {cause}", ADVICE[name], False))
    return findings


def _largest_deviation(entries: Sequence[LedgerEntry], total: float) -> Finding:
    worst = max((entry for entry in entries if entry.on_path), key=lambda entry: abs(math.log(entry.discrepancy)))
    cause = f"no stage alone deviates much; together they make {total:.3g}, and this one contributes most"
    return Finding(worst.stage, worst.discrepancy, cause, ADVICE.get(worst.stage, ADVICE["reconstruction"]))


def _deviates(factor: float, tolerance: float) -> bool:
    return not (math.isfinite(factor) and factor > 0 and abs(math.log(factor)) <= math.log1p(tolerance))
