"""The ledger of a training: amplitudes in its last good epoch, compared with counts, record and input scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ptypinn.data.calibration import pattern_sums
from ptypinn.data.scan import ScanData
from ptypinn.models.patch_predictor import PHOTONS, PatchPredictor
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.scale import LedgerEntry, Stats, compute_input_scale, compute_stats
from ptypinn.scale_audit.count_checks import read_photon_record
from ptypinn.scale_audit.network_entries import build_conditioning_entries
from ptypinn.scale_audit.photon_budget import rms_transmission


def build_training_ledger(
    flow: Mapping[str, Mapping[str, Any]],
    predictor: PatchPredictor,
    scan: ScanData,
    patterns: np.ndarray,
    labels: Tensor | None = None,
) -> list[LedgerEntry]:
    """Build the ledger of the epoch that left these weights.

    Args:
        flow: Statistics that the training step recorded, in JSON form.
        predictor: The trained network.
        scan: The scan with its calibrated probe.
        patterns: Indices of the training patterns.
        labels: True object that was the training target, (height, width); None for none.
    """
    stats = {stage: Stats.from_json(record) for stage, record in flow.items()}
    photons = float(pattern_sums(scan)[patterns].mean())
    scaler = predictor.scaler
    learned = scaler.initial_scale * scaler.drift
    source = "initial and learned factor s, sqrt(photons)"
    factor = LedgerEntry(
        "intensity scaler", scaler.initial_scale, learned, source, stats=compute_stats(np.array(learned))
    )
    scale = compute_input_scale(photons, scan.size) * scaler.drift
    return [
        _probe_entry(scan, predictor.photons),
        *build_conditioning_entries(stats, predictor, photons, scale),
        factor,
        *([_label_entry(scan, labels.cpu().numpy(), patterns, photons)] if labels is not None else []),
        *_prediction_entries(stats),
    ]


def compute_gauge(ledger: Sequence[LedgerEntry]) -> float | None:
    """Return the amplitude factor from the network's object to transmission, by the training photons."""
    closure = next((entry.discrepancy for entry in ledger if entry.stage == "propagation"), 0.0)
    return 1 / closure if closure > 0 and math.isfinite(closure) else None


def _probe_entry(scan: ScanData, photons: float) -> LedgerEntry:
    record = read_photon_record(scan)
    source = f"sqrt of photons through vacuum: {record.source}, and of the probe trained with"
    expected = photons if record.probe_photons is None else record.probe_photons
    stats = compute_stats(scan.require_probe())
    return LedgerEntry("probe", math.sqrt(expected), math.sqrt(photons), source, inverse=True, stats=stats)


def _label_entry(scan: ScanData, labels: np.ndarray, patterns: np.ndarray, photons: float) -> LedgerEntry:
    probe = scan.require_probe()
    illumination = compute_illumination_at(scan.positions_px[patterns], probe, (labels.shape[0], labels.shape[1]))
    vacuum = float(illumination.sum()) / len(patterns)
    source = "rms transmission: as counted, and of the true object that was the training target"
    rms = rms_transmission(labels, illumination)
    return LedgerEntry("training labels", math.sqrt(photons / vacuum), rms, source, stats=compute_stats(labels))


def _prediction_entries(stats: Mapping[str, Stats]) -> list[LedgerEntry]:
    """Build the entries of merge and propagation."""
    entries, merge, predicted, counted = [], stats["merge"].rms, stats["predicted photons"], stats[PHOTONS].mean
    if merge is not None:
        source = "rms of an object that is 1 everywhere, after the merge"
        entries.append(LedgerEntry("merge", 1.0, merge, source, stats=stats["merge"]))
    if predicted.mean and counted:
        closure = math.sqrt(predicted.mean / counted)
        source = "sqrt of predicted over measured photons"
        entries.append(LedgerEntry("propagation", 1.0, closure, source, stats=predicted))
    return entries
