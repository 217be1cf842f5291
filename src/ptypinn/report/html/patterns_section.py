"""The part of a report that shows measured patterns beside predicted ones: the best, the median and the worst."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.spatial import cKDTree

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import mean_spacing
from ptypinn.metrics.data_fit import predict
from ptypinn.physics.forward import to_centred
from ptypinn.report.figures.colours import COUNTS_MAP, DIFFERENCE_MAP, ColourScale, difference_scale
from ptypinn.report.figures.display import Box, Frame, step_for
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.html.page_elements import Block, Figures, Points, Section
from ptypinn.report.figures.panels import panels_of
from ptypinn.report.text.metric_labels import digits_of

KEY, TITLE = "patterns", "Measured and predicted patterns"
FAINTEST_COUNT = 0.1
MOST_PX = 256
NOISE = "Differences of square roots scatter by about one half where only counting noise is left."

Pattern = Float32[np.ndarray, "y x"]


def patterns_section(recon: Reconstruction, scan: ScanData | None, fit: DataFit | None) -> Section:
    """Measured and predicted counts, logarithmic, and their difference, of up to three patterns."""
    if scan is None or fit is None:
        return Section(KEY, TITLE, absent="Not shown: the patterns were not at hand. `--scan SCAN` names them.")
    chosen = chosen_patterns(fit.per_pattern_residual)
    blocks: list[Block] = [Points([NOISE])]
    for rank, j in chosen.items():
        images = pattern_images(*_pair(recon, scan, j), rank)
        blocks.append(Figures(panels_of(images, None, bar=False, most_px=MOST_PX), _told(fit, j)))
    return Section(KEY, TITLE, blocks)


def chosen_patterns(residual: np.ndarray) -> dict[str, int]:
    """Index of the best, the median and the worst pattern by residual; of fewer than three, each once."""
    order = np.argsort(residual)
    ranks = {"Best": order[0], "Worst": order[-1], "Median": order[len(order) // 2]}
    found: dict[str, int] = {}
    for rank, index in ranks.items():
        if int(index) not in found.values():
            found[rank] = int(index)
    return {rank: found[rank] for rank in ("Best", "Median", "Worst") if rank in found}


def pattern_images(measured: Pattern, predicted: Pattern, rank: str) -> list[ScaledImage]:
    """Both patterns as logarithms on one scale, and the difference of their square roots.

    Args:
        measured: Counts; NaN where the detector is masked.
        predicted: Likewise.
        rank: What the pattern is among the others.
    """
    top = float(np.nanmax(measured)) if np.isfinite(measured).any() else 1.0
    scale = ColourScale(COUNTS_MAP, np.log10(FAINTEST_COUNT), np.log10(max(top, 1.0)), "counts", decades=True)
    logarithms = [np.log10(np.maximum(counts, FAINTEST_COUNT)) for counts in (measured, predicted)]
    names = (f"{rank}: measured", f"{rank}: predicted")
    difference = np.sqrt(predicted) - np.sqrt(measured)
    apart = difference_scale(difference, "√counts", least=0.5)
    images = [ScaledImage(name, image, scale) for name, image in zip(names, logarithms, strict=True)]
    return [*images, ScaledImage(f"{rank}: predicted - measured", difference, apart)]


def _told(fit: DataFit, j: int) -> str:
    residual, noise = fit.per_pattern_residual[j], fit.per_pattern_expected[j]
    ratio = f", {residual / noise:.3g} times what counting noise leaves" if noise > 0 else ""
    photons = digits_of(float(fit.per_pattern_photons[j]))
    return f"Pattern {j}, {photons} photons: residual {residual:.3g}{ratio}."


def _pair(recon: Reconstruction, scan: ScanData, j: int) -> tuple[Pattern, Pattern]:
    """Measured and predicted counts of one pattern, centred; masked pixels are NaN."""
    canvas, probe = torch.from_numpy(recon.object)[None], torch.from_numpy(recon.probe)
    predicted = to_centred(predict(canvas, probe, recon.positions_px[j : j + 1]))[0].numpy()
    measured = scan.counts[j : j + 1][0].astype(np.float32)
    blank = np.float32(np.nan)
    return np.where(scan.good, measured, blank), np.where(scan.good, predicted, blank)


REACH = 0.9
"""A pattern colours the object as far as this share of the mean spacing."""
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
