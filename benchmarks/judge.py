"""How far a reconstruction is from the truth of its scene, the same for every solver."""

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
from ptypinn.metrics.shot_noise import shot_noise_limit
from ptypinn.physics.illumination import illumination_of
from scenes import Scene

DIGITS = 6
"""Significant digits of stored figures."""


@dataclass(frozen=True)
class TracePoint:
    """Where a solver stands after some iterations."""

    iteration: int
    """Passes over all patterns; of the learned solver, rounds."""
    cpu_s: float
    """CPU seconds spent in them."""
    error: float
    """`scene_error` of the object where it is well lit."""
    ratio: float
    """`output_vs_truth_ratio`: mean amplitude over the truth's where it is well lit, nothing fitted."""


Trace = list[TracePoint]


class Judge:
    """Compares objects with the truth of a scan; the scan has its true probe."""

    def __init__(self, scan: ScanData) -> None:
        assert scan.truth is not None
        self.truth, self.light = scan.truth, light_of(scan)
        self.lit = well_lit(self.light)

    @classmethod
    def of(cls, scene: Scene) -> Judge:
        """The judge of a scene, whatever probe its solvers are given."""
        return cls(scene.true_scan())

    def shot_noise(self) -> float:
        """Least error of an unbiased estimate, the shot-noise limit."""
        return shot_noise_limit(self.light, self.truth, self.lit)

    def point(self, iteration: int, cpu_s: float, obj: np.ndarray) -> TracePoint:
        """All figures of an object."""
        ratio = float(np.abs(obj[self.lit]).mean() / np.abs(self.truth[self.lit]).mean())
        return TracePoint(iteration, cpu_s, scene_error(obj, self.truth, self.lit), ratio)


def scene_error(obj: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Relative complex error against the truth after one global complex factor and one phase ramp."""
    aligned = align(obj, truth, mask, ramp=True)
    return complex_error(aligned.image, truth, aligned.mask, fit_factor=True)


def well_lit(light: np.ndarray, fraction: float = 0.5) -> np.ndarray:
    """Pixels whose light exceeds `fraction` of its 95th percentile, as in `Reconstruction.well_lit`."""
    return light > fraction * np.percentile(light[light > 0], 95)


def light_of(scan: ScanData) -> np.ndarray:
    """Photons on every pixel of the truth over the scan."""
    assert scan.truth is not None
    corners = torch.from_numpy(np.rint(scan.positions_px).astype(np.int64))[None]
    return illumination_of(torch.from_numpy(scan.require_probe()), corners, *scan.truth.shape).numpy()


def best(trace: Trace) -> TracePoint:
    """The point of least error."""
    return min(trace, key=lambda point: point.error)


def first_below(trace: Trace, goal: float) -> float | None:
    """CPU seconds until the error is at most `goal`; None where it never is."""
    return next((point.cpu_s for point in trace if point.error <= goal), None)


def columns(trace: Trace) -> dict[str, list[float]]:
    """A trace as JSON-able columns of few digits."""
    rows = [asdict(point) for point in trace]
    return {field.name: [_rounded(row[field.name]) for row in rows] for field in fields(TracePoint)}


def from_columns(stored: dict[str, list[float]]) -> Trace:
    """What `columns` made."""
    names = [field.name for field in fields(TracePoint)]
    return [TracePoint(*row) for row in zip(*(stored[name] for name in names), strict=True)]


def median(values: Sequence[float | None]) -> float | None:
    """The median where missing values count as infinite; None where it is missing itself."""
    middle = float(np.median([np.inf if value is None else value for value in values])) if values else np.inf
    return middle if np.isfinite(middle) else None


def machine() -> str:
    """Processor and number of cores."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    named = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    name = named[0] if named else platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
