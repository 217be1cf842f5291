"""The waterfall: what every stage does to the amplitude, from 1 to the total, on a logarithmic axis."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.style import ACCENT, ASIDE, INK, MUTED, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ptypinn.stages.diagnose import Diagnosis

LOST = LIGHT_THEME["second"]
"""Colour of a stage that does not keep the scale: told from the others by lightness as well as by hue."""
NARROWEST = 1.12
"""The axis reaches at least this factor to either side of 1, so that a healthy run looks healthy."""
NEAR_ONE = (0.98, 1.02, 0.95, 1.05, 0.9, 1.1, 0.8, 1.2, 0.7, 1.5, 0.6)
TITLE_CHARACTERS = 112


@dataclass(frozen=True)
class Bar:
    """One step of the waterfall."""

    stage: str
    """Name of the stage."""
    start: float
    """What the stages before it have made of an amplitude of 1."""
    stop: float
    """What is left behind it; equal to `start` times its factor."""
    on_path: bool
    """Whether the next bar starts where this one stops."""
    lost: bool
    """Whether the diagnosis names it."""

    @property
    def factor(self) -> float:
        """Factor of the stage."""
        return self.stop / self.start

    @property
    def drawable(self) -> bool:
        """Whether both ends lie on a logarithmic axis."""
        return all(math.isfinite(end) and end > 0 for end in (self.start, self.stop))


def waterfall_bars(diagnosis: Diagnosis) -> list[Bar]:
    """The steps from 1 to the total; those of stages off the path lead nowhere."""
    named = {finding.stage for finding in diagnosis.findings}
    bars, level = [], 1.0
    for entry in diagnosis.ledger:
        bar = Bar(entry.stage, level, level * entry.discrepancy, entry.on_path, entry.stage in named)
        bars.append(bar)
        if entry.on_path and bar.drawable:
            level = bar.stop
    return bars


def waterfall_figure(diagnosis: Diagnosis, title: bool = True) -> Figure:
    """Factors of all stages as steps from 1 to the total.

    Stages off the path are hollow; those that the diagnosis names are orange.

    Args:
        diagnosis: What to draw.
        title: Print the verdict above.
    """
    bars, verdict = waterfall_bars(diagnosis), textwrap.wrap(diagnosis.verdict, TITLE_CHARACTERS) if title else []
    figure = new_figure(9.0, 1.3 + 0.2 * len(verdict) + 0.33 * (len(bars) + 1))
    axes = figure.subplots()
    for row, bar in enumerate(bars):
        _draw(axes, row, bar)
    _connect(axes, bars)
    total = Bar("total", 1.0, diagnosis.total, True, not diagnosis.healthy)
    _draw(axes, len(bars), total, INK)
    if verdict:
        figure.suptitle(literal("\n".join(verdict)), fontsize=10, color=INK, x=0.02, ha="left")
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
        fontweight="bold" if bar.lost or bar.stage == "total" else "normal",
    )


def _connect(axes: Axes, bars: Sequence[Bar]) -> None:
    """Thin lines from where one stage on the path stops to where the next one starts, and on to the total."""
    steps = [(row, bar) for row, bar in enumerate(bars) if bar.on_path and bar.drawable]
    ends = [row for row, _ in steps[1:]] + [len(bars)]
    for (row, bar), end in zip(steps, ends, strict=False):
        axes.plot([bar.stop] * 2, [row + 0.31, end - 0.31], color=MUTED, lw=0.9, zorder=0)


def _finish(axes: Axes, bars: Sequence[Bar], total_name: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = [end for bar in bars if bar.drawable for end in (bar.start, bar.stop)]
    low, high = min([1 / NARROWEST, *ends]), max([NARROWEST, *ends])
    room = (high / low) ** 0.12
    axes.set_xscale("log")
    axes.set_xlim(low / room**0.5, high * room)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [literal(_label(bar, total_name)) for bar in bars], fontsize=9)
    for text, bar in zip(axes.get_yticklabels(), bars, strict=True):
        text.set_color(LOST if bar.lost and bar.stage != "total" else INK if bar.on_path else ASIDE)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low / room**0.5, high * room)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("amplitude so far, relative to what is due", fontsize=9)
    axes.axvline(1.0, color=INK, lw=0.8, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.25, lw=0.6)


def _label(bar: Bar, total_name: str) -> str:
    if bar.stage == "total":
        return total_name
    return bar.stage if bar.on_path else f"({bar.stage})"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends, not closer than a twelfth of the axis; 1 is always among them."""
    least = math.log(high / low) / 12
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [base * 10.0**decade for base in (1.0, 2.0, 5.0) for decade in sorted(decades, key=abs)]
    ticks = [1.0]
    for number in [*numbers, *NEAR_ONE]:
        if low <= number <= high and all(abs(math.log(number / tick)) >= least for tick in ticks):
            ticks.append(number)
    return sorted(ticks)
