"""The ledger of a reconstruction: every factor between the counts of a scan and the amplitude of its object.

With a truth, the discrepancies on the path multiply to `output_vs_truth_ratio`; without one, to the square root of the
flux closure. Amplitudes are root mean squares weighted by the illumination, as photons weight them; the last entry
converts to the plain mean over well-illuminated pixels, of which the ratio is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.scan_rotation import repeat_turn
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.optics import probe_photons
from ptypinn.scale import LedgerEntry, compute_stats
from ptypinn.scale.ledger_entry import parse_entries
from ptypinn.scale_audit.count_checks import sample_patterns
from ptypinn.scale_audit.photon_budget import PhotonBudget, compute_photon_budget, rms_transmission

BEFORE_NETWORK = ("grouping", "input normalisation", "intensity scaler", "transmitted amplitude")
AFTER_NETWORK = ("merge", "stitching", "stitching, edges", "closing factor", "output scaling")
NOT_PATTERNS = "no object makes such patterns, so that neighbours contradict each other"
MIN_RESPONDING = 0.95
"""Fraction of the photons on pixels that respond, below which the patterns are taken for those of no object."""
SOLVER_ENTRY = {"refine": "solver", "reconstruct": "network"}
"""Name of the entry of the object itself, by the stage that reconstructed it."""
MAX_MASKED_FRACTION = 0.02
"""Fraction of the photons on masked pixels from which the ledger has a note of it."""


@dataclass(frozen=True)
class Ledger:
    """Entries from counts to object, and the total that they multiply to."""

    entries: list[LedgerEntry]
    """Entries in the order from counts to object."""
    total: float
    """`output_vs_truth_ratio`, or the square root of the flux closure."""
    total_name: str
    """`output_vs_truth_ratio` or `sqrt_flux_closure`."""


def build_ledger(
    recon: Reconstruction, scan: ScanData, fit: DataFit | None = None, part: ScanData | None = None
) -> Ledger:
    """Follow amplitude from the counts of a scan to a reconstructed object.

    Args:
        recon: The reconstruction; entries that only its run could measure are taken from `recon.scale`.
        scan: The whole scan that it was made from.
        fit: Its agreement with the counts; None to compute it.
        part: The patterns that took part; None to select them.

    Raises:
        InputError: If the two do not belong together.
    """
    part = recon.scan_part(scan) if part is None else part
    _check_positions(recon, part)
    fit = fit or compute_data_fit(part, recon.sample, recon.probe, recon.positions_px)
    budget, recorded = compute_photon_budget(recon, scan, part, fit), parse_entries(recon.scale)
    has_truth = budget.truth is not None
    after = [recorded[name] for name in AFTER_NETWORK if name in recorded]
    entries = _entries_before_solving(recon, part, budget)
    entries += [recorded[name] for name in BEFORE_NETWORK if name in recorded]
    entries.append(_object_entry(recon, budget, recorded, after))
    entries += after if has_truth else [weight_by_illumination(entry) for entry in after]
    entries.append(_propagation_entry(recon, fit, on_path=not has_truth))
    total, name = math.sqrt(fit.flux_closure), "sqrt_flux_closure"
    if budget.truth is not None:
        total, name = _output_vs_truth_ratio(recon, budget.truth), "output_vs_truth_ratio"
        entries += _truth_entries(recon, budget.truth, budget, after)
    return Ledger(entries, total, name)


def _check_positions(recon: Reconstruction, part: ScanData) -> None:
    if np.abs(recon.positions_px + recon.origin_px - repeat_turn(part, recon).positions_px).max() > part.size / 2:
        fault = "positions more than half a pattern away from the scan's"
        raise InputError(part.source, "reconstruction", fault, "a reconstruction of this scan")


def _entries_before_solving(recon: Reconstruction, part: ScanData, budget: PhotonBudget) -> list[LedgerEntry]:
    """Return the entries of loading, mask and probe, to which flux closure alone is blind."""
    coverage, has_truth = budget.coverage, budget.truth is not None
    counted = math.sqrt(budget.measured / coverage.responding_fraction)
    probe_source = f"sqrt of photons through vacuum: {budget.probe_source}, and of the probe used"
    mask_source = "sqrt of the photons on good pixels, and of those on good pixels that ever count"
    stated, used = math.sqrt(budget.probe_expected), math.sqrt(budget.probe_used)
    return [
        LedgerEntry(
            "loading",
            math.sqrt(budget.expected * coverage.good_fraction),
            counted,
            budget.source,
            on_path=has_truth,
            counting_tolerance=budget.counting_tolerance,
            note=budget.fault.cause if budget.fault else "",
            stats=compute_stats(sample_patterns(part)[:, part.good]),
        ),
        LedgerEntry(
            "mask",
            1.0,
            math.sqrt(coverage.responding_fraction),
            mask_source,
            on_path=has_truth,
            stats=compute_stats(part.good),
        ),
        *_scan_probe_entry(stated, part, budget),
        LedgerEntry(
            "probe",
            stated,
            used,
            probe_source,
            inverse=True,
            on_path=has_truth,
            note=budget.probe_change,
            stats=compute_stats(recon.probe),
        ),
    ]


def _scan_probe_entry(stated: float, part: ScanData, budget: PhotonBudget) -> list[LedgerEntry]:
    """Return the entry of the scan's own probe: it differs if another one, such as a model's, was used."""
    if budget.probe_of_scan is None or part.probe is None:
        return []
    source = f"sqrt of photons through vacuum: {budget.probe_source}, and of the scan's own probe"
    amplitude, stats = math.sqrt(budget.probe_of_scan), compute_stats(part.probe)
    return [LedgerEntry("probe as given", stated, amplitude, source, inverse=True, on_path=False, stats=stats)]


def _object_entry(
    recon: Reconstruction, budget: PhotonBudget, recorded: Mapping[str, LedgerEntry], after: Sequence[LedgerEntry]
) -> LedgerEntry:
    """Compare the object's amplitude, without the factors of the stages around the network, with that of the counts."""
    stage = SOLVER_ENTRY.get(str(recon.provenance.get("stage")), "reconstruction")
    around = [recorded[name] for name in ("intensity scaler",) if name in recorded]
    around += [entry for entry in after if entry.on_path]
    used = recorded["transmitted amplitude"].discrepancy if "transmitted amplitude" in recorded else 1.0
    factor = math.prod(weight_by_illumination(entry).discrepancy for entry in around)
    measured = rms_transmission(recon.object, recon.illumination) / factor
    source = "rms transmission: as counted, and of the object before merge errors and scaling"
    stats = recorded[stage].stats if stage in recorded else compute_stats(recon.object)
    masked = 1 - budget.coverage.good_fraction
    note = f"{masked:.0%} of the photons fall on masked pixels, where no count constrains the object"
    note = note if masked > MAX_MASKED_FRACTION else ""
    note = NOT_PATTERNS if budget.fault or budget.coverage.responding_fraction < MIN_RESPONDING else note
    return LedgerEntry(stage, budget.transmission * used, measured, source, note=note, stats=stats)


def _propagation_entry(recon: Reconstruction, fit: DataFit, on_path: bool) -> LedgerEntry:
    """Compare photons on the detector with those in the exit waves: propagation preserves them."""
    behind = rms_transmission(recon.object, recon.illumination) ** 2 * probe_photons(recon.probe)
    arrived = float(fit.predicted_map.sum()) / len(recon.positions_px)
    source = "sqrt of photons behind the sample, and on the detector as predicted"
    stats = compute_stats(fit.predicted_map)
    return LedgerEntry("propagation", math.sqrt(behind), math.sqrt(arrived), source, on_path=on_path, stats=stats)


def weight_by_illumination(entry: LedgerEntry) -> LedgerEntry:
    """Return the entry with its root mean square weighted by the illumination as the measured factor."""
    if entry.illumination_weighted is None:
        return entry
    return replace(entry, measured=entry.illumination_weighted, illumination_weighted=None)


def _comparison_mask(recon: Reconstruction, truth: np.ndarray) -> np.ndarray:
    return recon.well_illuminated() & np.isfinite(truth) & np.isfinite(recon.object)


def _mean_amplitude(image: np.ndarray, pixels: np.ndarray) -> float:
    return float(np.abs(image[pixels]).mean(dtype=np.float64))


def _output_vs_truth_ratio(recon: Reconstruction, truth: np.ndarray) -> float:
    """Return the mean amplitude over that of the truth, on well-illuminated pixels."""
    pixels = _comparison_mask(recon, truth)
    if not pixels.any():
        raise InputError(
            "reconstruction", "frame", "no illuminated pixel in common with the truth", "an object of this scan"
        )
    return _mean_amplitude(recon.object, pixels) / _mean_amplitude(truth, pixels)


def _truth_entries(
    recon: Reconstruction, truth: np.ndarray, budget: PhotonBudget, after: Sequence[LedgerEntry]
) -> list[LedgerEntry]:
    """Compare the truth with the photons on record, and the object with the truth."""
    pixels, inside = _comparison_mask(recon, truth), np.isfinite(truth)
    true_rms = rms_transmission(truth, np.where(inside, recon.illumination, 0.0))
    object_rms = rms_transmission(recon.object, recon.illumination)
    on_path = [entry for entry in after if entry.on_path]
    weighting = math.prod(weight_by_illumination(entry).discrepancy / entry.discrepancy for entry in on_path)
    stated = math.sqrt(budget.expected / budget.probe_expected)
    source = "rms transmission: by photons expected with and without sample, and of the truth"
    gauge = LedgerEntry(
        "truth",
        stated,
        true_rms,
        source,
        inverse=True,
        counting_tolerance=budget.counting_tolerance,
        stats=compute_stats(truth[inside]),
    )
    source = "mean amplitude on well-illuminated pixels over rms transmission: of the truth, and of the object"
    expected = _mean_amplitude(truth, pixels) / true_rms
    measured = _mean_amplitude(recon.object, pixels) / object_rms * weighting if object_rms > 0 else expected
    return [gauge, LedgerEntry("comparison", expected, measured, source, stats=compute_stats(recon.object[pixels]))]


def insert_cause(entries: list[LedgerEntry], cause: LedgerEntry, stage: str) -> list[LedgerEntry]:
    """Insert an entry on the path before a stage, which is then expected to pass its factor on."""
    explained = []
    for entry in entries:
        if entry.stage == stage:
            explained += [cause, replace(entry, expected=entry.expected * cause.discrepancy)]
        else:
            explained.append(entry)
    return explained


def attach_ledger(
    recon: Reconstruction,
    scan: ScanData,
    run: Sequence[LedgerEntry],
    fit: DataFit | None = None,
    part: ScanData | None = None,
) -> Reconstruction:
    """Return the reconstruction with its ledger.

    Args:
        recon: The reconstruction.
        scan: The whole scan that it was made from.
        run: Entries that only the run could measure.
        fit: Agreement with the counts; None to compute it.
        part: The patterns that took part; None to select them.
    """
    factor = float(recon.prediction_scale.get("factor", 1.0))
    source = f"prediction scaling: {recon.prediction_scale.get('source', 'none')}"
    scaling = LedgerEntry("output scaling", 1.0, factor, source, stats=compute_stats(recon.object))
    measured = [*run, scaling] if recon.prediction_scale else [*run]
    measured_recon = replace(recon, scale=[entry.as_json() for entry in measured])
    ledger = build_ledger(measured_recon, scan, fit, part)
    return replace(recon, scale=[entry.as_json() for entry in ledger.entries])
