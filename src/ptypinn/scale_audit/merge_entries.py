"""Ledger entries of merge and stitching, from their effect on an object that is 1 everywhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ptypinn.physics.stitch import coverage_mask
from ptypinn.scale import LedgerEntry, compute_stats

MAX_ROUNDING = 1e-6
"""Departure from 1 that rounding explains."""


def build_merge_entries(
    object_: Tensor,
    response: Tensor,
    constant: Tensor,
    weights: Tensor,
    illumination: Tensor,
    well_illuminated: np.ndarray,
) -> list[LedgerEntry]:
    """Build the entries of merge and stitching from their effect on an object that is 1 everywhere.

    Args:
        object_: Stitched object, (height, width).
        response: The constant 1, stitched with the same weights, (height, width).
        constant: Sum of weight times 1 as the merge gathered it, (height, width).
        weights: Sum of weights, (height, width).
        illumination: Sum of probe intensities over positions, (height, width).
        well_illuminated: Well-illuminated pixels, on which objects are compared, (height, width).
    """
    mask = coverage_mask(weights[None])[0] & (illumination > 0)
    merged = torch.where(mask, constant / torch.where(mask, weights, 1.0), 1.0)
    moduli = torch.where(mask, object_.abs(), 0.0)
    clear = torch.from_numpy(well_illuminated).to(mask.device)
    inner, edges, weight = mask & clear, mask & ~clear, torch.where(mask, illumination, 0.0)
    off = torch.where(mask, torch.maximum((response - 1).abs(), (merged - 1).abs()), 0.0).max()
    corrected = moduli if off < MAX_ROUNDING else _divide_by_response(moduli, response, mask)
    divided = moduli if off < MAX_ROUNDING else corrected * merged

    def entry(
        stage: str, before: Tensor, after: Tensor, region: Tensor, step: str, on_path: bool = True
    ) -> LedgerEntry:
        source = f"mean amplitude over that with which a constant object stays constant: {step}"
        factor, weighted = (1.0, 1.0) if before is after else _factors(before, after, region, weight)
        stats = compute_stats(after[region].cpu().numpy())
        return LedgerEntry(stage, 1.0, factor, source, on_path=on_path, illumination_weighted=weighted, stats=stats)

    dim = "division by weights, pixels with less illumination"
    return [
        entry("merge", corrected, divided, inner, "sums over patches"),
        entry("stitching", divided, moduli, inner, "division by weights, well-illuminated pixels"),
        entry("stitching, edges", divided, moduli, edges, dim, on_path=False),
    ]


def _divide_by_response(moduli: Tensor, response: Tensor, mask: Tensor) -> Tensor:
    """Return the amplitudes with which a constant object would come out constant."""
    responding = mask & (response > 1e-6 * response[mask].mean())
    corrected = torch.where(responding, moduli / torch.where(responding, response, 1.0), 0.0)
    # Pixels without any response take the mean amplitude.
    return torch.where(mask & ~responding, corrected.sum() / responding.sum(), corrected)


def _factors(before: Tensor, after: Tensor, region: Tensor, illumination: Tensor) -> tuple[float, float]:
    """Return the ratios of mean amplitudes in a region, and of illumination-weighted rms amplitudes everywhere."""

    def ratio(weight: Tensor, power: int) -> float:
        below = (weight.double() * before.double() ** power).sum()
        return float((weight.double() * after.double() ** power).sum() / below) if bool(below > 0) else 1.0

    return ratio(region, 1), math.sqrt(ratio(illumination, 2))
