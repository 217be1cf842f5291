"""Section of a report: measured beside predicted patterns, the best, the median and the worst; maps of the fit."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import mean_spacing
from ptypinn.metrics.data_fit import predict
from ptypinn.physics.propagation import to_centred
from ptypinn.report.figures.colours import COUNTS_MAP, DIFFERENCE_MAP, ColourScale, difference_scale
from ptypinn.report.figures.display import Box, VisibleRegion, choose_binning
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.panels import draw_panels
from ptypinn.report.html.page import Block, Figures, Points, Section
from ptypinn.utils.number_format import format_number

KEY, TITLE = "patterns", "Measured and predicted patterns"
MIN_COUNT = 0.1
"""Count with the darkest colour of the logarithmic scale."""
MAX_PX = 256
"""Longest edge of a pattern and of a map."""
NOISE = "Differences of square roots scatter by about one half where only counting noise is left."

Pattern = Float32[np.ndarray, "y x"]


def patterns_section(recon: Reconstruction, scan: ScanData | None, fit: DataFit | None) -> Section:
    """Return measured and predicted counts, logarithmic, and their difference, of up to three patterns."""
    if scan is None or fit is None:
        return Section(KEY, TITLE, absent="Not shown: the patterns were not at hand. `--scan SCAN` names them.")
    blocks: list[Block] = [Points([NOISE])]
    for rank, j in chosen_patterns(fit.per_pattern_residual).items():
        images = pattern_images(*_pattern_pair(recon, scan, j), rank)
        blocks.append(Figures(draw_panels(images, None, bar=False, max_px=MAX_PX), _caption(fit, j)))
    return Section(KEY, TITLE, blocks)


def chosen_patterns(residual: np.ndarray) -> dict[str, int]:
    """Return the index of the best, the median and the worst pattern by residual; of fewer than three, each once.

    >>> chosen_patterns(np.array([0.3, 0.1, 0.2]))
    {'Best': 1, 'Median': 2, 'Worst': 0}
    """
    order = np.argsort(residual)
    ranks = {"Best": order[0], "Worst": order[-1], "Median": order[len(order) // 2]}
    chosen: dict[str, int] = {}
    for rank, index in ranks.items():
        if int(index) not in chosen.values():
            chosen[rank] = int(index)
    return {rank: chosen[rank] for rank in ("Best", "Median", "Worst") if rank in chosen}


def pattern_images(measured: Pattern, predicted: Pattern, rank: str) -> list[ScaledImage]:
    """Return both patterns as logarithms on one scale, and the difference of their square roots.

    Args:
        measured: Counts; NaN where the detector is masked.
        predicted: Likewise.
        rank: Rank of the pattern among the others.
    """
    top = float(np.nanmax(measured)) if np.isfinite(measured).any() else 1.0
    scale = ColourScale(COUNTS_MAP, np.log10(MIN_COUNT), np.log10(max(top, 1.0)), "counts", decades=True)
    logarithms = [np.log10(np.maximum(counts, MIN_COUNT)) for counts in (measured, predicted)]
    names = (f"{rank}: measured", f"{rank}: predicted")
    difference = np.sqrt(predicted) - np.sqrt(measured)
    error_scale = difference_scale(difference, "√counts", min_reach=0.5)
    images = [ScaledImage(name, image, scale) for name, image in zip(names, logarithms, strict=True)]
    return [*images, ScaledImage(f"{rank}: predicted - measured", difference, error_scale)]


def _caption(fit: DataFit, j: int) -> str:
    residual, noise = fit.per_pattern_residual[j], fit.per_pattern_expected[j]
    ratio = f", {residual / noise:.3g} times what counting noise leaves" if noise > 0 else ""
    photons = format_number(float(fit.per_pattern_photons[j]))
    return f"Pattern {j}, {photons} photons: residual {residual:.3g}{ratio}."


def _pattern_pair(recon: Reconstruction, scan: ScanData, j: int) -> tuple[Pattern, Pattern]:
    """Return measured and predicted counts of one pattern, centred; masked pixels are NaN."""
    canvas, probe = torch.from_numpy(recon.object)[None], torch.from_numpy(recon.probe)
    predicted = to_centred(predict(canvas, probe, recon.positions_px[j : j + 1]))[0].numpy()
    predicted = predicted if recon.flux is None else predicted * np.float32(recon.flux[j])
    predicted = predicted if recon.background is None else predicted + recon.background
    measured = scan.counts[j : j + 1][0].astype(np.float32)
    blank = np.float32(np.nan)
    return np.where(scan.good, measured, blank), np.where(scan.good, predicted, blank)


REACH = 0.9
"""Distance up to which a pattern colours the map, over the mean spacing."""
MAX_LOW_RATIO, MIN_HIGH_RATIO = 0.5, 2.0
"""The colours of the ratio reach at least so far, so that noise looks even."""
MIN_CLOSURE_REACH = 0.01
PERCENTILES = (5, 95)
"""Percentiles of the patterns that the colours span, so that a few dark ones do not take them all."""


def fit_images(recon: Reconstruction, region: VisibleRegion, fit: DataFit) -> list[ScaledImage]:
    """Return residual over counting noise, and flux closure, of the nearest pattern."""
    ratio = fit.per_pattern_residual / np.maximum(fit.per_pattern_expected, 1e-30)
    low, high = (float(value) for value in np.percentile(ratio, PERCENTILES))
    closure = fit.per_pattern_closure
    reach = max(float(np.percentile(np.abs(closure - 1), PERCENTILES[1])), MIN_CLOSURE_REACH)
    scale = ColourScale(COUNTS_MAP, min(low, MAX_LOW_RATIO), max(high, MIN_HIGH_RATIO))
    closure_scale = ColourScale(DIFFERENCE_MAP, 1 - reach, 1 + reach)
    return [
        _map_values(recon, region, ratio, "Residual over counting noise", scale),
        _map_values(recon, region, closure, "Flux closure", closure_scale),
    ]


def photons_image(recon: Reconstruction, region: VisibleRegion, fit: DataFit) -> ScaledImage:
    """Return the photons of the nearest pattern."""
    low, high = (float(value) for value in np.percentile(fit.per_pattern_photons, [0.5, 99.5]))
    scale = ColourScale(COUNTS_MAP, low, max(high, low * (1 + 1e-6)), "photons")
    return _map_values(recon, region, fit.per_pattern_photons, "Photons of each pattern", scale)


def position_map(
    centres_px: Float[np.ndarray, "patterns 2"],
    values: Float[np.ndarray, " patterns"],
    box: Box,
    binning: int,
    reach_px: float,
) -> Float32[np.ndarray, "y x"]:
    """Return the value of the nearest pattern on every pixel; NaN further than `reach_px` from all.

    Args:
        centres_px: Centres (y, x) of the patterns, object pixels.
        values: One per pattern.
        box: The part of the canvas to draw.
        binning: Object pixels along the edge of a pixel of the map.
        reach_px: Distance up to which a pattern colours the map, object pixels.
    """
    from scipy.spatial import cKDTree

    y, x = (np.arange(part.start, part.stop, binning) + (binning - 1) / 2 for part in box)
    grid = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    distance, nearest = cKDTree(centres_px).query(grid, distance_upper_bound=max(reach_px, binning))
    nearest_value = np.append(values, np.nan)[nearest]
    return np.where(np.isfinite(distance), nearest_value, np.nan).reshape(len(y), len(x)).astype(np.float32)


def _map_values(
    recon: Reconstruction, region: VisibleRegion, values: np.ndarray, title: str, scale: ColourScale
) -> ScaledImage:
    size = recon.probe.shape[-1]
    centres, binning = recon.positions_px + size / 2, choose_binning(region.visible.shape, MAX_PX)
    reach = REACH * mean_spacing(recon.positions_px) if len(centres) > 1 else size / 4
    return ScaledImage(title, position_map(centres, values, region.box, binning, reach), scale, binning)
