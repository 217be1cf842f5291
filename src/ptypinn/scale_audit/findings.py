"""From a ledger to findings: which stages do not keep the scale, by how much, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ptypinn.scale import LedgerEntry, multiply_discrepancies
from ptypinn.scale_audit.count_checks import AMPLITUDES, CLIPPED, OVERFLOW, SQUARES
from ptypinn.scale_audit.ledger import Ledger, insert_cause

EXACT = 0.02
"""Deviation that stages without freedom are allowed: they copy, divide or look up."""
LOOSE = {"grouping": 0.25}
"""Deviation by stage that is allowed beyond: groups draw some patterns more often than others."""
AT_CEILING = 0.02
"""Share of a head's outputs at its largest value, above which it saturates."""
COMPARISON = "comparison"
"""Stage that goes over from rms to mean: it is off where the object is less even than the truth, or more so."""
FREE = ("network", "solver", "reconstruction", "comparison", "truth", "output scaling")
"""Stages that answer to data: they are allowed the tolerance of the configuration."""
HARMLESS = ("grouping", "input normalisation", "propagation", COMPARISON)
"""Stages whose factor is none on the object's scale."""
UNJUDGED = ("probe as given", "closing factor")
"""Entries for the record."""
LEARNED = {"training labels": ("training labels", 1.0), "training merge": ("merge", -1.0)}
"""What a network takes over from its training: name, entry of the training's ledger, and the power of its factor."""
EDGES = "stitching, edges"
SAME = 0.02
"""Two factors within this are taken for one."""


@dataclass(frozen=True)
class Finding:
    """One stage that does not keep the scale."""

    stage: str
    """Name of the stage."""
    factor: float
    """Factor on the amplitude, measured over expected."""
    cause: str
    """What is wrong."""
    advice: str
    """What to do about it."""
    reaches_object: bool = True
    """Whether the object's amplitude has it."""


def derive_findings(
    found: Ledger, training: Mapping[str, LedgerEntry], tolerance: float
) -> tuple[list[LedgerEntry], list[Finding]]:
    """What is wrong, in the order from counts to object.

    Args:
        found: The account of a reconstruction.
        training: Ledger of the training behind it, by stage; empty for none.
        tolerance: Relative deviation that is put down to data and training.

    Returns:
        The ledger, in which factors that a training has handed on stand under their own name, and the findings.
    """
    ledger = _named_after_training(_with_training_causes(found.ledger, training), training)
    judged = [_judge(entry, ledger, tolerance) for entry in ledger]
    findings = [finding for finding in judged if finding is not None]
    stages = {finding.stage for finding in findings}
    findings = [finding for finding in findings if not (finding.stage == EDGES and {"merge", "stitching"} & stages)]
    findings += _training_only(training, stages)
    chance = max((entry.counting_tolerance for entry in ledger), default=0.0)
    if not findings and _off(found.total, tolerance + chance):
        findings.append(_largest(ledger, found.total))
    return ledger, findings


def _with_training_causes(ledger: list[LedgerEntry], training: Mapping[str, LedgerEntry]) -> list[LedgerEntry]:
    """Put what the network learned from wrong labels, or from a wrong merge, before the network."""
    for name, (stage, power) in LEARNED.items():
        cause, network = training.get(stage), next((entry for entry in ledger if entry.stage == "network"), None)
        if cause is None or network is None or not _off(cause.discrepancy, EXACT) or not network.discrepancy > 0:
            continue
        factor = cause.discrepancy**power
        if abs(math.log(network.discrepancy / factor)) < abs(math.log(network.discrepancy)) / 2:
            handed_on = LedgerEntry(name, 1.0, factor, f"at training: {cause.source}", stats=cause.stats)
            ledger = insert_cause(ledger, handed_on, "network")
    return ledger


def _named_after_training(ledger: list[LedgerEntry], training: Mapping[str, LedgerEntry]) -> list[LedgerEntry]:
    """A wrong probe that is the training's own, while the scan's is right, goes by that name."""
    entries, trained = {entry.stage: entry for entry in ledger}, training.get("probe")
    used, given = entries.get("probe"), entries.get("probe as given")
    if used is None or given is None or trained is None or _off(given.discrepancy, EXACT):
        return ledger
    if not _off(used.discrepancy, EXACT) or _off(trained.discrepancy / used.discrepancy, SAME):
        return ledger
    return [replace(entry, stage="training probe") if entry is used else entry for entry in ledger]


def _judge(entry: LedgerEntry, ledger: Sequence[LedgerEntry], tolerance: float) -> Finding | None:
    if entry.stage in UNJUDGED or (entry.stage == "output scaling" and not _off(multiply_discrepancies(ledger), tolerance)):
        return None  # told for the record, or making good what other stages have lost
    reaches = entry.stage not in HARMLESS
    if entry.stats is not None and entry.stats.non_finite:
        cause = f"{entry.stats.non_finite} values are not finite"
        return Finding(entry.stage, math.nan, cause, ADVICE["not finite"], reaches)
    allowed = tolerance if entry.stage in FREE else LOOSE.get(entry.stage, EXACT)
    off = _off(entry.discrepancy, allowed + entry.counting_tolerance)
    if entry.stage == "loading" and entry.note:
        factor = entry.discrepancy if off else math.nan
        return Finding(entry.stage, factor, entry.note, ADVICE.get(entry.note, ADVICE["loading"]))
    if not off:
        return None
    cause = CAUSES.get(entry.stage, UNKNOWN).format(factor=entry.discrepancy)
    advice = ADVICE.get(entry.stage, ADVICE["reconstruction"])
    if entry.stage == "network" and _saturated(entry):
        cause, advice = SATURATED.format(share=entry.stats.at_ceiling if entry.stats else 0.0), ADVICE["saturated"]
    if entry.note:
        cause = f"{entry.note}; the object has {entry.discrepancy:.4g} times its due"
    return Finding(entry.stage, entry.discrepancy, cause, advice, reaches)


def _saturated(entry: LedgerEntry) -> bool:
    piled = entry.stats is not None and (entry.stats.at_ceiling or 0.0) > AT_CEILING
    return piled and entry.discrepancy < 1


def _training_only(training: Mapping[str, LedgerEntry], named: set[str]) -> list[Finding]:
    """Faults of the training that have no part in the object's amplitude."""
    findings = []
    for name, stage in (("input normalisation", "input normalisation"), ("training probe", "probe")):
        entry = training.get(stage)
        if entry is None or not _off(entry.discrepancy, EXACT) or {name, stage} & named:
            continue
        cause = CAUSES[name].format(factor=entry.discrepancy)
        findings.append(Finding(name, entry.discrepancy, f"at training, {cause}", ADVICE[name], False))
    return findings


def _largest(ledger: Sequence[LedgerEntry], total: float) -> Finding:
    worst = max((entry for entry in ledger if entry.on_path), key=lambda entry: abs(math.log(entry.discrepancy)))
    cause = f"no stage alone is far off; together they make {total:.3g}, and this one has the largest share"
    return Finding(worst.stage, worst.discrepancy, cause, ADVICE.get(worst.stage, ADVICE["reconstruction"]))


def _off(factor: float, tolerance: float) -> bool:
    return not (math.isfinite(factor) and factor > 0 and abs(math.log(factor)) <= math.log1p(tolerance))


SATURATED = "its output head is saturated: {share:.0%} of its outputs are at their ceiling"

UNKNOWN = "it hands on {factor:.4g} times the amplitude that it should"

CAUSES = {
    "loading": "the patterns hold {factor:.4g} times the amplitude that is on record",
    "mask": "pixels that never count are taken for good ones: the detector mask is applied on one side only",
    "transmitted amplitude": "photons and vacuum photons are not summed over the same pixels: the detector mask is "
    "applied on one side only",
    "probe": "the probe's amplitude was changed without a record; the object has {factor:.4g} times its due",
    "training probe": "the network's probe was normalised for training, and nothing makes up for it; the object has "
    "{factor:.4g} times its due",
    "grouping": "the patterns as drawn into groups have {factor:.4g} times the amplitude of the scan's",
    "input normalisation": "the input is normalised with the statistics of another split or another dose: it comes out "
    "{factor:.4g} times as strong as it should",
    "intensity scaler": "log_scale is not the one that the training ended with: it was changed, or loaded wrong",
    "training labels": "the true object shown to the training was scaled by {factor:.4g}, and the comparison is not",
    "training merge": "the merge inside the training does not keep a constant object, so the network learned to "
    "make up for it",
    "network": "its patches carry {factor:.4g} times the amplitude that the counts transmit",
    "solver": "the object carries {factor:.4g} times the amplitude that the counts transmit",
    "reconstruction": "the object carries {factor:.4g} times the amplitude that the counts transmit",
    "merge": "the sums over patches and over weights are not taken over the same pixels",
    "stitching": "the sum over patches is not divided by its weights",
    "stitching, edges": "weights are clamped before the division, which changes pixels with little light",
    "output scaling": "the object was multiplied by {factor:.4g} after it was found",
    "propagation": "the forward model does not keep photons: {factor:.4g} times the amplitude arrives",
    "truth": "the truth is in another gauge: its amplitude does not fit the photons on record",
    "comparison": "the object is less even than the truth, or more so: blur, noise, or regions that differ",
}

ADVICE = {
    "loading": "check how the file was read and what was done to the counts before",
    AMPLITUDES: "load the file with `--domain amplitude`",
    SQUARES: "load the file with `--domain counts`",
    OVERFLOW: "convert to float64 or to a wider integer before squaring",
    CLIPPED: "attenuate the beam, or mask the pixels that saturate",
    "mask": "mask those pixels in the scan file; `ptypinn info` shows them",
    "transmitted amplitude": "sum counts and predicted counts over the good pixels on both sides",
    "probe": "give the photons per pattern with `--photons`, or the probe as it was measured",
    "training probe": "reconstruct with `--probe-from scan`, or train with a probe in sqrt(photons)",
    "grouping": "look at the positions: a few patterns may be drawn far more often than others",
    "input normalisation": "train again; do not normalise patterns by hand",
    "intensity scaler": "load the model file as the training wrote it, or train again",
    "training labels": "train with the truth in transmission units, or without `--realspace`",
    "training merge": "train again with a merge that divides by the weights that it sums",
    "network": "train longer or on data like these; `--prediction-scale flux` closes the flux meanwhile",
    "saturated": "use an output head without a ceiling below the object's amplitude",
    "solver": "give it more iterations, and look at the residual",
    "reconstruction": "state the probe in sqrt(photons), or scale the object by flux",
    "merge": "mask patches and weights alike",
    "stitching": "divide by the sum of weights on every pixel with light",
    "stitching, edges": "leave pixels without light out; do not clamp their weights",
    "output scaling": "reconstruct with `--prediction-scale none`, and find the stage that made scaling necessary",
    "propagation": "use the orthonormal Fourier transform, and keep patches inside the canvas",
    "truth": "compare with the truth in transmission units, dimensionless",
    "comparison": "look at the pictures: compare sharpness and the compared region",
    "not finite": "look for infinities in the scan file; train with a lower --learning-rate",
}
