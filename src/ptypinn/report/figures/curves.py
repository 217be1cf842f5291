"""Curves of a reconstruction: grouping of recorded values into panels, resolution in words, the convergence figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.metrics import RingCorrelation
from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.style import escape_mathtext, new_figure, style_axes
from ptypinn.utils.number_format import format_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE_COLOURS = ("accent", "second", "third", "fourth", "fifth", "rule")
"""Colours of the curves of a panel, by their names in the theme."""
COLOURS = tuple(LIGHT_THEME[name] for name in CURVE_COLOURS)
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
PROBE, POLISH = "probe_", "polish_"
"""Prefixes of what the search for the probe, and polishing, have recorded."""
PANEL_IN = (4.8, 3.0)
"""Width and height of one panel, inches: text keeps its size on a phone."""
LABEL_PT, TICK_PT = 10, 9

History = Mapping[str, Sequence[float]]


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


def history_panels(history: History) -> dict[str, dict[str, Sequence[float]]]:
    """Return the curves of each panel, by its name; those without a finite value are left out.

    Every loss is in one panel with its held-out loss. The search for the probe and polishing count their own steps, and
    have panels of their own.

    >>> panels = history_panels({"loss": [2.0, 1.0], "held_out_loss": [2.0, 1.5], "polish_loss": [1.0]})
    >>> {name: list(curves) for name, curves in panels.items()}
    {'loss': ['loss', 'held_out_loss'], 'polish_loss': ['polish_loss']}
    """
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in history.items():
        if np.isfinite(np.asarray(values, float)).any():
            stage = next((stage for stage in (PROBE, POLISH) if name.startswith(stage)), "")
            panels.setdefault(f"{stage}loss" if name.endswith("loss") else name, {})[name] = values
    return panels


def needs_log_scale(values: np.ndarray) -> bool:
    """Return True if all values are positive and span more than a decade."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and (finite > 0).all() and finite.max() > 10 * finite.min())


def resolution_text(frc: RingCorrelation, pixel_size_m: float | None) -> str:
    """Return the resolution in words, in metres too where the pixel size is given."""
    length = "" if pixel_size_m is None else f" = {format_length(frc.half_bit_px * pixel_size_m)}"
    if frc.half_bit_reaches_nyquist:
        return f"Resolution limited by the pixel: {frc.half_bit_px:.2f} px{length} full period"
    return f"Half-bit resolution: {frc.half_bit_px:.2f} px{length} full period"


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
