"""Bars of the errors with every fault beside those of the same scans without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiment_cases import FAULTS, Case

SERIES = (("reconstruct", "ptypinn reconstruct", "#1b6ca8"), ("lsqml", "LSQ-ML", "#d08b2c"))
"""Method, label and colour."""
LOWEST = 0.003
"""Error at the left edge of the panels."""
BASE_COLOUR = "#b5bcc4"


def draw_bars(cases: Sequence[Case], results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the median errors over the seeds, a panel per dose, and write the picture.

    Args:
        cases: The scans.
        results: Stored runs by `METHOD: CASE`.
        path: File to write.
    """
    doses = list(dict.fromkeys(case.photons for case in cases))
    names = [name for name in FAULTS if name in {case.fault for case in cases}]
    edges = 7.5 * len(doses), 1.6 + 0.34 * len(names)
    figure, panels = plt.subplots(1, len(doses), figsize=edges, squeeze=False, layout="constrained")
    for axes, photons in zip(panels[0], doses, strict=True):
        series = [entry for entry in SERIES if any(key.startswith(f"{entry[0]}: ") for key in results)]
        width = 0.8 / (len(series) + 1)
        for place, (method, label, colour) in enumerate([("base", "without the fault", BASE_COLOUR), *series]):
            values = [_median_error(method, name, photons, cases, results) for name in names]
            axes.barh(np.arange(len(names)) + place * width, values, width, color=colour, label=label)
        axes.set_yticks(np.arange(len(names)) + 0.4 - width / 2, [FAULTS[name].title for name in names])
        axes.set_xscale("log")
        axes.set_xlim(left=LOWEST)
        axes.margins(y=0.01)
        axes.invert_yaxis()
        axes.set_xlabel("complex error after one factor, ramp and shift")
        axes.set_title(f"{photons:.0e} photons per pattern")
        axes.grid(axis="x", alpha=0.3)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _median_error(
    method: str, fault: str, photons: float, cases: Sequence[Case], results: dict[str, dict[str, Any]]
) -> float:
    """Return the median error over the seeds; not a number where nothing is stored."""
    group = [case for case in cases if (case.fault, case.photons) == (fault, photons)]
    keys = [f"reconstruct: {case.base.key}" if method == "base" else f"{method}: {case.key}" for case in group]
    errors = [results[key]["error"] for key in keys if key in results]
    return float(np.median(errors)) if errors else float("nan")
