"""Ledger entries that only the run itself can measure: what flowed through network, merge and scaler."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ptypinn.models.model_file import BundleHeader
from ptypinn.models.patch_predictor import COUNTS, INPUT, PHOTONS, TEXTURE, TRANSMITTED, PatchPredictor
from ptypinn.scale import LedgerEntry, Stats, input_scale, stats_of

CONDITIONING = "it only conditions the network, which is blind to the scale of its input"


def entries_by_stage(records: object) -> dict[str, LedgerEntry]:
    """A ledger as it is kept in files, by stage; records of another make are left out."""
    found: dict[str, LedgerEntry] = {}
    for record in records if isinstance(records, list | tuple) else ():
        try:
            entry = LedgerEntry.from_json(record)
        except (KeyError, TypeError, ValueError):
            continue
        found[entry.stage] = entry
    return found


def conditioning_entries(
    flow: Mapping[str, Stats], predictor: PatchPredictor, photons: float, scale: float
) -> list[LedgerEntry]:
    """Grouping and input normalisation.

    Args:
        flow: What `PatchPredictor.patches` told a tape.
        predictor: The network with the scale that it used.
        photons: Mean photons per pattern on good pixels, as the scan has them.
        scale: Factor s that the input should be divided by, sqrt(photons).
    """
    seen, grouped = flow[INPUT].rms, flow[PHOTONS].mean
    if not (flow[COUNTS].rms and seen and grouped):
        return []
    filled = mean_photons(flow[COUNTS])
    edge = flow[INPUT].shape[-1]
    return [
        LedgerEntry(
            "grouping",
            math.sqrt(photons),
            math.sqrt(grouped),
            "sqrt of mean photons per pattern: of the scan, and as drawn into groups",
            on_path=False,
            stats=flow[COUNTS],
        ),
        LedgerEntry(
            "input normalisation",
            math.sqrt(filled) / scale / edge,
            seen,
            f"rms of the network's input, for s = {scale:.6g} by the training split; {CONDITIONING}",
            on_path=False,
            stats=flow[INPUT],
        ),
    ]


def sweep_entries(
    flow: Mapping[str, Stats], predictor: PatchPredictor, header: BundleHeader, photons: float
) -> list[LedgerEntry]:
    """What an inference did to amplitudes before and in the network.

    Args:
        flow: What `PatchPredictor.patches` told a tape.
        predictor: The network as it was loaded.
        header: The model's header with the ledger of its training, which the numbers of the header are held against.
        photons: Mean photons per pattern on good pixels, as the scan has them.
    """
    scaler, trained = predictor.scaler, entries_by_stage(header.scale)
    dose = scaler.initial_scale / header.input_scale
    scale = header.input_scale * dose
    if "grouping" in trained:
        scale = input_scale(trained["grouping"].expected ** 2, header.size) * dose
    drift = trained["intensity scaler"].discrepancy if "intensity scaler" in trained else 1.0
    entries = conditioning_entries(flow, predictor, photons, scale * scaler.drift)
    source = "learned over initial scale: as the training has it on record, and as loaded"
    learned = scaler.initial_scale * scaler.drift
    entries.append(LedgerEntry("intensity scaler", drift, scaler.drift, source, stats=stats_of(np.array(learned))))
    transmitted, grouped = flow[TRANSMITTED].rms, flow[PHOTONS].mean
    if grouped and transmitted:
        counted = math.sqrt(grouped / predictor.vacuum_photons)
        source = "rms of sqrt(photons over vacuum photons) on good pixels, and as used"
        stats = flow[TRANSMITTED]
        entries.append(LedgerEntry("transmitted amplitude", counted, transmitted, source, stats=stats))
    if flow[TEXTURE].rms:
        stats = flow[TEXTURE]
        entries.append(LedgerEntry("network", 1.0, 1.0, "texture of the patches", stats=stats))
    return entries


def mean_photons(counts: Stats) -> float:
    """Photons per pattern from the statistics of patterns, (..., y, x)."""
    assert counts.mean is not None
    return counts.mean * math.prod(counts.shape[-2:])
