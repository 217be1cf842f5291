"""The figures of merit of a report: the key figures at its top, and the table of all."""

from __future__ import annotations

from dataclasses import replace

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.html.dose_section import overlap_of
from ptypinn.report.html.page_elements import Cell, Section, Table, cell_of
from ptypinn.report.text.metric_labels import HEADLINE, Row, metres, rows_of, word_of
from ptypinn.stages.evaluate import Evaluation

RESOLUTIONS = ("frc_half_bit_px", "split_half_frc_half_bit_px")


def key_figures(recon: Reconstruction, result: Evaluation) -> list[tuple[str, Cell]]:
    """Labels and values that stand at the top."""
    names = [name for name in HEADLINE if name in result.metrics]
    names = [name for name in names if name != RESOLUTIONS[1] or RESOLUTIONS[0] not in names]
    tiles = [(word_of(name).label, _tile(name, result.metrics[name], recon.pixel_size_m)) for name in names]
    if result.fit is not None:
        tiles.append(("Dose", cell_of(float(result.fit.per_pattern_photons.mean()), "photons per pattern", 3)))
    overlap = overlap_of(recon)
    if overlap is not None:
        tiles.append(("Overlap", Cell(f"{100 * overlap:.0f}", value=100 * overlap, unit="% of the probe")))
    return tiles


def merit_section(result: Evaluation) -> Section:
    """Every figure of merit with what it says, and why one is absent."""
    rows = rows_of(result.metrics, result.notes)
    if not rows:
        return Section("merit", "Figures of merit", absent="Not shown: nothing was measured.")
    table = Table(
        "Figures of merit by their names in `metrics.json`",
        ("Figure", "Value", "What it says"),
        [_cells(row) for row in rows],
        words=(2,),
    )
    return Section("merit", "Figures of merit", [table])


def _cells(row: Row) -> list[Cell]:
    return [
        Cell(row.word.label, remark=row.name, code=True),
        cell_of(row.number, row.word.unit),
        Cell(row.word.meaning, remark=f"({row.note})" if row.note else ""),
    ]


def _tile(name: str, value: float, pixel_size_m: float | None) -> Cell:
    cell = cell_of(value, word_of(name).unit)
    if name in RESOLUTIONS and pixel_size_m is not None:
        return replace(cell, unit=f"px = {metres(value * pixel_size_m)}")
    return cell
