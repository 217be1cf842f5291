"""The `diagnose` stage: follow amplitude from counts to object and name the stage that lost it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ptypinn.config.evaluate import DiagnoseConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.model_file import Bundle
from ptypinn.scale import LedgerEntry, multiply_discrepancies
from ptypinn.scale_audit.findings import COMPARISON, Finding, derive_findings
from ptypinn.scale_audit.ledger import SOLVER_ENTRY, Ledger, build_ledger, weight_by_illumination
from ptypinn.scale_audit.network_entries import parse_entries
from ptypinn.scale_audit.photon_budget import rms_transmission
from ptypinn.utils.serialise import to_plain

TOTALS = {"output_vs_truth_ratio": "amplitude over truth", "sqrt_flux_closure": "predicted over measured amplitude"}
AROUND = ("intensity scaler", "merge", "stitching", "output scaling")
"""Stages between the network's patches and the object."""
UNCHANGED = 0.02


@dataclass(frozen=True)
class Diagnosis:
    """Where amplitude went."""

    ledger: list[LedgerEntry]
    """Entries from counts to object; the discrepancies of those on the path multiply to the total."""
    total: float
    """What became of the amplitude in all; 1 is right."""
    total_name: str
    """`output_vs_truth_ratio`, or `sqrt_flux_closure` where there is no truth."""
    findings: list[Finding]
    """Stages that do not keep the scale, in the order from counts to object."""
    verdict: str
    """One sentence."""
    training: list[LedgerEntry] = field(default_factory=list)
    """Ledger of the training behind the reconstruction, where there is one."""

    @property
    def healthy(self) -> bool:
        """Whether every stage keeps the scale; an object that is only less even than the truth does."""
        return all(finding.stage == COMPARISON for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Everything in plain values."""
        plain: dict[str, Any] = to_plain(
            {
                "verdict": self.verdict,
                "healthy": self.healthy,
                self.total_name: self.total,
                "total": self.total,
                "total_name": self.total_name,
                "product_of_stages": multiply_discrepancies(self.ledger),
                "findings": [asdict(finding) for finding in self.findings],
                "ledger": [entry.as_json() for entry in self.ledger],
                "training_ledger": [entry.as_json() for entry in self.training],
            }
        )
        return plain


def diagnose(
    recon: Reconstruction,
    scan: ScanData | None = None,
    bundle: Bundle | None = None,
    config: DiagnoseConfig | None = None,
) -> Diagnosis:
    """Say which stage between counts and object lost amplitude, and how much.

    Args:
        recon: The reconstruction; it carries the entries that only its own run could measure.
        scan: The scan that it was made from; without it the ledger in the reconstruction is taken as it is.
        bundle: The model that made it; without it, what the reconstruction says about its model.
        config: What counts as a loss.

    Raises:
        InputError: Where the files do not belong together, or there is no ledger to go by.
    """
    config = config or DiagnoseConfig()
    whole = replace(recon, object=np.where(np.isfinite(recon.object), recon.object, 1.0).astype(np.complex64))
    found = _as_recorded(whole) if scan is None else build_ledger(whole, _calibrated_as_then(recon, scan))
    model = recon.provenance.get("model")
    records = model.get("scale") if bundle is None and isinstance(model, dict) else None
    training = parse_entries(records if bundle is None else bundle.header.scale)
    ledger, findings = derive_findings(found, training, config.tolerance)
    findings = [*_not_finite(recon), *([] if scan is not None else _changed_since(whole)), *findings]
    verdict = _verdict(findings, found, config.tolerance)
    return Diagnosis(ledger, found.total, found.total_name, findings, verdict, list(training.values()))


def _calibrated_as_then(recon: Reconstruction, scan: ScanData) -> ScanData:
    """The scan with its probe in sqrt(photons), as it was for the reconstruction where that is on record."""
    if scan.probe is None:
        return scan
    then = recon.provenance.get("scan")
    record = then.get("probe_calibration") if isinstance(then, dict) else None
    photons = record.get("photons") if isinstance(record, dict) and scan.probe_gauge == "relative" else None
    return calibrate_probe(scan, photons=photons if isinstance(photons, float | int) and photons > 0 else None)


def _as_recorded(recon: Reconstruction) -> Ledger:
    ledger = list(parse_entries(recon.scale).values())
    if not ledger:
        raise InputError("reconstruction", "scale", "no scale ledger", "the scan that it was made from as well")
    known = any(entry.stage == "truth" for entry in ledger)
    name = "output_vs_truth_ratio" if known else "sqrt_flux_closure"
    return Ledger(ledger, multiply_discrepancies(ledger), name)


def _changed_since(recon: Reconstruction) -> list[Finding]:
    """An object that is no longer the one that the recorded ledger was made for."""
    entries = parse_entries(recon.scale)
    solved = next((entries[stage] for stage in SOLVER_ENTRY.values() if stage in entries), None)
    if solved is None or not solved.measured > 0:
        return []
    then = solved.measured * math.prod(weight_by_illumination(entries[s]).discrepancy for s in AROUND if s in entries)
    factor = rms_transmission(recon.object, recon.illumination) / then
    if abs(math.log(max(factor, 1e-30))) < UNCHANGED:
        return []
    cause = "the object is not the one that the recorded ledger was made for"
    return [Finding("object", factor, cause, "name the scan as well: `ptypinn diagnose RUN SCAN`")]


def _not_finite(recon: Reconstruction) -> list[Finding]:
    bad = int((~np.isfinite(recon.object)).sum())
    cause, advice = f"{bad} pixels of the object are not finite", "reconstruct again; the file holds no usable object"
    return [Finding("object", math.nan, cause, advice)] if bad else []


def _verdict(findings: list[Finding], found: Ledger, tolerance: float) -> str:
    total = f"{TOTALS[found.total_name]} is {found.total:.4f}"
    if not findings:
        return f"no loss: every stage keeps the scale, and {total}"
    named = "; ".join(_named(finding) for finding in findings)
    if all(finding.stage == COMPARISON for finding in findings):
        return f"no loss: every stage keeps the scale, but the object is not as even as the truth ({total}): {named}"
    if not any(finding.reaches_object for finding in findings):
        return f"no amplitude is lost ({total}), but something is wrong: {named}"
    number = {1: "one stage does", 2: "two stages do"}.get(len(findings), f"{len(findings)} stages do")
    right = found.total > 0 and abs(math.log(found.total)) <= math.log1p(tolerance)
    return f"{total}, {'but' if right else 'since'} {number} not keep the scale: {named}"


def _named(finding: Finding) -> str:
    factor = f"x{finding.factor:.4g}" if math.isfinite(finding.factor) else "(factor unknown)"
    return f"{finding.stage} {factor}: {finding.cause}"
