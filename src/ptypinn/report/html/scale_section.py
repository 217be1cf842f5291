"""Section of a report: the scale ledger, which follows the amplitude from counts to object, and its chart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from ptypinn.report.figures.waterfall import AXIS_LABEL
from ptypinn.report.html.page import Block, Cell, Drawing, Figures, Fold, Points, Section, Table
from ptypinn.report.html.svg_chart import (
    FONT_PX,
    PADDING,
    TICK_PX,
    UNITS_PER_INCH,
    Axis,
    Box,
    stroke_path,
    svg_element,
    text_element,
    text_width,
)
from ptypinn.report.text.diagnosis import TOTAL, Bar, bar_label, factor_limits, number, stats_rows, waterfall_bars
from ptypinn.stages.diagnose import Diagnosis
from ptypinn.utils.number_format import factor_ticks

WIDTH, ROW = 650.0, 24.0
BAR = 15.0
"""Height of a bar."""
VALUE_WIDTH = 64.0
"""Space to the right of the largest bar for its factor."""
KEY, TITLE = "scale", "Scale ledger"
CAPTION = "Every stage multiplies the amplitude by its factor. Hollow steps are checked, but not part of the product."
_NO_NUMBER = re.compile(r"\bnan\b")
HEADER = ("Stage", "Expected", "Measured", "Factor", "Product", "Source")


def waterfall_drawing(diagnosis: Diagnosis) -> Drawing:
    """Return the factors of all stages as bars from 1 to the total; the stages that the diagnosis names stand out."""
    bars = [*waterfall_bars(diagnosis), Bar(TOTAL, 1.0, diagnosis.total, True, not diagnosis.healthy)]
    labels = [bar_label(bar, diagnosis.total_name) for bar in bars]
    height = PADDING + ROW * len(bars) + 34
    left = 2 * PADDING + text_width(labels, FONT_PX)
    box = Box(left, PADDING, WIDTH - VALUE_WIDTH, PADDING + ROW * len(bars))
    low, high = factor_limits(bars)
    margin = (high / low) ** 0.04
    axis = Axis(low / margin, high * margin, log=True)
    parts = _grid(box, axis)
    parts += _connectors(box, axis, bars)
    for row, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        parts += _bar_parts(box, axis, bar, label, PADDING + ROW * (row + 0.5))
    parts.append(text_element(AXIS_LABEL, (box.left + box.right) / 2, height - 4, "middle"))
    alt = f"Factors of {len(diagnosis.ledger)} stages as steps from 1 to {number(diagnosis.total, '.4g')}."
    return Drawing(svg_element(WIDTH, height, parts), alt, WIDTH / UNITS_PER_INCH)


def _grid(box: Box, axis: Axis) -> list[str]:
    parts = []
    for value in factor_ticks(axis.low, axis.high):
        place = box.x(float(axis.positions(value)))
        opacity = 1.0 if value == 1 else 0.3
        parts.append(stroke_path(f"M{place:.1f} {box.top:.1f}V{box.bottom:.1f}", "rule", 0.8, opacity=opacity))
        parts.append(text_element(f"{value:.4g}", place, box.bottom + 13, "middle", TICK_PX))
    return parts


def _connectors(box: Box, axis: Axis, bars: Sequence[Bar]) -> list[str]:
    """Return thin lines from the end of one stage on the path to the start of the next one."""
    steps = [(row, bar) for row, bar in enumerate(bars) if bar.on_path and bar.drawable]
    parts = []
    for (row, bar), (next_row, _) in itertools.pairwise(steps):
        place = box.x(float(axis.positions(bar.stop)))
        start, end = PADDING + ROW * (row + 0.5) + BAR / 2, PADDING + ROW * (next_row + 0.5) - BAR / 2
        parts.append(stroke_path(f"M{place:.1f} {start:.1f}V{end:.1f}", "rule", 0.9))
    return parts


def _bar_parts(box: Box, axis: Axis, bar: Bar, label: str, middle: float) -> list[str]:
    """Return label, bar and factor of one stage."""
    colour = "ink" if bar.stage == TOTAL else "second" if bar.lost else "accent"
    label_colour = "second" if bar.lost and bar.stage != TOTAL else "ink" if bar.on_path else "muted"
    parts = [text_element(label, box.left - PADDING, middle + 3.5, "end", style=f"fill: var(--{label_colour})")]
    if not bar.drawable:
        place = box.x(float(axis.positions(1.0))) + 5
        return [*parts, text_element("not finite", place, middle + 3.5, style="fill: var(--second)")]
    start, stop = sorted(box.x(float(axis.positions(end))) for end in (bar.start, bar.stop))
    fill = f"fill: var(--{colour})" if bar.on_path else "fill: none; stroke-dasharray: 4 2"
    parts.append(
        f'<rect x="{start:.1f}" y="{middle - BAR / 2:.1f}" width="{max(stop - start, 0.8):.1f}" height="{BAR:g}" '
        f'style="{fill}; stroke: var(--{colour}); stroke-width: 1.2"/>'
    )
    style = f"fill: var(--{colour}){'; font-weight: bold' if bar.lost or bar.stage == TOTAL else ''}"
    factor = f"×{bar.factor:.4g}"  # noqa: RUF001 - a sign for people
    return [*parts, text_element(factor, stop + 5, middle + 3.5, style=style)]


def scale_section(diagnosis: Diagnosis | None) -> Section:
    """Return the section on the scale ledger of a reconstruction; a remark where it carries none."""
    if diagnosis is not None:
        return diagnosis_section(diagnosis)
    return Section(KEY, TITLE, absent="Not shown: no scale ledger is on record. `ptypinn diagnose RUN SCAN` makes one.")


def diagnosis_section(diagnosis: Diagnosis) -> Section:
    """Return verdict, waterfall and ledger of a diagnosis."""
    sentences = [verdict_sentence(diagnosis)]
    sentences += [f"What to do about {finding.stage}: {finding.advice}." for finding in diagnosis.findings]
    drawing = waterfall_drawing(diagnosis)
    blocks: list[Block] = [Points(sentences), Figures([drawing], CAPTION, 1), _ledger_table(diagnosis)]
    return Section(KEY, TITLE, [*blocks, *_stats_table(diagnosis)])


def verdict_sentence(diagnosis: Diagnosis) -> str:
    """Return the verdict as a sentence; a factor without a value is called unknown."""
    sentence = _NO_NUMBER.sub("unknown", diagnosis.verdict)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _ledger_table(diagnosis: Diagnosis) -> Fold:
    rows = [
        [
            Cell(bar.stage if bar.on_path else f"({bar.stage})"),
            Cell(number(entry.expected)),
            Cell(number(entry.measured)),
            Cell(number(entry.discrepancy, ".4f"), off=bar.lost),
            Cell(number(bar.stop, ".4f") if bar.on_path else ""),
            Cell(entry.source),
        ]
        for entry, bar in zip(diagnosis.ledger, waterfall_bars(diagnosis), strict=True)
    ]
    total = number(diagnosis.total, ".6g")
    remark = f"The stages multiply to {total}. Those in parentheses are checked, but not part of the product."
    table = Table("Expected and measured amplitude of every stage", HEADER, rows, words=(5,), wide=True)
    return Fold("Expected and measured, stage by stage", [table, Points([remark])])


def _stats_table(diagnosis: Diagnosis) -> list[Block]:
    """Return the statistics of the values at every stage, where they are on record."""
    rows = stats_rows(diagnosis)
    if not rows:
        return []
    header, cells = [title.capitalize() for title in rows[0]], [[Cell(text) for text in row] for row in rows[1:]]
    table = Table("Statistics by stage", header, cells, words=(1, 2), wide=True)
    return [Fold("Values at every stage", [table])]
