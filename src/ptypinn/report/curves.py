"""Curves of a reconstruction: convergence and Fourier ring correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.metrics import RingCorrelation
from ptypinn.report.style import ACCENT, INK, MUTED, metres, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (ACCENT, "#c4571b", "#5b7f2b", "#7a4fa3", "#94651f", MUTED)


def convergence_figure(history: Mapping[str, Sequence[float]], step: str = "iteration") -> Figure:
    """Every recorded figure over the steps, one panel each; logarithmic where it spans more than a decade.

    Args:
        history: Values by name, one per step; NaN leaves a gap.
        step: What a step is called.
    """
    shown = {name: values for name, values in history.items() if np.isfinite(np.asarray(values, float)).any()}
    panels = _panels(shown)
    figure = new_figure(10.0 if len(panels) > 1 else 6.5, 3.2 * -(-max(len(panels), 1) // 2))
    axes = figure.subplots(-(-max(len(panels), 1) // 2), min(max(len(panels), 1), 2), squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    for panel, names in zip(axes, panels, strict=False):
        for name, colour in zip(names, COLOURS, strict=False):
            values = np.asarray(shown[name], float)
            panel.plot(np.arange(1, len(values) + 1), values, color=colour, lw=1.6, label=name.replace("_", " "))
        _use_log_scale(panel, np.concatenate([np.asarray(shown[name], float) for name in names]))
        panel.set_xlabel(step)
        panel.legend(fontsize=8, frameon=False)
        _quiet(panel)
    return figure


def frc_figure(frc: RingCorrelation, pixel_size_m: float | None = None) -> Figure:
    """The correlation over spatial frequency with both thresholds and their crossings."""
    figure = new_figure(7.0, 3.8)
    axes = figure.subplots()
    axes.plot(frc.frequency, frc.correlation, color=ACCENT, lw=1.8, label="correlation")
    axes.plot(frc.frequency, frc.half_bit, color="#c4571b", lw=1.2, ls="--", label="half-bit threshold")
    axes.axhline(0.5, color=MUTED, lw=1.0, ls=":", label="0.5")
    if not frc.half_bit_reaches_nyquist:
        axes.axvline(1 / frc.half_bit_px, color=INK, lw=0.8)
    axes.set_xlim(0, 0.5)
    axes.set_ylim(min(-0.05, float(frc.correlation.min())), 1.05)
    axes.set_xlabel("spatial frequency, cycles per pixel")
    axes.set_ylabel("Fourier ring correlation")
    axes.set_title(_resolution_text(frc, pixel_size_m), fontsize=10, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    _quiet(axes)
    return figure


def _resolution_text(frc: RingCorrelation, pixel_size_m: float | None) -> str:
    length = "" if pixel_size_m is None else f" = {metres(frc.half_bit_px * pixel_size_m)}"
    if frc.half_bit_reaches_nyquist:
        return f"Resolution limited by the pixel: {frc.half_bit_px:.2f} px{length} full period"
    return f"Half-bit resolution: {frc.half_bit_px:.2f} px{length} full period"


def _panels(history: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Figures of one kind share a panel: `loss` with `held_out_loss` and `val_loss`."""
    panels: dict[str, list[str]] = {}
    for name in history:
        kind = "loss" if name.endswith("loss") else name
        panels.setdefault(kind, []).append(name)
    return list(panels.values())


def _use_log_scale(axes: Axes, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)]
    if (finite > 0).all() and finite.max() > 10 * finite.min():
        axes.set_yscale("log")


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)
