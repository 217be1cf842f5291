"""Figures over several runs, bias of amplitude and phase, stage ratios, and of the course of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.report.figures.colours import CURVE_COLOURS, LIGHT_THEME
from ptypinn.report.figures.style import ACCENT, INK, MUTED, escape_mathtext, new_figure, style_axes
from ptypinn.report.text.metric_labels import History, history_panels
from ptypinn.utils.number_format import needs_log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
COLOURS = tuple(LIGHT_THEME[name] for name in CURVE_COLOURS)
MARKERS = "os^Dv"
ARMS = {
    "scaled": ("probe scaled with the dose", ACCENT, "o", "-"),
    "held": ("negative control: probe held", COLOURS[1], "s", "--"),
}
"""Label, colour, marker and line of each arm."""
Points = Sequence[Mapping[str, Any]]
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
PANEL_IN = (4.8, 3.0)
"""Width and height of one panel, inches: text keeps its size on a phone."""
LABEL_PT, TICK_PT = 10, 9


def bias_figure(rows: Rows) -> Figure:
    """Bias of amplitude and phase of every run: mean, median, and the span from the 5th to the 95th percentile.

    Args:
        rows: Summaries of the runs, as `aggregate` makes them.
    """
    figure = new_figure(11.0, 1.5 + 0.42 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    panels = (
        (left, "amplitude_bias", "Amplitude minus the truth's", "transmission"),
        (right, "phase_bias_rad", "Phase minus the truth's", "radians"),
    )
    for axes, name, title, unit in panels:
        _draw_spans(axes, [row[name] for row in rows])
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlabel(unit)
    left.set_yticks(range(len(rows)), [escape_mathtext(row["run"]) for row in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)
    figure.legend(*left.get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return figure


def stage_figure(rows: Rows) -> Figure | None:
    """Factor on the object's amplitude by every stage on its path, one marker per run; None where no run has any."""
    drawn = [row for row in rows if _on_path(row)]
    if not drawn:
        return None
    stages = list(dict.fromkeys(stage for row in drawn for stage in _on_path(row)))
    figure = new_figure(10.5, 4.0)
    axes = figure.subplots()
    for number, row in enumerate(drawn):
        ratios = _on_path(row)
        x = [stages.index(stage) + 0.5 * ((number + 0.5) / len(drawn) - 0.5) for stage in ratios]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        axes.plot(x, list(ratios.values()), marker, ms=6, color=colour, label=escape_mathtext(row["run"]))
    axes.axhline(1.0, color=MUTED, lw=1.0, ls=":")
    ratios_of_all = [ratio for row in drawn for ratio in _on_path(row).values()]
    if max(ratios_of_all) > 2 * min(ratios_of_all):
        axes.set_yscale("log")
    else:
        reach = max(0.01, *(1.15 * abs(ratio - 1) for ratio in ratios_of_all))
        axes.set_ylim(1 - reach, 1 + reach)
    axes.set_xticks(range(len(stages)), [escape_mathtext(stage) for stage in stages], rotation=20, ha="right")
    axes.set_ylabel("measured over expected factor")
    axes.legend(fontsize=8, frameon=False, ncols=min(4, len(drawn)), loc="lower left", bbox_to_anchor=(0, 1.0))
    style_axes(axes)
    return figure


def _draw_spans(axes: Axes, spreads: Sequence[Mapping[str, float]]) -> None:
    places = np.arange(len(spreads))
    low, median, mean, high = (
        np.array([spread[key] for spread in spreads]) for key in ("p05", "median", "mean", "p95")
    )
    axes.hlines(places, low, high, color=ACCENT, lw=5, alpha=0.35, label="5 % to 95 % of the pixels")
    axes.plot(median, places, "|", color=ACCENT, ms=13, mew=2, label="median")
    axes.plot(mean, places, "o", color=COLOURS[1], ms=5, label="mean")
    axes.axvline(0.0, color=MUTED, lw=1.0, ls=":")
    style_axes(axes)


def _on_path(row: Mapping[str, Any]) -> dict[str, float]:
    """Ratios of the stages on the path that have a positive one."""
    return {s["stage"]: s["ratio"] for s in row["stage_ratios"] if s["on_path"] and s["ratio"] and s["ratio"] > 0}


def dose_figure(points: Points) -> Figure:
    """Three panels for every scenario, with the spread over seeds as error bars.

    Args:
        points: Result of `dose_study`: mean and `_std` of every metric by scenario, arm and dose.
    """
    scenarios = sorted({point["scenario"] for point in points})
    figure = new_figure(12.5, 4.0 * max(len(scenarios), 1))
    grid = figure.subplots(max(len(scenarios), 1), 3, squeeze=False)
    for (ratio, error, resolution), scenario in zip(grid, scenarios, strict=True):
        here = [point for point in points if point["scenario"] == scenario]
        _draw_ratio(ratio, here)
        _draw_error(error, here)
        _draw_resolution(resolution, here)
        for axes in (ratio, error, resolution):
            _finish(axes, logarithmic=axes is not resolution)
        ratio.set_title(f"{scenario}: amplitude over truth", fontsize=10, color=INK)
        error.set_title("Complex error", fontsize=10, color=INK)
        resolution.set_title("Resolution, half-bit", fontsize=10, color=INK)
    return figure


def _draw_ratio(axes: Axes, points: Points) -> None:
    for arm in ARMS:
        here = [point for point in points if point["arm"] == arm]
        if here:
            doses, expected = ([point[name] for point in here] for name in ("photons", "expected_ratio"))
            axes.plot(doses, expected, color=MUTED, lw=1.0, ls=":", label="expected" if arm == "scaled" else None)
            _draw_arm(axes, here, arm, "output_vs_truth_ratio")
    axes.set_ylabel("mean amplitude over the truth's")


def _draw_error(axes: Axes, points: Points) -> None:
    for arm, name in (("scaled", "complex_error"), ("held", "complex_error_after_factor")):
        here = [point for point in points if point["arm"] == arm]
        _draw_arm(axes, here, arm, name, ", scale fitted" if arm == "held" else "")
    # both arms count the same photons, so one limit holds for both
    limits = {point["photons"]: point["shot_noise_limit"] for point in points if "shot_noise_limit" in point}
    if limits:
        axes.plot(
            list(limits), list(limits.values()), color=INK, lw=1.2, ls="-.", label="shot noise, unbiased estimate"
        )
    axes.set_ylabel("relative distance to the truth")


def _draw_resolution(axes: Axes, points: Points) -> None:
    for arm in ARMS:
        _draw_arm(axes, [point for point in points if point["arm"] == arm], arm, "frc_half_bit_px")
    axes.axhline(2.0, color=MUTED, lw=1.0, ls=":", label="two pixels: the limit")
    axes.set_ylim(bottom=1.5)
    axes.set_ylabel("full period, pixels")


def _draw_arm(axes: Axes, points: Points, arm: str, name: str, remark: str = "") -> None:
    """One arm's means, with bars of one standard deviation over the seeds."""
    label, colour, marker, line = ARMS[arm]
    shown = [point for point in points if name in point]
    doses = np.asarray([point["photons"] for point in shown], float)
    means = np.asarray([point[name] for point in shown], float)
    spread = np.asarray([point[f"{name}_std"] or 0.0 for point in shown], float)
    style: dict[str, Any] = {"color": colour, "marker": marker, "ls": line, "lw": 1.4, "ms": 4.5, "capsize": 3}
    if len(shown):
        axes.errorbar(doses, means, yerr=np.minimum(spread, 0.9 * means), label=label + remark, **style)


def _finish(axes: Axes, logarithmic: bool) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("photons per pattern")
    style_axes(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
        if logarithmic:
            axes.set_yscale("log")


def convergence_figure(history: History, step: str = "iteration") -> Figure:
    """Draw every recorded value over the steps, one panel each; logarithmic where it spans more than a decade.

    Args:
        history: Values by name, one per step; NaN leaves a gap.
        step: Name of a step.
    """
    panels = history_panels(history)
    columns, rows = min(max(len(panels), 1), 2), -(-max(len(panels), 1) // 2)
    figure = new_figure(PANEL_IN[0] * columns, PANEL_IN[1] * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    for panel, curves in zip(axes, panels.values(), strict=False):
        _draw_history(panel, curves, step)
    return figure


def _draw_history(axes: Axes, curves: History, step: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for (name, values), colour, line in zip(curves.items(), COLOURS, STYLES, strict=False):
        steps, label = np.arange(1, len(values) + 1), escape_mathtext(name.replace("_", " "))
        axes.plot(steps, np.asarray(values, float), color=colour, ls=line, lw=1.6, label=label)
    if needs_log_scale(np.concatenate([np.asarray(values, float) for values in curves.values()])):
        axes.set_yscale("log")
    axes.set_xlabel(step, fontsize=LABEL_PT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=TICK_PT, frameon=False)
    style_axes(axes, TICK_PT)
