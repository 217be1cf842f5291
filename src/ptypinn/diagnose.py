"""The `diagnose` stage: follow amplitude from counts to object and name the stage that lost it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ptypinn.config.diagnose import DiagnoseConfig
from ptypinn.data.calibrate import calibrate_probe
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.diagnosis.account import Account, account
from ptypinn.diagnosis.findings import Finding, findings_in
from ptypinn.diagnosis.flow import entries_by_stage
from ptypinn.diagnosis.records import probe_photons, record_of
from ptypinn.errors import InputError
from ptypinn.models.bundle import Bundle
from ptypinn.plain import to_plain
from ptypinn.scale import LedgerEntry, product

TOTALS = {"output_vs_truth_ratio": "amplitude over truth", "sqrt_flux_closure": "predicted over measured amplitude"}


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
        """Whether every stage keeps the scale."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """Everything in plain values."""
        plain: dict[str, Any] = to_plain(
            {
                "verdict": self.verdict,
                "healthy": self.healthy,
                self.total_name: self.total,
                "total": self.total,
                "total_name": self.total_name,
                "product_of_stages": product(self.ledger),
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
    if scan is None:
        found, own_probe = _as_recorded(recon), None
    else:
        scan = scan if scan.probe is None else calibrate_probe(scan)
        found, own_probe = account(recon, scan), _own_probe(scan)
    records = (recon.provenance.get("model") or {}).get("scale") or [] if bundle is None else bundle.header.scale
    training = entries_by_stage(records)
    ledger, findings = findings_in(found, training, own_probe, config.tolerance)
    findings += _not_finite(recon)
    verdict = _verdict(findings, found, config.tolerance)
    return Diagnosis(ledger, found.total, found.total_name, findings, verdict, list(training.values()))


def _as_recorded(recon: Reconstruction) -> Account:
    ledger = list(entries_by_stage(recon.scale).values())
    if not ledger:
        raise InputError("reconstruction", "scale", "no scale ledger", "the scan that it was made from as well")
    known = any(entry.stage == "truth" for entry in ledger)
    name = "output_vs_truth_ratio" if known else "sqrt_flux_closure"
    return Account(ledger, product(ledger), name)


def _own_probe(scan: ScanData) -> float | None:
    """Factor by which the scan's own probe departs from the record, on the object's amplitude."""
    recorded = record_of(scan).probe_photons
    if scan.probe is None:
        return None
    return 1.0 if recorded is None else math.sqrt(recorded / probe_photons(scan.probe))


def _not_finite(recon: Reconstruction) -> list[Finding]:
    bad = int((~np.isfinite(recon.object)).sum())
    cause, advice = f"{bad} pixels of the object are not finite", "reconstruct again; the file holds no usable object"
    return [Finding("object", math.nan, cause, advice)] if bad else []


def _verdict(findings: list[Finding], found: Account, tolerance: float) -> str:
    total = f"{TOTALS[found.total_name]} is {found.total:.4f}"
    if not findings:
        return f"no loss: every stage keeps the scale, and {total}"
    named = "; ".join(f"{finding.stage} x{finding.factor:.4g}: {finding.cause}" for finding in findings)
    if not any(finding.reaches_object for finding in findings):
        return f"no amplitude is lost ({total}), but something is wrong: {named}"
    number = {1: "one stage does", 2: "two stages do"}.get(len(findings), f"{len(findings)} stages do")
    right = abs(math.log(found.total)) <= math.log1p(tolerance) if found.total > 0 else False
    return f"{total}, {'but' if right else 'since'} {number} not keep the scale: {named}"
