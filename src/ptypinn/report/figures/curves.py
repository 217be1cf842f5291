"""Curves of a reconstruction: convergence and Fourier ring correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from ptypinn.metrics import RingCorrelation
from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.style import ACCENT, INK, MUTED, literal, new_figure, quiet
from ptypinn.report.text.metric_labels import metres

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = tuple(LIGHT_THEME[name] for name in ("accent", "second", "third", "fourth", "fifth", "rule"))
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
PROBE, POLISH = "probe_", "polish_"
"""What the names of figures begin with that the search for the probe, and polishing, have recorded."""
SMALL = (4.8, 3.0)
"""Width and height of one panel, inches: text keeps its size on a phone."""
LABEL_PT, TICK_PT = 10, 9


def convergence_figure(history: Mapping[str, Sequence[float]], step: str = "iteration") -> Figure:
    """Every recorded figure over the steps, one panel each; logarithmic where it spans more than a decade.

    Args:
        history: Values by name, one per step; NaN leaves a gap.
        step: What a step is called.
    """
    panels = history_panels(history)
    columns, rows = min(max(len(panels), 1), 2), -(-max(len(panels), 1) // 2)
    figure = new_figure(SMALL[0] * columns, SMALL[1] * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    for panel, curves in zip(axes, panels.values(), strict=False):
        draw_history(panel, curves, step)
    return figure


def history_figure(curves: Mapping[str, Sequence[float]], step: str = "iteration") -> Figure:
    """Figures of one kind over the steps."""
    figure = new_figure(*SMALL)
    draw_history(figure.subplots(), curves, step)
    return figure


def history_panels(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Sequence[float]]]:
    """Curves that share a panel, by its name: `loss` with `held_out_loss` and `val_loss`; those without a number go.

    Those of the search for the probe and of polishing, which count their own steps, have panels of their own.
    """
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in history.items():
        if np.isfinite(np.asarray(values, float)).any():
            stage = next((stage for stage in (PROBE, POLISH) if name.startswith(stage)), "")
            panels.setdefault(f"{stage}loss" if name.endswith("loss") else name, {})[name] = values
    return panels


def draw_history(axes: Axes, curves: Mapping[str, Sequence[float]], step: str) -> None:
    """Draw curves into one panel."""
    for (name, values), colour, line in zip(curves.items(), COLOURS, STYLES, strict=False):
        places = np.arange(1, len(values) + 1)
        axes.plot(
            places, np.asarray(values, float), color=colour, ls=line, lw=1.6, label=literal(name.replace("_", " "))
        )
    _use_log_scale(axes, np.concatenate([np.asarray(values, float) for values in curves.values()]))
    axes.set_xlabel(step, fontsize=LABEL_PT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=TICK_PT, frameon=False)
    quiet(axes, TICK_PT)


def frc_figure(frc: RingCorrelation, pixel_size_m: float | None = None, title: bool = True) -> Figure:
    """The correlation over spatial frequency with both thresholds and their crossings.

    Args:
        frc: The curves.
        pixel_size_m: Pixel, metres, where known.
        title: Print the resolution above.
    """
    figure = new_figure(5.4, 3.4)
    axes = figure.subplots()
    axes.plot(frc.frequency, frc.correlation, color=ACCENT, lw=1.8, label="correlation")
    axes.plot(frc.frequency, frc.half_bit, color=COLOURS[1], lw=1.2, ls="--", label="half-bit threshold")
    axes.axhline(0.5, color=MUTED, lw=1.0, ls=":", label="0.5")
    if not frc.half_bit_reaches_nyquist:
        axes.axvline(1 / frc.half_bit_px, color=INK, lw=0.8)
    axes.set_xlim(0, 0.5)
    axes.set_ylim(min(-0.05, float(frc.correlation.min())), 1.05)
    axes.set_xlabel("spatial frequency, cycles per pixel", fontsize=LABEL_PT)
    axes.set_ylabel("Fourier ring correlation", fontsize=LABEL_PT)
    if title:
        axes.set_title(resolution_text(frc, pixel_size_m), fontsize=10, color=INK)
    axes.legend(fontsize=TICK_PT, frameon=False, loc="lower left")
    quiet(axes, TICK_PT)
    return figure


def resolution_text(frc: RingCorrelation, pixel_size_m: float | None) -> str:
    """The resolution in words, in metres too where the pixel is known."""
    length = "" if pixel_size_m is None else f" = {metres(frc.half_bit_px * pixel_size_m)}"
    if frc.half_bit_reaches_nyquist:
        return f"Resolution limited by the pixel: {frc.half_bit_px:.2f} px{length} full period"
    return f"Half-bit resolution: {frc.half_bit_px:.2f} px{length} full period"


def _use_log_scale(axes: Axes, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)]
    if (finite > 0).all() and finite.max() > 10 * finite.min():
        axes.set_yscale("log")
