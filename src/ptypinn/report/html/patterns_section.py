"""Sections of a report: measured beside predicted patterns, dose and overlap; maps of values of the patterns."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32

from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.data.positions import find_nearest, mean_spacing
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import predict
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.physics.propagation import to_centred
from ptypinn.report.figures.colours import COUNTS_MAP, DIFFERENCE_MAP, ColourScale, difference_scale
from ptypinn.report.figures.display import Box, VisibleRegion, choose_binning
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.panels import ReconstructionPanels, describe_extent, draw_panels, make_panel
from ptypinn.report.html.page import Block, Cell, Facts, Figures, Points, Section, cell_of
from ptypinn.report.text.scan import name_quanta
from ptypinn.utils.number_format import format_length, format_number

KEY, TITLE = "patterns", "Measured and predicted patterns"
MIN_COUNT = 0.1
"""Count with the darkest colour of the logarithmic scale."""
MAX_PX = 256
"""Longest edge of a pattern and of a map."""
NOISE = "Differences of square roots scatter by about one half where only counting noise is left."

RECOMMENDED_OVERLAP = 0.6
"""Linear overlap that is commonly recommended; a smaller one is remarked on."""
MIN_MOVE_PX = 1e-3
"""Positions that none exceeds in its move were not refined."""
REACH = 0.9
"""Distance up to which a pattern colours the map, over the mean spacing."""
MAX_LOW_RATIO, MIN_HIGH_RATIO = 0.5, 2.0
"""The colours of the ratio reach at least so far, so that noise looks even."""
MIN_CLOSURE_REACH = 0.01
PERCENTILES = (5, 95)
"""Percentiles of the patterns that the colours span, so that a few dark ones do not take them all."""

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
    return f"Pattern {j}, {photons} counts: residual {residual:.3g}{ratio}."


def _pattern_pair(recon: Reconstruction, scan: ScanData, j: int) -> tuple[Pattern, Pattern]:
    """Return measured and predicted counts of one pattern, centred; masked pixels are NaN."""
    canvases = torch.from_numpy(np.ascontiguousarray(recon.sample)).view(-1, *recon.object.shape)
    probe = torch.from_numpy(recon.probe)
    frame = slice(j, j + 1)
    terms = FrameTerms.of(recon.scan_part(scan), torch.device("cpu")).take(frame)
    predicted = to_centred(predict(canvases, probe, recon.positions_px[frame], terms))[0].numpy()
    measured = scan.counts[frame][0].astype(np.float32)
    blank = np.float32(np.nan)
    return np.where(scan.good, measured, blank), np.where(scan.good, predicted, blank)


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
    scale = ColourScale(COUNTS_MAP, low, max(high, low * (1 + 1e-6)), "counts")
    return _map_values(recon, region, fit.per_pattern_photons, "Counts of each pattern", scale)


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
    y, x = (np.arange(part.start, part.stop, binning) + (binning - 1) / 2 for part in box)
    grid = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    _, nearest = find_nearest(centres_px, grid, 1, max(reach_px, binning))
    return np.append(values, np.nan)[nearest].reshape(len(y), len(x)).astype(np.float32)


def _map_values(
    recon: Reconstruction, region: VisibleRegion, values: np.ndarray, title: str, scale: ColourScale
) -> ScaledImage:
    size = recon.probe.shape[-1]
    centres, binning = recon.positions_px + size / 2, choose_binning(region.visible.shape, MAX_PX)
    reach = REACH * mean_spacing(recon.positions_px) if len(centres) > 1 else size / 4
    return ScaledImage(title, position_map(centres, values, region.box, binning, reach), scale, binning)


def dose_section(
    recon: Reconstruction, fit: DataFit | None, panels: ReconstructionPanels, scan: ScanData | None = None
) -> Section:
    """Return photons per pattern and per area, spacing and overlap, and the illumination of the sample.

    Args:
        recon: The reconstruction.
        fit: Its agreement with the counts, where they were at hand.
        panels: Its panels.
        scan: Its patterns, to measure how far positions were moved.
    """
    maps, caption = [panels.illumination], "Errors grow where the illumination fades."
    if fit is None:
        caption += " The counts of single patterns are not shown: the patterns were not at hand."
    else:
        maps.append(make_panel(photons_image(recon, panels.region, fit), recon.pixel_size_m))
        caption += " On the right each place has the counts of the nearest pattern."
    facts = [*_dose_facts(recon, fit, panels.region), *_overlap_facts(recon), *_move_facts(recon, scan)]
    return Section("dose", "Dose and overlap", [Facts(facts), Figures(maps, caption)])


def linear_overlap(recon: Reconstruction) -> float | None:
    """Return 1 minus mean spacing over equivalent probe diameter; None for one position, or a probe of zeros."""
    diameter = _probe_diameter(recon)
    return None if len(recon.positions_px) < 2 or not diameter else 1 - mean_spacing(recon.positions_px) / diameter


def _dose_facts(recon: Reconstruction, fit: DataFit | None, region: VisibleRegion) -> list[tuple[str, Cell]]:
    items: list[tuple[str, Cell]] = []
    quanta = name_quanta(recon)
    if fit is not None:
        photons = fit.per_pattern_photons
        low, high = np.percentile(photons, [5, 95])
        items.append((f"{quanta.capitalize()} per pattern, mean", cell_of(float(photons.mean()))))
        items.append(("Nine patterns in ten", Cell(f"{format_number(float(low))} to {format_number(float(high))}")))
        items.append((f"{quanta.capitalize()} in all", cell_of(float(photons.sum()))))
    illumination = recon.illumination[region.box][region.well_illuminated]
    if illumination.size:
        median = float(np.median(illumination))
        items.append(("On a well-illuminated pixel, median", cell_of(median, quanta)))
        if recon.pixel_size_m is not None:
            unit_m, unit = (1e-10, "Å") if quanta == "electrons" else (1e-9, "nm")
            per_area = median / (recon.pixel_size_m / unit_m) ** 2
            items.append(("The same by area", cell_of(per_area, f"{quanta}/{unit}²", digits=3)))
    return items


def _overlap_facts(recon: Reconstruction) -> list[tuple[str, Cell]]:
    height, width = (float(span) + 1 for span in np.ptp(recon.positions_px, axis=0))
    items = [("Positions", cell_of(len(recon.positions_px)))]
    items.append(("Span of the positions", Cell(describe_extent(height, width, recon.pixel_size_m))))
    overlap = linear_overlap(recon)
    if overlap is None:
        reason = "none: one position" if _probe_diameter(recon) else "none: the probe is zero"
        return [*items, ("Overlap of neighbours", Cell(reason))]
    spacing = mean_spacing(recon.positions_px)
    length = "" if recon.pixel_size_m is None else f" = {format_length(spacing * recon.pixel_size_m)}"
    remark = "60 % or more is recommended" if overlap < RECOMMENDED_OVERLAP else ""
    return [
        *items,
        ("Mean spacing", Cell(f"{spacing:.3g}", value=spacing, unit=f"px{length}")),
        ("Overlap of neighbours", Cell(f"{100 * overlap:.3g}", value=100 * overlap, unit="%", remark=remark)),
    ]


def _move_facts(recon: Reconstruction, scan: ScanData | None) -> list[tuple[str, Cell]]:
    """Return how far refinement has moved the positions, without their common move, which only shifts the object."""
    if scan is None:
        return []
    shifts = recon.positions_px + np.asarray(recon.origin_px, float) - scan.positions_px
    lengths = np.linalg.norm(shifts - shifts.mean(0), axis=1)
    if lengths.max() < MIN_MOVE_PX:
        return []
    typical = float(np.sqrt(np.mean(lengths**2)))
    length = "" if recon.pixel_size_m is None else f" = {format_length(typical * recon.pixel_size_m)}"
    remark = f"at most {lengths.max():.2g} px"
    return [
        (
            "Positions moved by refinement, rms",
            Cell(f"{typical:.2g}", value=typical, unit=f"px{length}", remark=remark),
        )
    ]


def _probe_diameter(recon: Reconstruction) -> float:
    probe = torch.from_numpy(recon.probe)
    return equivalent_diameter(probe) if float(probe.abs().sum()) > 0 else 0.0
