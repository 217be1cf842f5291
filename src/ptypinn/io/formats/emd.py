"""Calibration of a 4D-STEM raster in EMD and py4DSTEM files: steps in real and reciprocal space, origin, rotation.

EMD 1.0 (emdatasets.com) tags groups by the attribute `emd_group_type`: a `root`, in it an `array` with `data` and the
axes `dim0` to `dim3`, and dictionaries in `metadatabundle`, of which py4DSTEM fills `calibration`. EMD 0.x tags data
groups with the number 1 and counts axes from `dim1`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ptypinn.io.arrays import LENGTHS, unit_of
from ptypinn.io.safe.hdf5 import read_array

CALIBRATION = "metadatabundle/calibration"
RECIPROCAL = {
    **dict.fromkeys(("a^-1", "å^-1", "1/å", "1/a", "angstrom^-1", "[a^-1]", "1/angstrom"), 1e10),
    **dict.fromkeys(("nm^-1", "1/nm", "[n_m^-1]", "n_m^-1"), 1e9),
}
"""Reciprocal metres by the names of units that files use, lower case."""
ANGLES = {**dict.fromkeys(("mrad", "[m_rad]", "m_rad"), 1e-3), **dict.fromkeys(("rad", "[rad]"), 1.0)}
"""Radians by the names of units."""


@dataclass(frozen=True)
class Calibration:
    """Calibration in a file; None where it lacks a number."""

    step_m: tuple[float, float] | None = None
    """Step of the raster (y, x), metres."""
    pixel_per_m: float | None = None
    """Detector pixel as spatial frequency, reciprocal metres."""
    pixel_rad: float | None = None
    """Detector pixel as angle, radians."""
    centre_px: tuple[int, int] | None = None
    """Row and column of the direct beam."""
    semiangle_px: float | None = None
    """Radius of the bright-field disk, detector pixels."""
    semiangle_rad: float | None = None
    """Semi-convergence angle, radians."""
    rotation_rad: float = 0.0
    """Rotation that takes detector coordinates to those of the raster, radians."""
    transposed: bool = False
    """True if rows and columns of the detector are exchanged besides."""


def find_raster(file: h5py.File) -> list[h5py.Dataset]:
    """Every stack of patterns with four axes, those of EMD groups first."""
    rasters: list[h5py.Dataset] = []

    def at(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 4 and item.dtype.kind in "uif":
            rasters.append(item)

    file.visititems(at)
    return sorted(rasters, key=lambda data: "emd_group_type" not in data.parent.attrs)


def read_calibration(dataset: h5py.Dataset, source: str) -> Calibration:
    """Read the group of a raster and the calibration of its file."""
    steps = list(_steps(dataset, source))
    values = _calibration(dataset, source)
    real, reciprocal = values.get("R_pixel_units", ""), values.get("Q_pixel_units", "")
    if str(real).lower() in LENGTHS:
        steps[:2] = [(_number(values, "R_pixel_size"), str(real))] * 2
    if str(reciprocal).lower() in {**RECIPROCAL, **ANGLES}:
        steps[2:] = [(_number(values, "Q_pixel_size"), str(reciprocal))] * 2
    y, x = (_scaled(step, LENGTHS) for step in steps[:2])
    row, column, turned = (_number(values, name) for name in ("qx0_mean", "qy0_mean", "QR_rotation"))
    degrees = _number(values, "QR_rotation_degrees")
    radius = _number(values, "probe_semiangle", "convergence_semiangle_pixels")
    mrad = _number(values, "convergence_semiangle_mrad")
    return Calibration(
        step_m=(y, x) if y and x else None,
        pixel_per_m=_scaled(steps[2], RECIPROCAL),
        pixel_rad=_scaled(steps[2], ANGLES),
        centre_px=(round(row), round(column)) if row > 0 and column > 0 else None,
        semiangle_px=radius if radius > 0 else None,
        semiangle_rad=1e-3 * mrad if mrad > 0 else None,
        rotation_rad=next((angle for angle in (turned, math.radians(degrees)) if math.isfinite(angle)), 0.0),
        transposed=values.get("QR_flip", False) in (True, 1.0),
    )


def _number(values: dict[str, Any], *names: str) -> float:
    """The first of several values that is a finite number; NaN where there is none."""
    candidates = (values.get(name) for name in names)
    return next((value for value in candidates if isinstance(value, float) and math.isfinite(value)), math.nan)


def _steps(dataset: h5py.Dataset, source: str) -> Iterator[tuple[float, str]]:
    """Step and unit of each axis, by the vectors that belong to it."""
    group = dataset.parent
    first = 0 if isinstance(group.get("dim0"), h5py.Dataset) else 1
    for axis in range(4):
        vector = group.get(f"dim{first + axis}")
        values = read_array(vector, source) if isinstance(vector, h5py.Dataset) else np.zeros(0)
        regular = values.ndim == 1 and len(values) >= 2 and values.dtype.kind in "uif"
        step = abs(float(values[1]) - float(values[0])) if regular else math.nan
        yield step, unit_of(vector.attrs) if regular else ""


def _calibration(dataset: h5py.Dataset, source: str) -> dict[str, Any]:
    """Numbers and words of py4DSTEM's calibration, which stands in the root of the file's tree."""
    group = dataset.file.get(f"{dataset.name.split('/')[1]}/{CALIBRATION}")
    if not isinstance(group, h5py.Group):
        return {}
    values: dict[str, Any] = {}
    for name, item in group.items():
        if isinstance(item, h5py.Dataset) and item.size == 1:
            value = read_array(item, source).reshape(-1)[0]
            values[name] = value.decode(errors="replace") if isinstance(value, bytes) else _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, np.bool_):
        return bool(value)
    return float(value) if isinstance(value, np.integer | np.floating) else str(value)


def _scaled(step: tuple[float, str], factors: dict[str, float]) -> float | None:
    value, unit = step
    return value * factors[unit.lower()] if unit.lower() in factors and math.isfinite(value) and value > 0 else None
