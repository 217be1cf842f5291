"""Figures of the comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from judge import Trace
from ptypinn.report.figures.style import INK, MUTED, new_figure, png_bytes
from table import GROUPS, runs_of

STYLES = {
    "zero-shot": ("learned solver", "#0b6e99", "-", 2.4),
    "polished": ("learned solver, polished", "#12a150", "-", 2.0),
    "fine-tuned": ("learned solver, fine-tuned", "#7b3fa0", "-", 2.0),
    "bare": ("its physical steps alone", "#0b6e99", ":", 1.4),
    "refine": ("refine", "#1b1f24", "--", 1.4),
    "lsqml": ("LSQ-ML (ptychi)", "#d9480f", "-", 1.4),
    "epie": ("ePIE (ptychi)", "#e8a33d", "-", 1.4),
}
"""Label, colour, line style and width of every method."""
SHOWN = ("dense-1e4", "structured-1e4", "guess-1e4", "dense-1e6", "slow-1e6", "guess-1e6")


def quality_figure(path: Path, weights: str | None) -> None:
    """Error against CPU seconds, a panel for each of `SHOWN`: medians over the scans."""
    figure = new_figure(11.0, 6.2)
    grid, named = figure.subplots(2, 3), {}
    for axes, name in zip(grid.flat, SHOWN, strict=True):
        for method, (label, colour, line, width) in STYLES.items():
            traces = [run.trace for run in runs_of(GROUPS[name], method, weights) if run is not None]
            if traces:
                times, errors = median_curve(traces)
                if method == "fine-tuned":  # there is nothing to see before it ends
                    times, errors = times[-1:], errors[-1:]
                named[label] = axes.plot(times, errors, line, color=colour, lw=width, marker="o", markevery=[-1], ms=4)[
                    0
                ]
        axes.set_xscale("log")
        dress(axes, GROUPS[name].title, "CPU seconds, one thread")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(figure))


def median_curve(traces: list[Trace]) -> tuple[np.ndarray, np.ndarray]:
    """Median of the errors that traces have at the same share of their iterations, and of the times there."""
    share = np.linspace(0, 1, max(len(trace) for trace in traces))
    found = []
    for trace in traces:
        at = np.linspace(0, 1, len(trace))
        rows = np.log([(point.cpu_s, point.error) for point in trace])
        found.append([np.interp(share, at, column) for column in rows.T])
    times, errors = np.exp(np.median(found, 0))
    return times, errors


def dress(axes: Axes, title: str, label: str) -> None:
    """Titles, labels and a grid for a panel with logarithmic errors."""
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
