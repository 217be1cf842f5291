"""Statistics of the dose study: points with spreads, the slope of the negative control, checks, and the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AVERAGED = (
    "output_vs_truth_ratio",
    "complex_error",
    "complex_error_after_factor",
    "pearson_r_amplitude",
    "frc_half_bit_px",
    "flux_closure",
    "shot_noise_limit",
    "photons_measured",
)
SLOPE_RANGE, RATIO_RANGE, RATIO_FROM_PHOTONS = (0.49, 0.51), (0.98, 1.02), 1e4


@dataclass(frozen=True)
class Slope:
    """Exponent of a power law, fitted to logarithms by least squares."""

    value: float
    """The exponent."""
    standard_error: float | None
    """Its standard error from the scatter about the line; None for fewer than three points."""
    points: int
    """Points fitted."""


@dataclass(frozen=True)
class Check:
    """One condition that the study must meet."""

    name: str
    """The condition in words."""
    value: float
    """The measured value; of several the one furthest from the range."""
    low: float
    """Smallest value that passes."""
    high: float
    """Largest value that passes."""

    @property
    def passed(self) -> bool:
        """True if the value lies in the range."""
        return self.low <= self.value <= self.high


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Fit the slope of log y against log x by ordinary least squares.

    The standard error is `sqrt(sum r**2 / (n - 2) / sum (log x - mean)**2)`, r being the residuals.

    Raises:
        ValueError: Where fewer than two different x are passed, or values are not positive.

    >>> round(fit_power_law([1e4, 1e6, 1e8], [3.0, 30.0, 300.0]).value, 6)
    0.5
    """
    if len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError("a power law needs positive values at two different places")
    u, v = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    u, v = u - u.mean(), v - v.mean()
    spread = float(u @ u)
    slope = float(u @ v) / spread
    residual = v - slope * u
    error = math.sqrt(float(residual @ residual) / (len(u) - 2) / spread) if len(u) > 2 else None
    return Slope(slope, error, len(u))


def average_points(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over the seeds of every scenario, arm and dose, in order of the dose.

    Metrics that a job lacks are left out; the deviation of a single seed is None.
    """
    places = sorted({(row["scenario"], row["arm"], row["photons"]) for row in rows})
    points = []
    for scenario, arm, photons in places:
        here = [row for row in rows if (row["scenario"], row["arm"], row["photons"]) == (scenario, arm, photons)]
        point = {"scenario": scenario, "arm": arm, "photons": photons, "seeds": len(here)}
        point["expected_ratio"] = here[0]["expected_ratio"]
        for name in AVERAGED:
            if values := [row[name] for row in here if row.get(name) is not None]:
                point[name] = float(np.mean(values))
                point[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        points.append(point)
    return points


def fit_slopes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Slope]:
    """Fit log amplitude against log dose in the negative control, by scenario; those of one dose are left out."""
    slopes = {}
    for scenario in sorted({row["scenario"] for row in rows}):
        held = [row for row in rows if row["scenario"] == scenario and row["arm"] == "held"]
        doses, ratios = ([row[name] for row in held] for name in ("photons", "output_vs_truth_ratio"))
        if len(set(doses)) >= 2 and min(ratios) > 0:
            slopes[scenario] = fit_power_law(doses, ratios)
    return slopes


def check_study(points: Sequence[Mapping[str, Any]], slopes: Mapping[str, Slope]) -> list[Check]:
    """Check the ratio of the co-scaled arm from 1e4 photons up, and the slope of the negative control, by scenario."""
    checks = []
    for scenario in sorted({point["scenario"] for point in points}):
        ratios = [
            point["output_vs_truth_ratio"]
            for point in points
            if (point["scenario"], point["arm"]) == (scenario, "scaled") and point["photons"] >= RATIO_FROM_PHOTONS
        ]
        if ratios:
            furthest = max(ratios, key=lambda ratio: abs(ratio - 1))
            name = f"{scenario}: amplitude over truth, probe scaled, from {RATIO_FROM_PHOTONS:g} photons"
            checks.append(Check(name, furthest, *RATIO_RANGE))
        if scenario in slopes:
            name = f"{scenario}: slope of log amplitude against log dose, probe held"
            checks.append(Check(name, slopes[scenario].value, *SLOPE_RANGE))
    return checks


def format_markdown(points: Sequence[Mapping[str, Any]], slopes: Mapping[str, Slope], checks: Sequence[Check]) -> str:
    """Format the study as a page of Markdown: checks, then one table per scenario and arm."""
    lines = ["# Dose study", "", "| check | measured | range | |", "|---|---|---|---|"]
    for check in checks:
        verdict = "passed" if check.passed else "FAILED"
        lines.append(f"| {check.name} | {check.value:.5g} | {check.low:g} to {check.high:g} | {verdict} |")
    for scenario, slope in slopes.items():
        error = "" if slope.standard_error is None else f" ± {slope.standard_error:.2g}"
        lines += ["", f"{scenario}: slope {slope.value:.5f}{error} over {slope.points} scans."]
    arms = {"scaled": "probe scaled with the dose", "held": "negative control, probe held"}
    for scenario, arm in sorted({(point["scenario"], point["arm"]) for point in points}, reverse=True):
        here = [point for point in points if (point["scenario"], point["arm"]) == (scenario, arm)]
        lines += ["", f"## {scenario}: {arms[arm]}", "", *_table(here, arm)]
    return "\n".join(lines) + "\n"


def _table(points: Sequence[Mapping[str, Any]], arm: str) -> list[str]:
    error = "complex_error" if arm == "scaled" else "complex_error_after_factor"
    title = "complex error" if arm == "scaled" else "complex error after one factor"
    columns = ("output_vs_truth_ratio", error, "shot_noise_limit", "pearson_r_amplitude", "frc_half_bit_px")
    names = ("amplitude ratio", title, "shot-noise limit", "Pearson r", "FRC half-bit, px")
    lines = [f"| photons | expected ratio | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for point in points:
        cells = [f"{point['photons']:.3g}", f"{point['expected_ratio']:.4g}", *(_cell(point, name) for name in columns)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(point: Mapping[str, Any], name: str) -> str:
    if name not in point:
        return "-"
    deviation = point[f"{name}_std"]
    return f"{point[name]:.4g}" + ("" if deviation is None or name == "shot_noise_limit" else f" ± {deviation:.1g}")
