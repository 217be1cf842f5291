"""Ledger entries that only the run itself can measure: amplitudes through network and intensity scaler."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ptypinn.models.model_file import PatchModelHeader
from ptypinn.models.patch_predictor import COUNTS, INPUT, PHOTONS, TEXTURE, TRANSMITTED, PatchPredictor
from ptypinn.scale import LedgerEntry, Stats, compute_input_scale, compute_stats
from ptypinn.scale.ledger_entry import parse_entries

CONDITIONING = "the network does not depend on the scale of its input"
"""Remark on entries that do not reach the object."""


def build_conditioning_entries(
    flow: Mapping[str, Stats], predictor: PatchPredictor, photons: float, scale: float
) -> list[LedgerEntry]:
    """Build the entries of grouping and input normalisation.

    Args:
        flow: Statistics that `PatchPredictor.patches` recorded.
        predictor: The network with the scale that it used.
        photons: Mean photons per pattern on good pixels of the scan.
        scale: Factor s that the input should be divided by, sqrt(photons).
    """
    input_rms, grouped = flow[INPUT].rms, flow[PHOTONS].mean
    if not (flow[COUNTS].rms and input_rms and grouped):
        return []
    photons_filled = mean_photons(flow[COUNTS])
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
            math.sqrt(photons_filled) / scale / edge,
            input_rms,
            f"rms of the network's input, for s = {scale:.6g} of the training split; {CONDITIONING}",
            on_path=False,
            stats=flow[INPUT],
        ),
    ]


def build_network_entries(
    flow: Mapping[str, Stats], predictor: PatchPredictor, header: PatchModelHeader, photons: float
) -> list[LedgerEntry]:
    """Build the entries of an inference, before and in the network.

    Args:
        flow: Statistics that `PatchPredictor.patches` recorded.
        predictor: The network as it was loaded.
        header: The model's header with the ledger of its training, with which the header is compared.
        photons: Mean photons per pattern on good pixels of the scan.
    """
    scaler, training = predictor.scaler, parse_entries(header.scale)
    dose = scaler.initial_scale / header.input_scale
    scale = header.input_scale * dose
    if "grouping" in training:
        scale = compute_input_scale(training["grouping"].expected ** 2, header.size) * dose
    drift = training["intensity scaler"].discrepancy if "intensity scaler" in training else 1.0
    entries = build_conditioning_entries(flow, predictor, photons, scale * scaler.drift)
    source = "learned over initial scale: as the training recorded it, and as loaded"
    learned = scaler.initial_scale * scaler.drift
    entries.append(LedgerEntry("intensity scaler", drift, scaler.drift, source, stats=compute_stats(np.array(learned))))
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
