"""The closing sequence of every solver: flux, prediction scale, data fit, uncertainty and ledger, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import compute_data_fit, compute_flux_factor, sum_photons
from ptypinn.scale import (
    LedgerEntry,
    PredictionScale,
    ScaleSource,
    compute_stats,
    estimate_flux_scale,
    estimate_least_squares_scale,
    load_recorded_scale,
)
from ptypinn.scale_audit.ledger import attach_ledger
from ptypinn.scale_audit.photon_budget import truth_on_canvas
from ptypinn.uncertainty import add_uncertainty

FLUX_SOURCE = "closed form: the global factor of largest likelihood, which the object holds"


def finalise(
    reconstruction: Reconstruction,
    scan: ScanData,
    *,
    device: torch.device,
    batch: int = 128,
    match_flux: bool = False,
    prediction_scale: ScaleSource | None = None,
    recorded_gauge: float | None = None,
    model_card: Mapping[str, Any] | None = None,
    run_entries: Callable[[DataFit], Sequence[LedgerEntry]] | None = None,
    whole_scan: ScanData | None = None,
) -> Reconstruction:
    """Scale a solver's object, and add the data fit, the uncertainty and the ledger.

    Args:
        reconstruction: Object, probe and positions as the solver left them.
        scan: The patterns that it was made from, with a calibrated probe.
        device: Where to compute.
        batch: Patterns in memory at once.
        match_flux: Multiply the object by the factor of largest likelihood.
        prediction_scale: Source of the factor on the finished object; None for a solver without prediction scaling.
        recorded_gauge: Amplitude factor that the training has on record.
        model_card: Card of the network's weights, with the range of their training; None where no network took part.
        run_entries: Ledger entries that only the run could measure, from the data fit.
        whole_scan: The scan of which `scan` is a part; None where it is the whole.
    """
    entries: list[LedgerEntry] = []
    scan = reconstruction.scan_part(scan)
    if match_flux:
        reconstruction, entries = normalise_flux(reconstruction, scan, batch=batch, device=device)
    if prediction_scale is not None:
        scale = _estimate_scale(reconstruction, scan, prediction_scale, recorded_gauge, batch, device)
        reconstruction = apply_prediction_scale(reconstruction, scale)
    fit = compute_data_fit(scan, *_arrays(reconstruction), batch=batch, device=device)
    entries += [] if run_entries is None else run_entries(fit)
    whole_scan = whole_scan or scan
    reconstruction = add_uncertainty(reconstruction.with_fit(fit, whole_scan), scan, fit, model_card)
    return attach_ledger(reconstruction, whole_scan, entries, fit, scan)


def normalise_flux(
    reconstruction: Reconstruction, scan: ScanData, *, batch: int = 128, device: torch.device
) -> tuple[Reconstruction, list[LedgerEntry]]:
    """Multiply an object by the global factor of largest likelihood.

    Args:
        reconstruction: Object, probe and positions as the solver left them.
        scan: The patterns that it was made from.
        batch: Patterns in memory at once.
        device: Where to compute.

    Returns:
        The reconstruction, its object scaled where it was illuminated, and the ledger entry for the factor, in a list.
    """
    measured, predicted = sum_photons(scan, *_arrays(reconstruction), batch=batch, device=device)
    factor = compute_flux_factor(1.0, predicted / measured) ** 0.5
    scaled = _scale_illuminated(reconstruction, factor)
    stats = compute_stats(scaled.object)
    return scaled, [LedgerEntry("closing factor", 1.0, factor, FLUX_SOURCE, on_path=False, stats=stats)]


def apply_prediction_scale(reconstruction: Reconstruction, scale: PredictionScale) -> Reconstruction:
    """Multiply an object by a recorded factor; the object before it, and the source of the factor, stay with it."""
    record = asdict(scale)
    if scale.source == "none":
        return replace(reconstruction, prediction_scale=record)
    scaled = _scale_illuminated(reconstruction, scale.factor)
    return replace(scaled, unscaled=reconstruction.object, prediction_scale=record)


def _arrays(reconstruction: Reconstruction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return reconstruction.sample, reconstruction.probe, reconstruction.positions_px


def _scale_illuminated(reconstruction: Reconstruction, factor: float) -> Reconstruction:
    """Multiply an object where it was illuminated; every slice of a thick one by the same factor."""
    canvas, slices, lit = reconstruction.object, reconstruction.slices, reconstruction.illumination > 0
    scaled = np.where(lit, canvas * np.float32(factor), canvas)
    if slices is not None:
        slices = np.where(lit, slices * np.float32(factor ** (1 / len(slices))), slices)
    return replace(reconstruction, object=scaled, slices=slices)


def _estimate_scale(
    reconstruction: Reconstruction,
    scan: ScanData,
    source: ScaleSource,
    recorded_gauge: float | None,
    batch: int,
    device: torch.device,
) -> PredictionScale:
    if source == "none":
        return PredictionScale()
    if source == "recorded":
        return load_recorded_scale(recorded_gauge)
    if source == "flux":
        return estimate_flux_scale(*sum_photons(scan, *_arrays(reconstruction), batch=batch, device=device))
    truth = truth_on_canvas(reconstruction, scan)
    return estimate_least_squares_scale(reconstruction.object, truth, reconstruction.well_illuminated())
