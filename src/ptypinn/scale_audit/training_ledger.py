"""The ledger of a training: what its last good epoch did to amplitudes, held against counts, record and contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ptypinn.data.calibration import pattern_sums
from ptypinn.data.scan import ScanData
from ptypinn.models.patch_predictor import PHOTONS, PatchPredictor
from ptypinn.physics.illumination import illumination_at
from ptypinn.scale import LedgerEntry, Stats, input_scale, stats_of
from ptypinn.scale_audit.count_checks import record_of
from ptypinn.scale_audit.network_entries import conditioning_entries
from ptypinn.scale_audit.photon_budget import rms_transmission


def training_ledger(
    flow: Mapping[str, Mapping[str, Any]],
    predictor: PatchPredictor,
    scan: ScanData,
    patterns: np.ndarray,
    labels: Tensor | None = None,
) -> list[LedgerEntry]:
    """What the epoch that left these weights did to amplitudes.

    Args:
        flow: Statistics that the training step gathered, in plain form.
        predictor: The trained network.
        scan: The scan with its calibrated probe.
        patterns: Which patterns trained.
        labels: True object that the training was shown, (height, width); None for none.
    """
    seen = {stage: Stats.from_json(stats) for stage, stats in flow.items()}
    photons = float(pattern_sums(scan)[patterns].mean())
    scaler = predictor.scaler
    learned = scaler.initial_scale * scaler.drift
    source = "initial and learned factor s, sqrt(photons)"
    factor = LedgerEntry("intensity scaler", scaler.initial_scale, learned, source, stats=stats_of(np.array(learned)))
    scale = input_scale(photons, scan.size) * scaler.drift
    return [
        _probe(scan, predictor.photons),
        *conditioning_entries(seen, predictor, photons, scale),
        factor,
        *([_labels(scan, labels.cpu().numpy(), patterns, photons)] if labels is not None else []),
        *_explained(seen),
    ]


def gauge_of(ledger: Sequence[LedgerEntry]) -> float | None:
    """Amplitude factor from the network's object to transmission, by the photons of the training patterns."""
    closure = next((entry.discrepancy for entry in ledger if entry.stage == "propagation"), 0.0)
    return 1 / closure if closure > 0 and math.isfinite(closure) else None


def _probe(scan: ScanData, photons: float) -> LedgerEntry:
    record = record_of(scan)
    source = f"sqrt of photons through vacuum: {record.source}, and of the probe trained with"
    expected = photons if record.probe_photons is None else record.probe_photons
    stats = stats_of(scan.require_probe())
    return LedgerEntry("probe", math.sqrt(expected), math.sqrt(photons), source, inverse=True, stats=stats)


def _labels(scan: ScanData, labels: np.ndarray, patterns: np.ndarray, photons: float) -> LedgerEntry:
    probe = scan.require_probe()
    light = illumination_at(scan.positions_px[patterns], probe, (labels.shape[0], labels.shape[1]))
    vacuum = float(light.sum()) / len(patterns)
    source = "rms transmission: as counted, and of the true object that the training was shown"
    shown = rms_transmission(labels, light)
    return LedgerEntry("training labels", math.sqrt(photons / vacuum), shown, source, stats=stats_of(labels))


def _explained(seen: Mapping[str, Stats]) -> list[LedgerEntry]:
    """Merge and propagation."""
    entries, merge, predicted, counted = [], seen["merge"].rms, seen["predicted photons"], seen[PHOTONS].mean
    if merge is not None:
        source = "what the merge makes of an object that is 1 everywhere"
        entries.append(LedgerEntry("merge", 1.0, merge, source, stats=seen["merge"]))
    if predicted.mean and counted:
        closure = math.sqrt(predicted.mean / counted)
        source = "sqrt of predicted over measured photons"
        entries.append(LedgerEntry("propagation", 1.0, closure, source, stats=predicted))
    return entries
