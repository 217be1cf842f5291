"""Sections of a report: the key metrics at its top, the table of all, and dose and overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import mean_spacing
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.report.figures.display import VisibleRegion
from ptypinn.report.figures.panels import ReconstructionPanels, describe_extent, make_panel
from ptypinn.report.html.page import Cell, Facts, Figures, Section, Table, cell_of
from ptypinn.report.html.patterns_section import photons_image
from ptypinn.report.text.metric_labels import KEY_METRICS, MetricRow, metric_label, metric_rows
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.number_format import format_length, format_number

RECOMMENDED_OVERLAP = 0.6
"""Linear overlap that is commonly recommended; a smaller one is remarked on."""
MIN_MOVE_PX = 1e-3
"""Positions that none exceeds in its move were not refined."""
RESOLUTIONS = ("frc_half_bit_px", "split_half_frc_half_bit_px")


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
        caption += " The photons of single patterns are not shown: the patterns were not at hand."
    else:
        maps.append(make_panel(photons_image(recon, panels.region, fit), recon.pixel_size_m))
        caption += " On the right each place has the photons of the nearest pattern."
    facts = [*_dose_facts(recon, fit, panels.region), *_overlap_facts(recon), *_move_facts(recon, scan)]
    return Section("dose", "Dose and overlap", [Facts(facts), Figures(maps, caption)])


def linear_overlap(recon: Reconstruction) -> float | None:
    """Return 1 minus mean spacing over equivalent probe diameter; None for one position, or a probe of zeros."""
    diameter = _probe_diameter(recon)
    return None if len(recon.positions_px) < 2 or not diameter else 1 - mean_spacing(recon.positions_px) / diameter


def _dose_facts(recon: Reconstruction, fit: DataFit | None, region: VisibleRegion) -> list[tuple[str, Cell]]:
    items: list[tuple[str, Cell]] = []
    if fit is not None:
        photons = fit.per_pattern_photons
        low, high = np.percentile(photons, [5, 95])
        items.append(("Photons per pattern, mean", cell_of(float(photons.mean()))))
        items.append(("Nine patterns in ten", Cell(f"{format_number(float(low))} to {format_number(float(high))}")))
        items.append(("Photons in all", cell_of(float(photons.sum()))))
    illumination = recon.illumination[region.box][region.well_illuminated]
    if illumination.size:
        median = float(np.median(illumination))
        items.append(("On a well-illuminated pixel, median", cell_of(median, "photons")))
        if recon.pixel_size_m is not None:
            per_square_nm = median / (recon.pixel_size_m * 1e9) ** 2
            items.append(("The same by area", cell_of(per_square_nm, "photons/nm²", digits=3)))
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


def key_metrics(recon: Reconstruction, evaluation: Evaluation) -> list[tuple[str, Cell]]:
    """Return labels and values that stand at the top."""
    names = [name for name in KEY_METRICS if name in evaluation.metrics]
    names = [name for name in names if name != RESOLUTIONS[1] or RESOLUTIONS[0] not in names]
    tiles = [(metric_label(name).label, _tile(name, evaluation.metrics[name], recon.pixel_size_m)) for name in names]
    if evaluation.fit is not None:
        tiles.append(("Dose", cell_of(float(evaluation.fit.per_pattern_photons.mean()), "photons per pattern", 3)))
    overlap = linear_overlap(recon)
    if overlap is not None:
        tiles.append(("Overlap", Cell(f"{100 * overlap:.0f}", value=100 * overlap, unit="% of the probe")))
    return tiles


def metrics_section(evaluation: Evaluation) -> Section:
    """Return every metric with its meaning, and the reason where one is absent."""
    rows = metric_rows(evaluation.metrics, evaluation.notes)
    if not rows:
        return Section("metrics", "Metrics", absent="Not shown: nothing was measured.")
    caption, header = "Metrics by their names in `metrics.json`", ("Metric", "Value", "Meaning")
    return Section("metrics", "Metrics", [Table(caption, header, [_cells(row) for row in rows], words=(2,))])


def _cells(row: MetricRow) -> list[Cell]:
    return [
        Cell(row.label.label, remark=row.name, code=True),
        cell_of(row.number, row.label.unit),
        Cell(row.label.meaning, remark=f"({row.note})" if row.note else ""),
    ]


def _tile(name: str, value: float, pixel_size_m: float | None) -> Cell:
    cell = cell_of(value, metric_label(name).unit)
    if name in RESOLUTIONS and pixel_size_m is not None:
        return replace(cell, unit=f"px = {format_length(value * pixel_size_m)}")
    return cell
