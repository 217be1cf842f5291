"""The waterfall: factor of every stage on the amplitude, from 1 to the total, on a logarithmic axis."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.style import ACCENT, ASIDE, INK, MUTED, escape_mathtext, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ptypinn.stages.diagnose import Diagnosis

LOST = LIGHT_THEME["second"]
"""Colour of a stage that does not preserve the scale: it differs from the others in lightness as well as in hue."""
MIN_REACH = 1.12
"""The axis reaches at least this factor to either side of 1, so that a healthy run looks healthy."""
NEAR_ONE = (0.98, 1.02, 0.95, 1.05, 0.9, 1.1, 0.8, 1.2, 0.7, 1.5, 0.6)
TITLE_WIDTH = 112
TOTAL = "total"
"""Name of the last bar."""
AXIS_LABEL = "amplitude so far, relative to its expected value"


@dataclass(frozen=True)
class Bar:
    """One step of the waterfall."""

    stage: str
    """Name of the stage."""
    start: float
    """Product of the factors of the stages before it."""
    stop: float
    """Product up to and including it: `start` times its factor."""
    on_path: bool
    """True if the next bar starts where this one stops."""
    lost: bool
    """True if the diagnosis names it."""

    @property
    def factor(self) -> float:
        """Factor of the stage."""
        return self.stop / self.start

    @property
    def drawable(self) -> bool:
        """True if both ends lie on a logarithmic axis."""
        return all(math.isfinite(end) and end > 0 for end in (self.start, self.stop))


def waterfall_bars(diagnosis: Diagnosis) -> list[Bar]:
    """Return the steps from 1 to the total; those of stages off the path lead nowhere."""
    named = {finding.stage for finding in diagnosis.findings}
    bars, level = [], 1.0
    for entry in diagnosis.ledger:
        bar = Bar(entry.stage, level, level * entry.discrepancy, entry.on_path, entry.stage in named)
        bars.append(bar)
        if entry.on_path and bar.drawable:
            level = bar.stop
    return bars


def waterfall_figure(diagnosis: Diagnosis, title: bool = True) -> Figure:
    """Draw the factors of all stages as steps from 1 to the total.

    Stages off the path are hollow; those that the diagnosis names are orange.

    Args:
        diagnosis: The diagnosis.
        title: Print the verdict above.
    """
    bars, verdict = waterfall_bars(diagnosis), textwrap.wrap(diagnosis.verdict, TITLE_WIDTH) if title else []
    figure = new_figure(9.0, 1.3 + 0.2 * len(verdict) + 0.33 * (len(bars) + 1))
    axes = figure.subplots()
    for row, bar in enumerate(bars):
        _draw(axes, row, bar)
    _connect(axes, bars)
    total = Bar(TOTAL, 1.0, diagnosis.total, True, not diagnosis.healthy)
    _draw(axes, len(bars), total, INK)
    if verdict:
        figure.suptitle(escape_mathtext("\n".join(verdict)), fontsize=10, color=INK, x=0.02, ha="left")
    _finish(axes, [*bars, total], diagnosis.total_name)
    return figure


def _draw(axes: Axes, row: int, bar: Bar, colour: str = "") -> None:
    if not bar.drawable:
        axes.text(1.0, row, "  not finite", va="center", fontsize=9, color=LOST)
        return
    colour = colour or (LOST if bar.lost else ACCENT)
    style: dict[str, Any] = (
        {"color": colour} if bar.on_path else {"facecolor": "none", "edgecolor": colour, "linestyle": "--"}
    )
    axes.barh(row, bar.stop - bar.start, left=bar.start, height=0.62, linewidth=1.2, **style)
    axes.plot([bar.start] * 2, [row - 0.31, row + 0.31], color=colour, lw=1.4)
    axes.annotate(
        f"×{bar.factor:.4g}",  # noqa: RUF001 - a sign for people
        (max(bar.start, bar.stop), row),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=colour,
        bbox={"facecolor": LIGHT_THEME["card"], "edgecolor": "none", "pad": 0.5},
        fontweight="bold" if bar.lost or bar.stage == TOTAL else "normal",
    )


def _connect(axes: Axes, bars: Sequence[Bar]) -> None:
    """Draw thin lines from the end of one stage on the path to the start of the next one, and on to the total."""
    steps = [(row, bar) for row, bar in enumerate(bars) if bar.on_path and bar.drawable]
    ends = [row for row, _ in steps[1:]] + [len(bars)]
    for (row, bar), end in zip(steps, ends, strict=False):
        axes.plot([bar.stop] * 2, [row + 0.31, end - 0.31], color=MUTED, lw=0.9, zorder=0)


def _finish(axes: Axes, bars: Sequence[Bar], total_name: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = factor_limits(bars)
    room = (high / low) ** 0.12
    axes.set_xscale("log")
    axes.set_xlim(low / room**0.5, high * room)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [escape_mathtext(bar_label(bar, total_name)) for bar in bars], fontsize=9)
    for text, bar in zip(axes.get_yticklabels(), bars, strict=True):
        text.set_color(LOST if bar.lost and bar.stage != TOTAL else INK if bar.on_path else ASIDE)
    axes.xaxis.set_major_locator(FixedLocator(factor_ticks(low / room**0.5, high * room)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(AXIS_LABEL, fontsize=9)
    axes.axvline(1.0, color=INK, lw=0.8, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.25, lw=0.6)


def factor_limits(bars: Sequence[Bar]) -> tuple[float, float]:
    """Return the smallest and the largest amplitude that the axis must hold."""
    ends = [end for bar in bars if bar.drawable for end in (bar.start, bar.stop)]
    return min([1 / MIN_REACH, *ends]), max([MIN_REACH, *ends])


def bar_label(bar: Bar, total_name: str) -> str:
    """Return the label of a bar; stages off the path stand in parentheses."""
    if bar.stage == TOTAL:
        return total_name
    return bar.stage if bar.on_path else f"({bar.stage})"


def factor_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two ends, at least a twelfth of the axis apart; 1 is always among them.

    >>> factor_ticks(0.4, 3.0)
    [0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0]
    """
    min_gap = math.log(high / low) / 12
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [base * 10.0**decade for base in (1.0, 2.0, 5.0) for decade in sorted(decades, key=abs)]
    ticks = [1.0]
    for number in [*numbers, *NEAR_ONE]:
        if low <= number <= high and all(abs(math.log(number / tick)) >= min_gap for tick in ticks):
            ticks.append(number)
    return sorted(ticks)
