"""Scans and reconstructions as xarray datasets: every array with its axes, units and provenance."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.errors import InputError

if TYPE_CHECKING:
    import xarray

    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.data.scan import Counts, ScanData


Variable = tuple[tuple[str, ...], Any, dict[str, str]]
"""Axes, values, and attributes such as the unit."""
DETECTOR = ("detector_y", "detector_x")
PROBE = ("mode", "probe_y", "probe_x")
PLANE = ("y", "x")


def recon_dataset(recon: Reconstruction) -> xarray.Dataset:
    """Convert a reconstruction, on the coordinates of its scan file's positions; see `Reconstruction.to_xarray`."""
    xarray = _xarray("Reconstruction.to_xarray")
    pixel = recon.pixel_size_m
    planes = {
        "object": (recon.object, "1", "transmission"),
        "illumination": (recon.illumination, "photons per pixel", "illumination"),
        "uncertainty": (recon.uncertainty, "1", "expected standard deviation of the transmission"),
        "unscaled": (recon.unscaled, "1", "transmission before prediction scaling"),
    }
    variables = {name: _variable(PLANE, *plane) for name, plane in planes.items() if plane[0] is not None}
    variables["probe"] = _variable(PROBE, recon.probe, "sqrt(photons)", "probe modes")
    if recon.slices is not None:
        variables["slices"] = _variable(("slice", *PLANE), recon.slices, "1", "transmission of every slice")
    origin = np.asarray(recon.origin_px)
    number = np.arange(len(recon.positions_px)) if recon.patterns is None else recon.patterns
    coordinates = {
        **_plane_axes(recon.object.shape, recon.origin_px, pixel),
        **_probe_axes(recon.probe, pixel),
        **_positions(recon.positions_px + origin, pixel),
        "pattern": _variable(("pattern",), number, "1", "number of the pattern in the scan file"),
    }
    attributes = {
        name: getattr(recon, name) for name in ("scale", "prediction_scale", "metrics", "history", "provenance")
    }
    attributes = {**_known(recon, "pixel_size_m"), "origin_px": list(recon.origin_px), **_texts(attributes)}
    return xarray.Dataset(variables, coordinates, attributes)


def scan_dataset(scan: ScanData) -> xarray.Dataset:
    """Convert a scan with its axes and units; see `ScanData.to_xarray`."""
    xarray = _xarray("ScanData.to_xarray")
    pixel = scan.pixel_size_m
    variables = {
        "counts": _variable(("pattern", *DETECTOR), _lazy(scan.counts), "counts", "detector counts"),
        "mask": _variable(DETECTOR, scan.good, "1", "good pixels"),
    }
    coordinates = {**_detector_axes(scan), **_positions(scan.positions_px, pixel)}
    if scan.probe is not None:
        unit = "sqrt(photons)" if scan.probe_gauge == "calibrated" else "1"
        variables["probe"] = _variable(PROBE, scan.probe, unit, "probe modes")
        coordinates |= _probe_axes(scan.probe, pixel)
    if scan.truth is not None:
        variables["truth"] = _variable(PLANE, scan.truth, "1", "true transmission")
        coordinates |= _plane_axes(scan.truth.shape, (0, 0), pixel)
    names = ("pixel_size_m", "energy_eV", "wavelength_m", "detector_distance_m", "detector_pixel_m")
    attributes = {**_known(scan, *names), "particle": scan.particle, "probe_gauge": scan.probe_gauge}
    return xarray.Dataset(variables, coordinates, {**attributes, **_texts({"provenance": scan.provenance})})


def _xarray(method: str) -> Any:
    try:
        import xarray
    except ImportError as error:
        raise InputError(method, "", "no package xarray", "it; pip install 'ptypinn[xarray]'") from error
    return xarray


def _lazy(counts: Counts) -> Any:
    """Wrap counts for xarray: arrays as they are, others to be read on demand."""
    return counts if isinstance(counts, np.ndarray) else lazily(counts)


def _variable(axes: tuple[str, ...], values: Any, unit: str, name: str) -> Variable:
    return axes, values, {"units": unit, "long_name": name}


def _axis(name: str, pixels: np.ndarray, pixel_m: float | None, meaning: str, over: str | None = None) -> Variable:
    """Return a coordinate in metres, or in pixels where their size is not known."""
    if pixel_m is None:
        return _variable((over or name,), pixels, "pixel", meaning)
    return _variable((over or name,), pixels * pixel_m, "m", meaning)


def _plane_axes(shape: tuple[int, ...], origin: tuple[int, int], pixel_m: float | None) -> dict[str, Variable]:
    return {
        name: _axis(name, np.arange(first, first + length), pixel_m, f"{name} on the sample")
        for name, first, length in zip(PLANE, origin, shape, strict=True)
    }


def _probe_axes(probe: np.ndarray, pixel_m: float | None) -> dict[str, Variable]:
    lengths = zip(PROBE[1:], PLANE, probe.shape[1:], strict=True)
    return {
        name: _axis(name, np.arange(n), pixel_m, f"{axis} from the probe array's corner") for name, axis, n in lengths
    }


def _positions(positions_px: np.ndarray, pixel_m: float | None) -> dict[str, Variable]:
    """Return the position of the probe array's corner for every pattern, on the coordinates of the object."""
    meaning = "{} of the probe array's corner on the sample"
    columns = zip(PLANE, positions_px.T, strict=True)
    return {
        f"position_{axis}": _axis(axis, values, pixel_m, meaning.format(axis), "pattern") for axis, values in columns
    }


def _detector_axes(scan: ScanData) -> dict[str, Variable]:
    pixels = np.arange(scan.size) - scan.size // 2
    meaning = "from the zero frequency on the detector"
    return {name: _axis(name, pixels, scan.detector_pixel_m, meaning) for name in DETECTOR}


def _known(holder: ScanData | Reconstruction, *names: str) -> dict[str, Any]:
    return {name: getattr(holder, name) for name in names if getattr(holder, name) is not None}


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Convert nested records to JSON, since attributes in netCDF and Zarr files are plain."""
    return {name: json.dumps(value, default=str) for name, value in values.items() if value}


def lazily(counts: Counts) -> Any:
    """Return counts whose patterns are read when their values are requested."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class DiskCounts(BackendArray):  # type: ignore[misc, unused-ignore] # xarray may be missing where types are checked
        shape, dtype = counts.shape, np.dtype(counts.dtype)

        def __getitem__(self, key: Any) -> Any:
            support = indexing.IndexingSupport.OUTER_1VECTOR
            return indexing.explicit_indexing_adapter(key, self.shape, support, partial(_read_counts, counts))

    return indexing.LazilyIndexedArray(DiskCounts())


def _read_counts(counts: Counts, key: tuple[Any, ...]) -> np.ndarray:
    patterns, *pixels = key
    if isinstance(patterns, int | np.integer):
        return np.asarray(counts[np.array([patterns])][(0, *pixels)])
    return np.asarray(counts[patterns][(slice(None), *pixels)])
