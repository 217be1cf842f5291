"""Training domain: compare the traits of a scan with the ranges that the weights of a network were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex

from ptypinn.data.positions import mean_spacing
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import equivalent_diameter, probe_photons

TOLERANCE = 0.05
"""A scan beyond a range by less than this fraction of its ends counts as inside."""
COMPARE = "Compare with `ptypinn refine`."
"""Advice for a result that is polished already."""
ADVICE = "Compare with `ptypinn refine`, or polish this result (--polish 30)."
"""Advice for one that is not."""


@dataclass(frozen=True)
class ScanTrait:
    """Name of a trait of a scan in messages."""

    label: str
    """Name in words."""
    unit: str = ""
    """Its unit, empty for pure numbers."""
    also: str = ""
    """Another name for it in model cards."""


TRAITS = {
    "photons": ScanTrait("photons per pattern through vacuum", also="photons_per_pattern"),
    "overlap": ScanTrait("linear overlap of neighbouring positions"),
    "size_px": ScanTrait("edge of a pattern", "px", also="pattern_edge_px"),
    "probe_diameter_px": ScanTrait("equivalent diameter of the probe", "px"),
    "probe_share": ScanTrait("equivalent diameter of the probe over the edge of its array"),
    "modes": ScanTrait("probe modes", also="probe_modes"),
    "masked_share": ScanTrait("fraction of masked pixels"),
    "masked_pixels": ScanTrait("masked pixels", also="dead_pixels"),
    "patterns": ScanTrait("patterns"),
}
"""Traits that a model card may give ranges for, under the key `saw`; the names are those of files on disk."""


def scan_traits(scan: ScanData, probe: Complex[np.ndarray, "mode y x"] | None = None) -> dict[str, float]:
    """Compute the traits of a scan by the names of `TRAITS`; those that need a probe or neighbours may be absent.

    Args:
        scan: A scan.
        probe: Its probe, sqrt(photons); the scan's own where not given.
    """
    probe = scan.probe if probe is None else probe
    traits = {
        "size_px": float(scan.size),
        "masked_share": float(1 - np.mean(scan.good)),
        "masked_pixels": float(np.count_nonzero(~scan.good)),
        "patterns": float(scan.n_patterns),
    }
    if probe is None:
        return traits
    modes = torch.from_numpy(np.ascontiguousarray(probe))
    diameter = equivalent_diameter(modes)
    traits |= {
        "photons": float(probe_photons(modes)),
        "probe_diameter_px": diameter,
        "probe_share": diameter / scan.size,
        "modes": float(len(modes)),
    }
    if scan.n_patterns > 1:
        traits["overlap"] = 1 - mean_spacing(scan.positions_px) / diameter
    return traits


def out_of_domain(traits: Mapping[str, float], card: Mapping[str, Any], *, polished: bool = False) -> list[str]:
    """Return one sentence for every trait outside the range of the training; none where the card has no range.

    Args:
        traits: Traits of the scan, from `scan_traits`.
        card: Model card of the weights; `card["saw"]` maps names of traits to `[lowest, highest]` or to all values, or
            to one such list for every sort of scan.
        polished: The result is polished already, so that this is not advised.

    >>> out_of_domain({"photons": 1e9}, {"saw": {"photons": [1e3, 1e6]}}, polished=True)
    ['Outside what the network was trained on: photons per pattern through vacuum 1e+09, trained on 1000 to 1e+06. \
Compare with `ptypinn refine`.']
    """
    ranges, sentences = card.get("saw"), list[str]()
    ranges = ranges if isinstance(ranges, Mapping) else {}
    for name, trait in TRAITS.items():
        limits = _range(ranges.get(name, ranges.get(trait.also)))
        if limits is None or name not in traits or not _outside(traits[name], limits):
            continue
        unit = f" {trait.unit}" if trait.unit else ""
        sentences.append(
            f"Outside what the network was trained on: {trait.label} {_digits(traits[name])}{unit}, trained on "
            f"{_digits(limits[0])} to {_digits(limits[1])}{unit}. {COMPARE if polished else ADVICE}"
        )
    return sentences


def _outside(value: float, limits: tuple[float, float]) -> bool:
    low, high = limits
    return value < low - TOLERANCE * abs(low) or value > high + TOLERANCE * abs(high)


def _range(limits: object) -> tuple[float, float] | None:
    """Return the bounds that a card has, over all sorts of scans; None where that is no range."""
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
