"""Line charts of a page: SVG text with the page's own colours and fonts, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import escape

from ptypinn.utils.number_format import decade_label, log_values, round_values, tick_labels

FONT_PX, TICK_PX = 10.0, 9.0
CHARACTER = 0.6
"""Mean width of a character over the size of the font, rounded up so that labels never touch."""
PADDING, ROW = 8.0, 14.0
"""Space around the chart and height of a row of text."""
UNITS_PER_INCH = 72.0
"""Units of the drawing in an inch, in which pages size drawings."""


@dataclass(frozen=True)
class Axis:
    """One axis of a chart."""

    low: float
    """Value at the lower end."""
    high: float
    """Value at the upper end."""
    label: str = ""
    """Quantity and unit."""
    log: bool = False
    """Logarithmic instead of linear."""
    integer: bool = False
    """Ticks at whole numbers only."""

    def positions(self, values: np.ndarray | float) -> np.ndarray:
        """Return the fraction of the axis at which each value lies."""
        if self.log:
            return np.asarray(np.log(np.asarray(values) / self.low) / np.log(self.high / self.low))
        return np.asarray((np.asarray(values) - self.low) / (self.high - self.low))

    def ticks(self) -> list[tuple[float, str]]:
        """Return round values with their labels."""
        if self.log:
            values = log_values(self.low, self.high)
            return [(value, _log_label(value)) for value in values]
        values = round_values(self.low, self.high, 5, self.integer)
        return list(zip(values, tick_labels(values, self.high - self.low), strict=True))


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    x: np.ndarray
    """Values along the horizontal axis."""
    y: np.ndarray
    """Values along the vertical axis; those that are not finite leave a gap."""
    label: str = ""
    """Name in the legend; without one the line is not listed."""
    colour: str = "accent"
    """Name of a colour of the page."""
    dash: str = ""
    """Pattern of dashes; empty for a solid line."""
    width: float = 1.6
    """Width of the line."""


def axis_for(values: np.ndarray, label: str = "", log: bool = False, margin: float = 0.05) -> Axis:
    """Return an axis that spans all finite values with a margin at both ends.

    >>> axis = axis_for(np.array([1.0, 100.0]), log=True, margin=0.0)
    >>> axis.low, axis.high
    (1.0, 100.0)
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if log:
        factor = max(high / low, 1.01) ** margin
        return Axis(low / factor, high * factor, label, log=True)
    reach = margin * (high - low) or 0.05 * max(abs(high), 1e-3)
    return Axis(low - reach, high + reach, label)


def line_chart(x: Axis, y: Axis, curves: Sequence[Curve], width: float = 345.0, height: float = 216.0) -> str:
    """Return a chart as an `svg` element: grid, ticks, curves, and a legend above.

    Args:
        x: Horizontal axis.
        y: Vertical axis.
        curves: The lines; all of their finite values lie within the axes.
        width: Width of the drawing.
        height: Height of the drawing.
    """
    rows = legend_rows([curve for curve in curves if curve.label], width - 2 * PADDING)
    y_ticks = y.ticks()
    left = PADDING + (ROW if y.label else 0.0) + text_width([label for _, label in y_ticks], TICK_PX) + 6
    box = Box(left, PADDING + ROW * len(rows), width - PADDING - 4, height - 2 * ROW - PADDING)
    parts = [*_horizontal_grid(box, y, y_ticks), *_vertical_grid(box, x)]
    parts += [_line(box, x, y, curve) for curve in curves]
    parts += [part for number, row in enumerate(rows) for part in _legend_row(row, box.left, PADDING + ROW * number)]
    parts.append(text_element(x.label, (box.left + box.right) / 2, height - PADDING + 1, "middle"))
    if y.label:
        middle = (box.top + box.bottom) / 2
        parts.append(text_element(y.label, PADDING + 4, middle, "middle", upwards=True))
    return svg_element(width, height, parts)


@dataclass(frozen=True)
class Box:
    """The rectangle of a drawing that the axes span."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, fraction: float) -> float:
        """Return the horizontal coordinate of a fraction of the axis."""
        return self.left + fraction * (self.right - self.left)

    def y(self, fraction: float) -> float:
        """Return the vertical coordinate of a fraction of the axis, upwards."""
        return self.bottom - fraction * (self.bottom - self.top)


def svg_element(width: float, height: float, parts: Sequence[str]) -> str:
    """Return an `svg` element around its parts."""
    return f'<svg viewBox="0 0 {width:.5g} {height:.5g}">{"".join(parts)}</svg>'


def stroke_path(path: str, colour: str, width: float, dash: str = "", opacity: float = 1.0) -> str:
    """Return a path that is stroked in a colour of the page."""
    style = f"fill: none; stroke: var(--{colour}); stroke-width: {width:g}; stroke-linejoin: round"
    style += f"; stroke-dasharray: {dash}" if dash else ""
    style += f"; stroke-opacity: {opacity:g}" if opacity < 1 else ""
    return f'<path d="{path}" style="{style}"/>'


def text_element(
    text: str, x: float, y: float, anchor: str = "start", size: float = FONT_PX, style: str = "", upwards: bool = False
) -> str:
    """Return a line of text; `anchor` is start, middle or end, and `upwards` writes it upwards."""
    rotation = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if upwards else ""
    style = f"font: {size:g}px system-ui, sans-serif; text-anchor: {anchor}{'; ' if style else ''}{style}"
    return f'<text x="{x:.1f}" y="{y:.1f}"{rotation} style="{style}">{escape(text)}</text>'


def text_width(texts: Sequence[str], size: float) -> float:
    """Return the width of the longest of several texts, estimated from its number of characters."""
    return CHARACTER * size * max(map(len, texts), default=0)


def legend_rows(curves: Sequence[Curve], width: float) -> list[list[Curve]]:
    """Return the curves of a legend in rows that fit into a width."""
    rows: list[list[Curve]] = []
    used = 0.0
    for curve in curves:
        need = _legend_width(curve)
        if not rows or used + need > width:
            rows.append([])
            used = 0.0
        rows[-1].append(curve)
        used += need
    return rows


def _legend_width(curve: Curve) -> float:
    return 22 + text_width([curve.label], TICK_PX) + 12


def _legend_row(curves: Sequence[Curve], left: float, top: float) -> list[str]:
    parts = []
    for curve in curves:
        middle = top + ROW / 2 - 2
        parts.append(stroke_path(f"M{left:.1f} {middle:.1f}h18", curve.colour, curve.width, curve.dash))
        parts.append(text_element(curve.label, left + 22, middle + 3.2, size=TICK_PX))
        left += _legend_width(curve)
    return parts


def _horizontal_grid(box: Box, axis: Axis, ticks: Sequence[tuple[float, str]]) -> list[str]:
    parts = [stroke_path(f"M{box.left:.1f} {box.top:.1f}V{box.bottom:.1f}", "rule", 0.8)]
    for value, label in ticks:
        height = box.y(float(axis.positions(value)))
        parts.append(stroke_path(f"M{box.left:.1f} {height:.1f}H{box.right:.1f}", "rule", 0.6, opacity=0.3))
        parts.append(text_element(label, box.left - 5, height + 3.2, "end", TICK_PX))
    return parts


def _vertical_grid(box: Box, axis: Axis) -> list[str]:
    parts = [stroke_path(f"M{box.left:.1f} {box.bottom:.1f}H{box.right:.1f}", "rule", 0.8)]
    for value, label in axis.ticks():
        place = box.x(float(axis.positions(value)))
        parts.append(stroke_path(f"M{place:.1f} {box.top:.1f}V{box.bottom:.1f}", "rule", 0.6, opacity=0.3))
        parts.append(text_element(label, place, box.bottom + 12, "middle", TICK_PX))
    return parts


def _line(box: Box, x: Axis, y: Axis, curve: Curve) -> str:
    """Return a curve as one path that starts anew after every gap."""
    with np.errstate(invalid="ignore", divide="ignore"):
        points = np.stack([x.positions(curve.x), y.positions(curve.y)], axis=-1)
    path, open_line = "", False
    for across, up in points:
        if not (np.isfinite(across) and np.isfinite(up)):
            open_line = False
            continue
        path += f"{'L' if open_line else 'M'}{box.x(across):.1f} {box.y(up):.1f}"
        open_line = True
    return stroke_path(path, curve.colour, curve.width, curve.dash)


def _log_label(value: float) -> str:
    decade = np.log10(value)
    return decade_label(decade) if abs(decade - round(decade)) < 1e-9 else tick_labels([value], value)[0]
