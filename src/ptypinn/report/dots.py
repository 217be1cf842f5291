"""Positions as a small drawing of dots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from ptypinn.report.panels import Titled
from ptypinn.report.told import extent

MOST_DOTS = 400
REACH = 88.0
"""The longer side of what the positions cover, in a square of 100."""


@dataclass(frozen=True)
class Dots(Titled):
    """Positions ready to stand in a card."""

    kind: ClassVar[str] = "dots"
    path: str
    """Subpaths of no length, which round line ends turn into dots."""
    size: float
    """Diameter of a dot, in a square of 100."""


def dots_of(centres_px: Float64[np.ndarray, "patterns 2"], pixel_size_m: float | None) -> Dots:
    """Probe centres (y, x), row downwards, at most 400 of them, evenly spread over the scan.

    Args:
        centres_px: Object pixels.
        pixel_size_m: Object pixel, metres; None tells the extent in pixels.
    """
    span = np.ptp(centres_px, axis=0)
    chosen = centres_px[:: -(-len(centres_px) // MOST_DOTS)]
    places = 50 + REACH / max(float(span.max()), 1e-12) * (chosen - centres_px.min(axis=0) - span / 2)
    path = "".join(f"M{x:.1f} {y:.1f}h0" for y, x in places)
    size = float(np.clip(40 / np.sqrt(len(chosen)), 1.6, 6.0))
    told = f"{len(centres_px)} probe positions over {extent(float(span[0]), float(span[1]), pixel_size_m)}."
    return Dots("Positions", told, path, round(size, 2))
