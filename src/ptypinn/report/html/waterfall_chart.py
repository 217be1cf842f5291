"""The waterfall of a diagnosis as SVG: factor of every stage on the amplitude, from 1 to the total."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ptypinn.report.figures.waterfall import (
    AXIS_LABEL,
    TOTAL,
    Bar,
    bar_label,
    factor_limits,
    factor_ticks,
    waterfall_bars,
)
from ptypinn.report.html.page_elements import Drawing
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
from ptypinn.report.text.diagnosis import number
from ptypinn.stages.diagnose import Diagnosis

WIDTH, ROW = 650.0, 24.0
BAR = 15.0
"""Height of a bar."""
VALUE_WIDTH = 64.0
"""Space to the right of the largest bar for its factor."""


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
