"""Compare a reconstruction with the truth of its scene, in the same way for every solver."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from ptypinn.data.scan import ScanData
from ptypinn.metrics import align, complex_error
from ptypinn.metrics.data_fit import shot_noise_limit
from ptypinn.physics.patches import compute_illumination
from scenes import Scene

DIGITS = 6
"""Significant digits of stored values."""


@dataclass(frozen=True)
class TracePoint:
    """Error of a solver after some iterations."""

    iteration: int
    """Passes over all patterns; of the unrolled solver, rounds."""
    cpu_s: float
    """CPU seconds spent in them."""
    error: float
    """`scene_error` of the object on illuminated pixels."""
    ratio: float
    """`output_vs_truth_ratio`: mean amplitude over the truth's on illuminated pixels, nothing fitted."""


Trace = list[TracePoint]


class TruthComparison:
    """Comparison of objects with the truth of a scan; the scan has its true probe."""

    def __init__(self, scan: ScanData) -> None:
        assert scan.truth is not None
        self.truth, self.illumination = scan.truth, truth_illumination(scan)
        self.mask = illumination_mask(self.illumination)

    @classmethod
    def of_scene(cls, scene: Scene) -> TruthComparison:
        """Return the comparison for a scene, independent of the probe that its solvers start from."""
        return cls(scene.true_scan())

    def shot_noise(self) -> float:
        """Return the lowest error of an unbiased estimate, the shot-noise limit."""
        return shot_noise_limit(self.illumination, self.truth, self.mask)

    def measure(self, iteration: int, cpu_s: float, obj: np.ndarray) -> TracePoint:
        """Return all metrics of an object."""
        ratio = float(np.abs(obj[self.mask]).mean() / np.abs(self.truth[self.mask]).mean())
        return TracePoint(iteration, cpu_s, scene_error(obj, self.truth, self.mask), ratio)


def scene_error(obj: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Return the relative complex error against the truth after one global complex factor and one phase ramp."""
    aligned = align(obj, truth, mask, ramp=True)
    return complex_error(aligned.image, truth, aligned.mask, fit_factor=True)


def illumination_mask(illumination: np.ndarray, fraction: float = 0.5) -> np.ndarray:
    """Return the pixels whose illumination exceeds `fraction` of its 95th percentile."""
    return illumination > fraction * np.percentile(illumination[illumination > 0], 95)


def truth_illumination(scan: ScanData) -> np.ndarray:
    """Return the photons on every pixel of the truth over the scan."""
    assert scan.truth is not None
    corners = torch.from_numpy(np.rint(scan.positions_px).astype(np.int64))[None]
    return compute_illumination(torch.from_numpy(scan.require_probe()), corners, *scan.truth.shape).numpy()


def best_point(trace: Trace) -> TracePoint:
    """Return the point of lowest error."""
    return min(trace, key=lambda point: point.error)


def time_to_error(trace: Trace, goal: float) -> float | None:
    """Return the CPU seconds until the error is at most `goal`; None where it never is."""
    return next((point.cpu_s for point in trace if point.error <= goal), None)


def to_columns(trace: Trace) -> dict[str, list[float]]:
    """Return a trace as JSON-able columns of few digits."""
    rows = [asdict(point) for point in trace]
    return {field.name: [round_digits(row[field.name]) for row in rows] for field in fields(TracePoint)}


def from_columns(values: dict[str, list[float]]) -> Trace:
    """Return the trace that `to_columns` wrote."""
    names = [field.name for field in fields(TracePoint)]
    return [TracePoint(*row) for row in zip(*(values[name] for name in names), strict=True)]


def median(values: Sequence[float | None]) -> float | None:
    """Return the median, with missing values as infinite; None where the median is infinite."""
    middle = float(np.median([np.inf if value is None else value for value in values])) if values else np.inf
    return middle if np.isfinite(middle) else None


def describe_machine() -> str:
    """Return the processor and the number of cores."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def round_digits(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
