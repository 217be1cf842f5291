"""Merge and stitching, judged by what they make of an object that is 1 everywhere, with the run's own weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ptypinn.physics.stitch import covered
from ptypinn.scale import LedgerEntry, stats_of


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
    kept = lit & (response > 1e-6 * response[lit].mean())
    merged = torch.where(lit, constant / torch.where(lit, weights, 1.0), 1.0)
    moduli = torch.where(lit, object_.abs(), 0.0).double()
    light = torch.where(lit, illumination, 0.0).double()
    clear = torch.from_numpy(well_lit).to(lit.device)
    inner, edges = (lit & clear).double(), (lit & ~clear).double()
    plain = torch.where(kept, moduli / torch.where(kept, response, 1.0), 0.0)
    plain = torch.where(
        lit & ~kept, plain.sum() / kept.sum(), plain
    )  # what is lost altogether has the common amplitude

    def mean(values: Tensor, weight: Tensor) -> float:
        return float((weight * values).sum() / weight.sum())

    def entry(stage: str, before: Tensor, after: Tensor, region: Tensor, how: str, on_path: bool = True) -> LedgerEntry:
        factor = mean(after, region) / mean(before, region) if bool((region * before).any()) else 1.0
        source = f"mean amplitude over what it is where a constant object stays constant: {how}"
        by_light = math.sqrt(mean(after.square(), light) / mean(before.square(), light)) if bool(before.any()) else 1.0
        stats = stats_of(after[region.bool()].cpu().numpy())
        return LedgerEntry(stage, 1.0, factor, source, on_path=on_path, by_light=by_light, stats=stats)

    divided = plain * merged
    return [
        entry("merge", plain, divided, inner, "sums over patches"),
        entry("stitching", divided, moduli, inner, "division by weights, well-lit pixels"),
        entry("stitching, edges", divided, moduli, edges, "division by weights, pixels with less light", on_path=False),
    ]
