"""Nion Swift: a raster of patterns with calibrations as JSON, in HDF5 (.h5) or as an archive (.ndata1)."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.counts import require_counts, take_counts
from ptypinn.io.crop import Crop, cut, window_of
from ptypinn.io.format import Entry, Format, MissingField, recognise_any, recognise_hdf5
from ptypinn.io.lazy_counts import MappedCounts
from ptypinn.io.provenance import describe_source
from ptypinn.io.raster import Calibration, build_raster_scan
from ptypinn.io.safe.hdf5 import limit_of
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.npz import Archive, names_in_archive
from ptypinn.io.units import convert_to_si

DATA, METADATA, PROPERTIES = "data", "metadata.json", "properties"
MAX_METADATA_BYTES = 2**24
"""Largest metadata that are read."""
VOLTAGES = (("instrument", "high_tension"), ("hardware_source", "autostem", "high_tension"))
"""Places in the metadata of the accelerating voltage, V."""


def read_nion(path: Path, config: LoadConfig) -> ScanData:
    """Read a raster of patterns (y, x, rows, columns), or a stack of them.

    Raises:
        InputError: Where step, object pixel or electrons per detector unit stay open, naming the option for each.
    """
    require_counts(str(path), config, "files of Nion Swift")
    counts, shape, crop, properties = _take(path, config)
    return build_raster_scan(
        config,
        counts=counts,
        crop=crop,
        raster=shape[:-2],
        calibration=_calibrate(properties, len(shape)),
        provenance=describe_source(path, "nion", config),
    )


def _take(path: Path, config: LoadConfig) -> tuple[Counts, tuple[int, ...], Crop, Mapping[str, Any]]:
    """Return patterns, the shape that is stored, their crop, and the properties of the data."""
    source = str(path)
    if h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            dataset = file[DATA]
            properties = _parse(source, dataset.attrs[PROPERTIES])
            _require_raster(source, dataset.shape)
            crop = Crop.of(source, dataset.shape, config)
            return take_counts(dataset, path, None, config), dataset.shape, crop, properties
    archive, window = Archive(path, limit_of(config.memory_budget_gib)), None
    shape, dtype = archive.describe(DATA)
    if dtype is None or dtype.kind not in "uif":
        raise InputError(source, DATA, f"{dtype} of shape {shape}", "a raster of patterns (y, x, rows, columns)")
    _require_raster(source, shape)
    window, crop = window_of(source, shape, config), Crop.of(source, shape, config)
    properties = _parse(source, _read_member(path, METADATA))
    size = math.prod(shape) * dtype.itemsize
    if size > config.memory_budget_gib * 2**30 and archive.mapped(DATA) is not None:
        return MappedCounts(path, window, DATA), shape, crop, properties
    return np.array(cut(archive[DATA].reshape(-1, *shape[-2:]), window)), shape, crop, properties


def _require_raster(source: str, shape: tuple[int, ...]) -> None:
    if len(shape) not in (3, 4):
        raise InputError(source, DATA, f"data of shape {shape}", "a raster of patterns (y, x, rows, columns)")


def _read_member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        return file.read(MAX_METADATA_BYTES)


def _parse(source: str, text: str | bytes) -> Mapping[str, Any]:
    """Return properties that are written as JSON."""
    try:
        properties = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(source, PROPERTIES, "text that is no JSON", "the properties of the data") from error
    if not isinstance(properties, Mapping):
        raise InputError(source, PROPERTIES, f"a {type(properties).__name__}", "the properties of the data")
    return properties


def _calibrate(properties: Mapping[str, Any], axes: int) -> Calibration:
    """Return the calibration of the axes: rows and columns of the raster, where there is one, then of a pattern."""
    steps = properties.get("dimensional_calibrations") or properties.get("spatial_calibrations")
    steps = [step if isinstance(step, Mapping) else {} for step in steps] if isinstance(steps, list) else []
    steps = steps if len(steps) == axes else [{}] * axes
    lengths = [_step(step, "length") for step in steps[:-2]]
    return Calibration(
        energy_eV=next(filter(None, (_find_number(properties.get("metadata"), place) for place in VOLTAGES)), None),
        step_m=(lengths[0], lengths[1]) if len(lengths) == 2 and lengths[0] and lengths[1] else None,
        pixel_rad=_step(steps[-1], "angle"),
        pixel_per_m=_step(steps[-1], "reciprocal length"),
    )


def _step(step: Mapping[str, Any], kind: Any) -> float | None:
    scale = step.get("scale")
    return convert_to_si(float(scale), str(step.get("units", "")), kind) if isinstance(scale, int | float) else None


def _find_number(tree: Any, place: tuple[str, ...]) -> float | None:
    """Return a positive number at a place in nested metadata; None where there is none."""
    for name in place:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    is_number = isinstance(tree, int | float) and math.isfinite(tree) and tree > 0
    return float(tree) if is_number else None


def _has_properties(file: h5py.File) -> bool:
    dataset = file.get(DATA)
    return isinstance(dataset, h5py.Dataset) and PROPERTIES in dataset.attrs


def _is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path) and {DATA, METADATA} <= names_in_archive(path)


NION = Format(
    "Nion Swift (HDF5 or ndata1)",
    (".h5", ".ndata1"),
    recognises=recognise_any(recognise_hdf5(_has_properties), _is_archive),
    entries=(
        Entry("data", "counts", "(y, x, rows, columns)", "detector units", "or a stack, (frames, rows, columns)"),
        Entry("properties: dimensional_calibrations", "positions_px", "", "units", "steps of the raster", True),
        Entry(
            "properties: dimensional_calibrations",
            "pixel_size_m",
            "",
            "units",
            "detector pixel: angle or 1/length",
            True,
        ),
        Entry("properties: metadata/instrument/high_tension", "energy_eV", "", "V", "accelerating voltage", True),
    ),
    missing=(
        MissingField("detector units per electron, where patterns are floating-point", "detector_gain"),
        MissingField("accelerating voltage, where the file lacks it", "energy_eV"),
        MissingField("step of the raster, where it is not calibrated", "scan_step_m"),
        MissingField("rows and columns of the raster, of a stack", "raster_shape"),
        MissingField("object pixel, where the detector is not calibrated", "pixel_size_m"),
        MissingField("direct beam, where it is beside the middle", "centre_px"),
    ),
    notes="`properties` are an attribute of the dataset in HDF5, and `metadata.json` in an archive.",
    read=read_nion,
)
