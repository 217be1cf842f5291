"""Sections of a report: key metrics at its top, the table of all, curves of resolution and convergence, the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ptypinn.data.reconstruction import COST, Reconstruction
from ptypinn.metrics import RingCorrelation
from ptypinn.report.figures.colours import CURVE_COLOURS
from ptypinn.report.html.page import Cell, Drawing, Facts, Figures, Section, Table, cell_of
from ptypinn.report.html.patterns_section import linear_overlap
from ptypinn.report.html.svg_chart import UNITS_PER_INCH, Axis, Curve, axis_for, line_chart
from ptypinn.report.text.metric_labels import (
    KEY_METRICS,
    POLISH,
    PROBE,
    History,
    MetricRow,
    history_panels,
    metric_label,
    metric_rows,
    resolution_text,
)
from ptypinn.report.text.scan import name_quanta
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.number_format import format_length, human_size, needs_log_scale
from ptypinn.utils.plain_values import number

RESOLUTIONS = ("frc_half_bit_px", "split_half_frc_half_bit_px")
NO_HISTORY = "Not shown: no values of single iterations are on record, as with a network that is applied once."
STAGES = ("", POLISH)
COST_TITLE = "Time and energy"
NO_COST = "Not shown: no time, memory or energy of the solve is on record."
NO_FRC = (
    "Not shown: it takes the truth, a reference, or two halves of the scan. `ptypinn refine SCAN --split-half` solves "
    "the halves too."
)
DASHES = ("", "6 3", "1.5 3", "7 3 1.5 3", "9 2 2 2 2 2", "1 5")
"""Dashes of the curves of a panel, in order, so that they differ without colours."""
WIDTH, HEIGHT = 345.0, 216.0
FRC_SIZE = (390.0, 245.0)


def key_metrics(recon: Reconstruction, evaluation: Evaluation) -> list[tuple[str, Cell]]:
    """Return labels and values that stand at the top."""
    names = [name for name in KEY_METRICS if name in evaluation.metrics]
    names = [name for name in names if name != RESOLUTIONS[1] or RESOLUTIONS[0] not in names]
    tiles = [(metric_label(name).label, _tile(name, evaluation.metrics[name], recon.pixel_size_m)) for name in names]
    if evaluation.fit is not None:
        photons = float(evaluation.fit.per_pattern_photons.mean())
        tiles.append(("Dose", cell_of(photons, f"{name_quanta(recon)} per pattern", 3)))
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


def resolution_section(evaluation: Evaluation, pixel_size_m: float | None) -> Section:
    """Return the Fourier ring correlation with its thresholds, and the resolution in words."""
    frc = evaluation.frc
    if frc is None:
        return Section("resolution", "Resolution", absent=NO_FRC)
    caption = (
        f"{resolution_text(frc, pixel_size_m)}. Two images agree up to the frequency where the curve first falls "
        f"below the threshold; here {_compared_images(evaluation)}."
    )
    drawing = Drawing(frc_chart(frc), _describe_frc(frc), FRC_SIZE[0] / UNITS_PER_INCH)
    return Section("resolution", "Resolution", [Figures([drawing], caption, 2)])


def convergence_section(history: History, step: str = "iteration") -> Section:
    """Return every recorded value over the steps."""
    panels = history_panels({name: values for name, values in history.items() if len(values) > 1})
    if not panels:
        return Section("convergence", "Convergence", absent=NO_HISTORY)
    drawings = [
        Drawing(history_chart(curves, step), _describe_course(curves, step), WIDTH / UNITS_PER_INCH)
        for curves in panels.values()
    ]
    return Section("convergence", "Convergence", [Figures(drawings, _caption(history), 2)])


def history_chart(curves: History, step: str) -> str:
    """Return values over the steps as a chart; logarithmic where they span more than a decade."""
    arrays = {name: np.asarray(values, float) for name, values in curves.items()}
    values = np.concatenate(list(arrays.values()))
    steps = max(map(len, arrays.values()))
    lines = [
        Curve(np.arange(1, len(array) + 1), array, name.replace("_", " "), colour, dash)
        for (name, array), colour, dash in zip(arrays.items(), CURVE_COLOURS, DASHES, strict=False)
    ]
    y = axis_for(values, log=needs_log_scale(values))
    return line_chart(Axis(1.0, max(float(steps), 2.0), step, integer=True), y, lines, WIDTH, HEIGHT)


def frc_chart(frc: RingCorrelation) -> str:
    """Return the correlation over spatial frequency with both thresholds, and a line at the resolution."""
    low = min(-0.05, float(frc.correlation.min()))
    ends = np.array([0.0, 0.5])
    lines = [
        Curve(ends, np.full(2, 0.5), "0.5", "rule", "1.5 3", 1.2),
        Curve(frc.frequency, np.minimum(frc.half_bit, 1.05), "half-bit threshold", "second", "6 3", 1.3),
        Curve(frc.frequency, frc.correlation, "correlation", "accent", width=1.8),
    ]
    if not frc.half_bit_reaches_nyquist:
        lines.append(Curve(np.full(2, 1 / frc.half_bit_px), np.array([low, 1.05]), "", "ink", width=0.8))
    x = Axis(0.0, 0.5, "spatial frequency, cycles per pixel")
    return line_chart(x, Axis(low, 1.05, "Fourier ring correlation"), lines, *FRC_SIZE)


def cost_section(provenance: Mapping[str, Any]) -> Section:
    """Return the section from the record that the result carries; what was not measured is left out."""
    record = provenance.get(COST)
    facts = cost_facts(record) if isinstance(record, Mapping) else []
    return Section(COST, COST_TITLE, [Facts(facts)]) if facts else Section(COST, COST_TITLE, absent=NO_COST)


def cost_facts(record: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Return labels and values of a record of `utils.solve_meter.SolveMeter`."""
    facts = list[tuple[str, Cell]]()
    if isinstance(device := record.get("device"), str):
        threads = _positive(record, "threads")
        facts.append(("Device", Cell(device, remark=f"{threads:.0f} threads" if threads else "")))
    for label, name, unit in (("Solve time", "wall_s", "s"), ("Processor time", "cpu_s", "s")):
        if value := _positive(record, name):
            facts.append((label, cell_of(value, unit, 3)))
    if value := _positive(record, "patterns_per_s"):
        facts.append(("Throughput", cell_of(value, "patterns per second", 3)))
    if value := _positive(record, "passes"):
        facts.append(("Passes", cell_of(value, digits=3)))
    if value := _positive(record, "fft_bound_share"):
        facts.append(("Share of the FFT bound", cell_of(100 * value, "%", 2)))
    if value := _positive(record, "peak_memory_bytes"):
        facts.append(("Peak memory", Cell(human_size(value))))
    if value := _positive(record, "energy_J"):
        facts.append(("Energy of the solve", cell_of(value, "J", 3)))
    return facts


def _positive(record: Mapping[str, Any], name: str) -> float | None:
    """Return a positive, finite number of a record, which a file may hold anything in; None for others."""
    value = number(record.get(name))
    return float(value) if value is not None and value > 0 else None


def _caption(history: History) -> str:
    sentences = []
    if any(name.startswith(PROBE) for name in history):
        sentences.append("The probe loss is of the rounds that find the probe; with it the object is solved for anew.")
    if any(name.startswith(("held_out", "val")) for name in history):
        sentences.append("A held-out loss that rises while the loss falls means that noise is being fitted.")
    lengths = [[len(history.get(f"{stage}{name}", [])) for name in ("held_out_loss", "loss")] for stage in STAGES]
    if any(0 < held_out < all_steps for held_out, all_steps in lengths):
        sentences.append("Where the held-out loss ends, its pixels are fitted too: from there on the loss counts them.")
    if any(name.startswith(POLISH) for name in history):
        sentences.append("Polishing starts from the result of the rounds, and counts its own iterations.")
    return " ".join(sentences)


def _compared_images(evaluation: Evaluation) -> str:
    if evaluation.comparison is None:
        return "two halves of the scan, each solved alone"
    return f"the object and the {evaluation.comparison.kind}"


def _describe_frc(frc: RingCorrelation) -> str:
    return (
        f"Fourier ring correlation from {frc.correlation[0]:.2f} at the lowest to {frc.correlation[-1]:.2f} at the "
        f"highest frequency; {resolution_text(frc, None).lower()}."
    )


def _describe_course(curves: Mapping[str, Sequence[float]], step: str) -> str:
    parts = []
    for name, values in curves.items():
        finite = np.asarray(values, float)[np.isfinite(np.asarray(values, float))]
        parts.append(f"{name.replace('_', ' ')} from {finite[0]:.4g} to {finite[-1]:.4g}")
    return f"{'; '.join(parts)}, over {max(map(len, curves.values()))} {step}s."
