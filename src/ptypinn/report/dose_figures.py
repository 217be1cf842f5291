"""Curves of the dose study: amplitude ratio, complex error with the shot-noise limit, and resolution against dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.report.curves import COLOURS
from ptypinn.report.style import ACCENT, INK, MUTED, new_figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARMS = {
    "scaled": ("probe scaled with the dose", ACCENT, "o", "-"),
    "held": ("negative control: probe held", COLOURS[1], "s", "--"),
}
"""Label, colour, marker and line of each arm."""

Points = Sequence[Mapping[str, Any]]


def dose_figure(points: Points) -> Figure:
    """Three panels for every scenario, with the spread over seeds as error bars.

    Args:
        points: What `dose_study` found: mean and `_std` of every figure by scenario, arm and dose.
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
        _draw_arm(axes, here, arm, name, ", scale forgiven" if arm == "held" else "")
    # both arms count the same photons, so they share one limit
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
    quiet(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
        if logarithmic:
            axes.set_yscale("log")
