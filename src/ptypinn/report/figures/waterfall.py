"""The waterfall: factor of every stage on the amplitude, from 1 to the total, on a logarithmic axis."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.style import ACCENT, ASIDE, INK, MUTED, escape_mathtext, new_figure
from ptypinn.report.text.diagnosis import TOTAL, Bar, bar_label, factor_limits, waterfall_bars
from ptypinn.utils.number_format import factor_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ptypinn.stages.diagnose import Diagnosis

LOST = LIGHT_THEME["second"]
"""Colour of a stage that does not preserve the scale: it differs from the others in lightness as well as in hue."""
TITLE_WIDTH = 112
AXIS_LABEL = "amplitude so far, relative to its expected value"


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
