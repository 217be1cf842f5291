"""Whether a scan is of the sort that the weights of a network saw in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex

from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import mean_spacing
from ptypinn.physics.forward import power
from ptypinn.physics.probes import equivalent_diameter

TOLERANCE = 0.05
"""Beyond a range by less than this share of its ends, a scan is not told apart from one inside."""
COMPARE = "Compare with `ptypinn refine`."
"""What to do with a result that is polished already."""
ADVICE = "Compare with `ptypinn refine`, or polish this result (--polish 30)."
"""What to do with one that is not."""


@dataclass(frozen=True)
class Trait:
    """How a trait of a scan is told to people."""

    label: str
    """What it is."""
    unit: str = ""
    """Its unit, empty for pure numbers."""
    also: str = ""
    """Another name that model cards have for it."""


TRAITS = {
    "photons": Trait("photons per pattern through vacuum", also="photons_per_pattern"),
    "overlap": Trait("linear overlap of neighbouring positions"),
    "size_px": Trait("edge of a pattern", "px", also="pattern_edge_px"),
    "probe_diameter_px": Trait("equivalent diameter of the probe", "px"),
    "probe_share": Trait("equivalent diameter of the probe over the edge of its array"),
    "modes": Trait("probe modes", also="probe_modes"),
    "masked_share": Trait("share of masked pixels"),
    "masked_pixels": Trait("masked pixels", also="dead_pixels"),
    "patterns": Trait("patterns"),
}
"""Traits that a model card may give ranges for, under the key `saw`."""


def traits_of(scan: ScanData, probe: Complex[np.ndarray, "mode y x"] | None = None) -> dict[str, float]:
    """What a scan is like, in the terms of `TRAITS`; what takes a probe or neighbours is absent without them.

    Args:
        scan: A scan.
        probe: Its probe, sqrt(photons); the scan's own where not given.
    """
    probe = scan.probe if probe is None else probe
    found = {
        "size_px": float(scan.size),
        "masked_share": float(1 - np.mean(scan.good)),
        "masked_pixels": float(np.count_nonzero(~scan.good)),
        "patterns": float(scan.n_patterns),
    }
    if probe is None:
        return found
    modes = torch.from_numpy(np.ascontiguousarray(probe))
    diameter = equivalent_diameter(modes)
    found |= {
        "photons": float(power(modes)),
        "probe_diameter_px": diameter,
        "probe_share": diameter / scan.size,
        "modes": float(len(modes)),
    }
    if scan.n_patterns > 1:
        found["overlap"] = 1 - mean_spacing(scan.positions_px) / diameter
    return found


def unfamiliar(traits: Mapping[str, float], card: Mapping[str, Any], *, polished: bool = False) -> list[str]:
    """One sentence for every trait that is outside what the weights saw; none where the card does not say.

    Args:
        traits: What the scan is like, from `traits_of`.
        card: Model card of the weights; `card["saw"]` maps names of traits to `[lowest, highest]` or to all values, or
            to one such list for every sort of scan.
        polished: Whether the result is polished already, so that this is not advised.
    """
    saw = card.get("saw")
    saw, found = saw if isinstance(saw, Mapping) else {}, []
    for name, trait in TRAITS.items():
        limits = _range(saw.get(name, saw.get(trait.also)))
        if limits is None or name not in traits or not _outside(traits[name], limits):
            continue
        unit = f" {trait.unit}" if trait.unit else ""
        found.append(
            f"Outside what the network was trained on: {trait.label} {_digits(traits[name])}{unit}, trained on "
            f"{_digits(limits[0])} to {_digits(limits[1])}{unit}. {COMPARE if polished else ADVICE}"
        )
    return found


def _outside(value: float, limits: tuple[float, float]) -> bool:
    low, high = limits
    return value < low - TOLERANCE * abs(low) or value > high + TOLERANCE * abs(high)


def _range(limits: object) -> tuple[float, float] | None:
    """Least and largest of what a card says, over all sorts of scans; None where that is no range."""
    if isinstance(limits, Mapping):
        parts = [part for part in map(_range, limits.values()) if part is not None]
        limits = [end for part in parts for end in part]
    if not isinstance(limits, list | tuple) or len(limits) < 2:
        return None
    if not all(isinstance(end, int | float) and np.isfinite(end) for end in limits):
        return None
    return float(min(limits)), float(max(limits))


def _digits(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e5 else f"{value:.3g}"
