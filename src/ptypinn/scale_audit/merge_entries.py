"""Merge and stitching, judged by what they make of an object that is 1 everywhere, with the run's own weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ptypinn.physics.stitch import covered
from ptypinn.scale import LedgerEntry, stats_of

EXACT = 1e-6
"""Departure from 1 that rounding explains."""


def merge_entries(
    object_: Tensor, response: Tensor, constant: Tensor, weights: Tensor, illumination: Tensor, well_lit: np.ndarray
) -> list[LedgerEntry]:
    """Merge and stitching, by what they make of an object that is 1 everywhere.

    Args:
        object_: Stitched object, (height, width).
        response: What stitching made of the constant 1 with the same weights, (height, width).
        constant: Sum of weight times 1 as the merge gathered it, (height, width).
        weights: Sum of weights, (height, width).
        illumination: Sum of probe intensities over positions, (height, width).
        well_lit: Pixels that count in comparisons, (height, width).
    """
    lit = covered(weights[None])[0] & (illumination > 0)
    merged = torch.where(lit, constant / torch.where(lit, weights, 1.0), 1.0)
    moduli = torch.where(lit, object_.abs(), 0.0)
    clear = torch.from_numpy(well_lit).to(lit.device)
    inner, edges, light = lit & clear, lit & ~clear, torch.where(lit, illumination, 0.0)
    off = torch.where(lit, torch.maximum((response - 1).abs(), (merged - 1).abs()), 0.0).max()
    plain = moduli if off < EXACT else _freed(moduli, response, lit)
    divided = moduli if off < EXACT else plain * merged

    def entry(stage: str, before: Tensor, after: Tensor, region: Tensor, how: str, on_path: bool = True) -> LedgerEntry:
        source = f"mean amplitude over what it is where a constant object stays constant: {how}"
        factor, by_light = (1.0, 1.0) if before is after else _factors(before, after, region, light)
        stats = stats_of(after[region].cpu().numpy())
        return LedgerEntry(stage, 1.0, factor, source, on_path=on_path, by_light=by_light, stats=stats)

    return [
        entry("merge", plain, divided, inner, "sums over patches"),
        entry("stitching", divided, moduli, inner, "division by weights, well-lit pixels"),
        entry("stitching, edges", divided, moduli, edges, "division by weights, pixels with less light", on_path=False),
    ]


def _freed(moduli: Tensor, response: Tensor, lit: Tensor) -> Tensor:
    """Amplitudes as they would be if a constant object came out constant."""
    kept = lit & (response > 1e-6 * response[lit].mean())
    plain = torch.where(kept, moduli / torch.where(kept, response, 1.0), 0.0)
    # What is lost altogether is taken to have the common amplitude.
    return torch.where(lit & ~kept, plain.sum() / kept.sum(), plain)


def _factors(before: Tensor, after: Tensor, region: Tensor, light: Tensor) -> tuple[float, float]:
    """Ratio of mean amplitudes in a region, and of rms amplitudes weighted by the light everywhere."""

    def ratio(weight: Tensor, power: int) -> float:
        below = (weight.double() * before.double() ** power).sum()
        return float((weight.double() * after.double() ** power).sum() / below) if bool(below > 0) else 1.0

    return ratio(region, 1), math.sqrt(ratio(light, 2))
