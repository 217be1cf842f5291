"""The `diagnose` stage: follow amplitude from counts to object, and name the stages that change it."""

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
from ptypinn.models.model_file import PatchModel
from ptypinn.scale import LedgerEntry, multiply_discrepancies
from ptypinn.scale.ledger_entry import parse_entries
from ptypinn.scale_audit.findings import COMPARISON, Finding, derive_findings
from ptypinn.scale_audit.ledger import SOLVER_ENTRY, Ledger, build_ledger, weight_by_illumination
from ptypinn.scale_audit.photon_budget import rms_transmission
from ptypinn.utils.plain_values import to_plain

DEFAULTS = DiagnoseConfig()
TOTALS = {"output_vs_truth_ratio": "amplitude over truth", "sqrt_flux_closure": "predicted over measured amplitude"}
NETWORK_TO_OBJECT = ("intensity scaler", "merge", "stitching", "output scaling")
"""Stages between the network's patches and the object."""
MAX_OBJECT_CHANGE = 0.02
"""Relative change of the object's amplitude up to which the recorded ledger is taken for its own."""


@dataclass(frozen=True)
class Diagnosis:
    """Ledger of a reconstruction, and the findings in it."""

    ledger: list[LedgerEntry]
    """Entries from counts to object; the discrepancies of those on the path multiply to the total."""
    total: float
    """Total factor on the amplitude; 1 is right."""
    total_name: str
    """`output_vs_truth_ratio`, or `sqrt_flux_closure` without a truth."""
    findings: list[Finding]
    """Stages that do not preserve the scale, in the order from counts to object."""
    verdict: str
    """Summary in one sentence."""
    training: list[LedgerEntry] = field(default_factory=list)
    """Ledger of the training behind the reconstruction; empty for none."""

    @property
    def healthy(self) -> bool:
        """True if every stage preserves the scale; an object that is merely less uniform than the truth is healthy."""
        return all(finding.stage == COMPARISON for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return everything in JSON-able values."""
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
    model: PatchModel | None = None,
    config: DiagnoseConfig = DEFAULTS,
) -> Diagnosis:
    """Find the stages between counts and object that change the amplitude scale, and by how much.

    Args:
        recon: The reconstruction, with the entries that only its own run could measure.
        scan: The scan that it was made from; without it, the ledger in the reconstruction is used.
        model: The model that made it; without it, the model's record in the reconstruction is used.
        config: Tolerance of the findings.

    Raises:
        InputError: If the files do not belong together, or no ledger was recorded.
    """
    whole = replace(recon, object=np.where(np.isfinite(recon.object), recon.object, 1.0).astype(np.complex64))
    ledger = _recorded_ledger(whole) if scan is None else build_ledger(whole, _calibrate_as_recorded(recon, scan))
    recorded = recon.provenance.get("model")
    records = recorded.get("scale") if model is None and isinstance(recorded, dict) else None
    training = parse_entries(records if model is None else model.header.scale)
    entries, findings = derive_findings(ledger, training, config.tolerance)
    findings = [*_not_finite(recon), *([] if scan is not None else _object_changed(whole)), *findings]
    verdict = _verdict(findings, ledger, config.tolerance)
    return Diagnosis(entries, ledger.total, ledger.total_name, findings, verdict, list(training.values()))


def _calibrate_as_recorded(recon: Reconstruction, scan: ScanData) -> ScanData:
    """Calibrate the probe of the scan as the reconstruction recorded it, else by the default rule."""
    if scan.probe is None:
        return scan
    recorded = recon.provenance.get("scan")
    record = recorded.get("probe_calibration") if isinstance(recorded, dict) else None
    photons = record.get("photons") if isinstance(record, dict) and scan.probe_gauge == "relative" else None
    return calibrate_probe(scan, photons=photons if isinstance(photons, float | int) and photons > 0 else None)


def _recorded_ledger(recon: Reconstruction) -> Ledger:
    entries = list(parse_entries(recon.scale).values())
    if not entries:
        raise InputError("reconstruction", "scale", "no scale ledger", "the scan that it was made from as well")
    has_truth = any(entry.stage == "truth" for entry in entries)
    name = "output_vs_truth_ratio" if has_truth else "sqrt_flux_closure"
    return Ledger(entries, multiply_discrepancies(entries), name)


def _object_changed(recon: Reconstruction) -> list[Finding]:
    """Return a finding if the object is no longer the one that the recorded ledger was made for."""
    entries = parse_entries(recon.scale)
    solved = next((entries[stage] for stage in SOLVER_ENTRY.values() if stage in entries), None)
    if solved is None or not solved.measured > 0:
        return []
    stages = [stage for stage in NETWORK_TO_OBJECT if stage in entries]
    recorded = solved.measured * math.prod(weight_by_illumination(entries[stage]).discrepancy for stage in stages)
    factor = rms_transmission(recon.object, recon.illumination) / recorded
    if abs(math.log(max(factor, 1e-30))) < MAX_OBJECT_CHANGE:
        return []
    cause = "the object is not the one that the recorded ledger was made for"
    return [Finding("object", factor, cause, "give the scan as well: `ptypinn diagnose RUN SCAN`")]


def _not_finite(recon: Reconstruction) -> list[Finding]:
    bad = int((~np.isfinite(recon.object)).sum())
    cause, advice = f"{bad} pixels of the object are not finite", "reconstruct again; the file holds no usable object"
    return [Finding("object", math.nan, cause, advice)] if bad else []


def _verdict(findings: list[Finding], ledger: Ledger, tolerance: float) -> str:
    total = f"{TOTALS[ledger.total_name]} is {ledger.total:.4f}"
    if not findings:
        return f"no loss: every stage preserves the scale, and {total}"
    stages = "; ".join(_describe(finding) for finding in findings)
    if all(finding.stage == COMPARISON for finding in findings):
        healthy = "no loss: every stage preserves the scale"
        return f"{healthy}, but the object is not as uniform as the truth ({total}): {stages}"
    if not any(finding.reaches_object for finding in findings):
        return f"no amplitude is lost ({total}), but something is wrong: {stages}"
    number = {1: "one stage does", 2: "two stages do"}.get(len(findings), f"{len(findings)} stages do")
    right = ledger.total > 0 and abs(math.log(ledger.total)) <= math.log1p(tolerance)
    return f"{total}, {'but' if right else 'since'} {number} not preserve the scale: {stages}"


def _describe(finding: Finding) -> str:
    factor = f"x{finding.factor:.4g}" if math.isfinite(finding.factor) else "(factor unknown)"
    return f"{finding.stage} {factor}: {finding.cause}"
