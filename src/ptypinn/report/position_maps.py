"""Values of single patterns as maps over the object: how well each is explained, and how bright it is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from scipy.spatial import cKDTree

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.survey import mean_spacing
from ptypinn.metrics import DataFit
from ptypinn.report.colours import COUNTS_MAP, DIFFERENCE_MAP, ColourScale
from ptypinn.report.images import ScaledImage
from ptypinn.report.view import Box, Frame, step_for

REACH = 0.9
LOWEST_RATIO, LARGEST_RATIO = 0.5, 2.0
"""The colours of the ratio reach at least so far, so that noise looks even."""
LEAST_CLOSURE = 0.01
MOST = (5, 95)
"""Percentiles of the patterns between which colours tell apart, so that a few dark ones do not take them all."""


def fit_images(recon: Reconstruction, frame: Frame, fit: DataFit) -> list[ScaledImage]:
    """Residual over counting noise, and flux closure, of the pattern that is nearest."""
    ratio = fit.per_pattern_residual / np.maximum(fit.per_pattern_expected, 1e-30)
    low, high = (float(value) for value in np.percentile(ratio, MOST))
    closure = fit.per_pattern_closure
    apart = max(float(np.percentile(np.abs(closure - 1), MOST[1])), LEAST_CLOSURE)
    scale = ColourScale(COUNTS_MAP, min(low, LOWEST_RATIO), max(high, LARGEST_RATIO))
    return [
        _map_of(recon, frame, ratio, "Residual over counting noise", scale),
        _map_of(recon, frame, closure, "Flux closure", ColourScale(DIFFERENCE_MAP, 1 - apart, 1 + apart)),
    ]


def photons_image(recon: Reconstruction, frame: Frame, fit: DataFit) -> ScaledImage:
    """Photons of the pattern that is nearest."""
    low, high = (float(value) for value in np.percentile(fit.per_pattern_photons, [0.5, 99.5]))
    scale = ColourScale(COUNTS_MAP, low, max(high, low * (1 + 1e-6)), "photons")
    return _map_of(recon, frame, fit.per_pattern_photons, "Photons of each pattern", scale)


def position_map(
    places: Float[np.ndarray, "patterns 2"],
    values: Float[np.ndarray, " patterns"],
    box: Box,
    step: int,
    reach_px: float,
) -> Float32[np.ndarray, "y x"]:
    """The value of the nearest pattern on every pixel; NaN further than `reach_px` from all.

    Args:
        places: Where the patterns were taken (y, x), object pixels.
        values: One per pattern.
        box: The part of the canvas to draw.
        step: Object pixels along the edge of a pixel of the map.
        reach_px: How far a pattern colours the map, object pixels.
    """
    y, x = (np.arange(part.start, part.stop, step) + (step - 1) / 2 for part in box)
    grid = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    distance, nearest = cKDTree(places).query(grid, distance_upper_bound=max(reach_px, step))
    found = np.append(values, np.nan)[nearest]
    return np.where(np.isfinite(distance), found, np.nan).reshape(len(y), len(x)).astype(np.float32)


def _map_of(recon: Reconstruction, frame: Frame, values: np.ndarray, title: str, scale: ColourScale) -> ScaledImage:
    size = recon.probe.shape[-1]
    places, step = recon.positions_px + size / 2, step_for(frame.shown.shape, MOST_PX)
    reach = REACH * mean_spacing(recon.positions_px) if len(places) > 1 else size / 4
    return ScaledImage(title, position_map(places, values, frame.box, step, reach), scale, step)
