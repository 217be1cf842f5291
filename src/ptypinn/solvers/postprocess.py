"""Apply prediction scaling to a finished object: recorded at training, by flux, by a truth, or not at all."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import DataFit, data_fit
from ptypinn.scale import (
    LedgerEntry,
    PredictionScale,
    ScaleSource,
    flux_factor,
    flux_scale,
    least_squares_scale,
    recorded_scale,
    stats_of,
)
from ptypinn.scale_audit.photon_budget import truth_on_canvas

CLOSED = "closed form: the global factor of largest likelihood, which the object holds"


def close_flux(
    found: Reconstruction, scan: ScanData, *, batch: int = 128, device: torch.device
) -> tuple[Reconstruction, LedgerEntry]:
    """Give an object the global factor of largest likelihood.

    Args:
        found: What a solver found.
        scan: The patterns that it was made from.
        batch: Patterns in memory at once.
        device: Where to compute.

    Returns:
        The reconstruction, its object times the factor where light falls, and the ledger's entry for the factor.
    """
    fit = data_fit(scan, found.object, found.probe, found.positions_px, batch=batch, device=device)
    factor = flux_factor(1.0, fit.flux_closure) ** 0.5
    closed = np.where(found.illumination > 0, found.object * np.float32(factor), found.object)
    entry = LedgerEntry("closing factor", 1.0, factor, CLOSED, on_path=False, stats=stats_of(closed))
    return replace(found, object=closed), entry


def scale_prediction(
    recon: Reconstruction,
    scan: ScanData,
    source: ScaleSource,
    gauge: float | None,
    batch: int,
    device: torch.device,
) -> tuple[Reconstruction, DataFit]:
    """Scale an object; the object as it was, and how the factor came about, stay with it.

    Args:
        recon: The object as it left the network.
        scan: The patterns that it was made from.
        source: Where the factor comes from.
        gauge: Amplitude factor that the training has on record.
        batch: Patterns in memory at once.
        device: Where to compute.

    Returns:
        The scaled reconstruction, with its figures of merit, and how it fits the counts.
    """

    def fit_of(object_: np.ndarray) -> DataFit:
        return data_fit(scan, object_, recon.probe, recon.positions_px, batch=batch, device=device)

    fit = fit_of(recon.object)
    if source != "none":
        scale = _scale(recon, scan, source, gauge, fit)
        scaled = np.where(recon.illumination > 0, recon.object * np.float32(scale.factor), recon.object)
        recon = replace(recon, object=scaled, unscaled=recon.object, prediction_scale=asdict(scale))
        fit = fit if scale.factor == 1 else fit_of(scaled)
    else:
        recon = replace(recon, prediction_scale=asdict(PredictionScale()))
    return replace(recon, metrics=fit.figures()), fit


def _scale(
    recon: Reconstruction, scan: ScanData, source: ScaleSource, gauge: float | None, fit: DataFit
) -> PredictionScale:
    if source == "recorded":
        return recorded_scale(gauge)
    if source == "flux":
        measured = float(fit.measured_map[scan.good].sum())
        return flux_scale(measured, float(fit.predicted_map[scan.good].sum()))
    return least_squares_scale(recon.object, truth_on_canvas(recon, scan), recon.well_lit())
