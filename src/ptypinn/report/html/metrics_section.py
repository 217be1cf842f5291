"""Section of a report: the key metrics at its top, and the table of all."""

from __future__ import annotations

from dataclasses import replace

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.html.dose_section import linear_overlap
from ptypinn.report.html.page_elements import Cell, Section, Table, cell_of
from ptypinn.report.text.metric_labels import KEY_METRICS, MetricRow, metric_label, metric_rows
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.number_format import format_length

RESOLUTIONS = ("frc_half_bit_px", "split_half_frc_half_bit_px")


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
