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

from ptypinn.config.load import LoadConfig
from ptypinn.io.optics import require_square
from ptypinn.io.raster import Calibration
from ptypinn.io.safe.hdf5 import read_array
from ptypinn.io.units import Kind, convert_unit, is_unit, parse_unit, unit_text

CALIBRATION = "metadatabundle/calibration"
DETECTOR_KINDS: tuple[Kind, ...] = ("reciprocal length", "angle")
"""Quantities that detector pixels are given in."""


def find_raster(file: h5py.File) -> list[h5py.Dataset]:
    """Every stack of patterns with four axes, those of EMD groups first."""
    rasters: list[h5py.Dataset] = []

    def at(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 4 and item.dtype.kind in "uif":
            rasters.append(item)

    file.visititems(at)
    return sorted(rasters, key=lambda data: "emd_group_type" not in data.parent.attrs)


@dataclass(frozen=True)
class Step:
    """Step of an axis as it is written."""

    value: float
    """The number; NaN where there is none."""
    unit: str
    """Name of its unit."""
    place: str
    """Dataset that holds it."""


def read_calibration(dataset: h5py.Dataset, source: str, config: LoadConfig) -> Calibration:
    """Read the group of a raster and the calibration of its file.

    Args:
        dataset: The raster.
        source: Name of the file for messages.
        config: Reading options; steps that they replace are not read.

    Raises:
        InputError: Where a unit cannot be read, or detector pixels are not square.
    """
    values = _calibration(dataset, source)
    steps = _calibrated(list(_steps(dataset, source)), values)
    y = x = per_m = rad = None
    if config.scan_step_m is None and not config.positions_file:
        y, x = (_scaled(step, source, "scan_step_m", "length") for step in steps[:2])
    if config.pixel_size_m is None:
        rows, columns = ([_scaled(step, source, "pixel_size_m", kind) for step in steps[2:]] for kind in DETECTOR_KINDS)
        for (first, second), unit in ((rows, "1/m"), (columns, "rad")):
            require_square(source, steps[2].place, "detector pixels", (first, second), unit, "pixel_size_m")
        per_m, rad = rows[0], columns[0]
    row, column, turned = (_number(values, name) for name in ("qx0_mean", "qy0_mean", "QR_rotation"))
    degrees = _number(values, "QR_rotation_degrees")
    radius = _number(values, "probe_semiangle", "convergence_semiangle_pixels")
    mrad = _number(values, "convergence_semiangle_mrad")
    return Calibration(
        step_m=(y, x) if y and x else None,
        pixel_per_m=per_m,
        pixel_rad=rad,
        centre_px=(round(row), round(column)) if row > 0 and column > 0 else None,
        semiangle_px=radius if radius > 0 else None,
        semiangle_rad=1e-3 * mrad if mrad > 0 else None,
        rotation_rad=next((angle for angle in (turned, math.radians(degrees)) if math.isfinite(angle)), 0.0),
        transposed=values.get("QR_flip", False) in (True, 1.0),
    )


def _calibrated(steps: list[Step], values: dict[str, Any]) -> list[Step]:
    """Steps of the axes; those of py4DSTEM's calibration in place of them where it names a unit."""
    for letter, first in (("R", 0), ("Q", 2)):
        size, unit = _number(values, f"{letter}_pixel_size"), str(values.get(f"{letter}_pixel_units", ""))
        readable = any(parse_unit(step.unit) for step in steps[first : first + 2])
        if is_unit(unit) and (parse_unit(unit) is not None or not readable):
            place = f"{CALIBRATION}/{letter}_pixel_units"
            steps[first : first + 2] = [Step(size, unit, place)] * 2
    return steps


def _number(values: dict[str, Any], *names: str) -> float:
    """The first of several values that is a finite number; NaN where there is none."""
    candidates = (values.get(name) for name in names)
    return next((value for value in candidates if isinstance(value, float) and math.isfinite(value)), math.nan)


def _steps(dataset: h5py.Dataset, source: str) -> Iterator[Step]:
    """Step of each axis, by the vectors that belong to it."""
    group = dataset.parent
    first = 0 if isinstance(group.get("dim0"), h5py.Dataset) else 1
    for axis in range(4):
        name = f"dim{first + axis}"
        vector = group.get(name)
        values = read_array(vector, source) if isinstance(vector, h5py.Dataset) else np.zeros(0)
        regular = values.ndim == 1 and len(values) >= 2 and values.dtype.kind in "uif"
        step = abs(float(values[1]) - float(values[0])) if regular else math.nan
        yield Step(step, unit_text(vector.attrs.get("units")) if regular else "", name)


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


def _scaled(step: Step, source: str, option: str, kind: Kind) -> float | None:
    """Step in metres, reciprocal metres or radians; None where there is no unit, or one of the other kind of pixel."""
    if not (is_unit(step.unit) and math.isfinite(step.value) and step.value > 0):
        return None
    kinds = DETECTOR_KINDS if kind in DETECTOR_KINDS else (kind,)
    unit = convert_unit(source, step.place, step.unit, option, *kinds)
    return step.value * unit.factor if unit.kind == kind else None
