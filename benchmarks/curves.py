"""Figures of the comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ptypinn.report.figures.style import INK, MUTED, new_figure, png_bytes
from table import GROUPS, stored_runs
from truth_comparison import Trace

STYLES = {
    "zero-shot": ("unrolled solver", "#0b6e99", "-", 2.4),
    "polished": ("unrolled solver, polished", "#12a150", "-", 2.0),
    "fine-tuned": ("unrolled solver, fine-tuned", "#7b3fa0", "-", 2.0),
    "bare": ("physical steps alone", "#0b6e99", ":", 1.4),
    "refine": ("refine", "#1b1f24", "--", 1.4),
    "lsqml": ("LSQ-ML (ptychi)", "#d9480f", "-", 1.4),
    "epie": ("ePIE (ptychi)", "#e8a33d", "-", 1.4),
}
"""Label, colour, line style and width of every method."""
SHOWN = ("dense-1e4", "structured-1e4", "guess-1e4", "dense-1e6", "slow-1e6", "guess-1e6")


def quality_figure(path: Path, weights: str | None) -> None:
    """Draw the error against CPU seconds, a panel for each of `SHOWN`: medians over the scans."""
    figure = new_figure(11.0, 6.2)
    grid, lines = figure.subplots(2, 3), {}
    for axes, name in zip(grid.flat, SHOWN, strict=True):
        for method, (label, colour, dashes, width) in STYLES.items():
            traces = [run.trace for run in stored_runs(GROUPS[name], method, weights) if run is not None]
            if traces:
                times, errors = median_curve(traces)
                if method == "fine-tuned":  # there is no trace before it ends
                    times, errors = times[-1:], errors[-1:]
                style = {"color": colour, "lw": width, "marker": "o", "markevery": [-1], "ms": 4}
                lines[label] = axes.plot(times, errors, dashes, **style)[0]
        axes.set_xscale("log")
        style_panel(axes, GROUPS[name].title, "CPU seconds, one thread")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(figure))


def median_curve(traces: list[Trace]) -> tuple[np.ndarray, np.ndarray]:
    """Return the medians of time and error at the same fraction of the iterations of every trace."""
    fraction = np.linspace(0, 1, max(len(trace) for trace in traces))
    columns = []
    for trace in traces:
        place = np.linspace(0, 1, len(trace))
        rows = np.log([(point.cpu_s, point.error) for point in trace])
        columns.append([np.interp(fraction, place, column) for column in rows.T])
    times, errors = np.exp(np.median(columns, 0))
    return times, errors


def style_panel(axes: Axes, title: str, label: str) -> None:
    """Add title, labels and a grid to a panel with logarithmic errors."""
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("error", fontsize=9)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", color=MUTED, alpha=0.25, lw=0.5)
    axes.tick_params(labelsize=8, which="both")
