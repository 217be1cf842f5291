"""The numbers of a Ptychodus product, out of HDF5 or NPZ, by the names that the NPZ flavour gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.data.opr_modes import FrameProbes, to_opr_modes
from ptypinn.data.positions import bounding_canvas
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.counts import write_counts
from ptypinn.io.formats.npz_archive import open_npz
from ptypinn.io.provenance import optics_record
from ptypinn.io.safe.hdf5 import read_array
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5
from ptypinn.io.safe.npz import write_npz
from ptypinn.physics.optics import probe_photons

POSITIONS = ("probe_position_y_m", "probe_position_x_m")
WAVES = ("probe", "object")
REQUIRED = (*POSITIONS, *WAVES, "object_center_y_m", "object_center_x_m", "object_pixel_height_m")
WEIGHTS = "opr_weights"
ARRAYS = (*WAVES, WEIGHTS, "probe_position_indexes", *POSITIONS, "loss_values", "costs")
ATTRIBUTES = ("photon_energy_eV", "probe_energy_eV", "detector_object_distance_m", "probe_photon_count")
ON_OBJECT = {
    "object_center_y_m": "center_y_m",
    "object_center_x_m": "center_x_m",
    "object_pixel_height_m": "pixel_height_m",
    "object_pixel_width_m": "pixel_width_m",
}
"""Attributes of the dataset `object` in HDF5, which are arrays of their own in NPZ."""

Fields = dict[str, np.ndarray]


def read_fields(path: Path) -> Fields:
    """All numbers of a product but its patterns.

    Raises:
        InputError: Where one is missing or no number.
    """
    content = _from_hdf5(path) if h5py.is_hdf5(path) else _from_npz(path)
    for name in REQUIRED:
        if name not in content:
            expected = "what a product has; patterns alone go with a product, by --patterns-file"
            raise InputError(str(path), ON_OBJECT.get(name, name), "nothing here", expected)
    for name, values in content.items():
        kinds, single = ("uifc" if name in WAVES else "uif"), name in (*ATTRIBUTES, *ON_OBJECT)
        if values.dtype.kind not in kinds or (single and values.size != 1) or (name in REQUIRED and not values.size):
            actual = f"{values.dtype} of shape {values.shape}"
            raise InputError(str(path), name, actual, "one number" if single else "numbers")
    return content


def number(fields: Fields, *names: str) -> float | None:
    """Return the first of several numbers that is present and not 0; files write 0 for unknown numbers."""
    for name in names:
        if name in fields and fields[name].size == 1:
            value = float(np.real(fields[name].ravel()[0]))
            if np.isfinite(value) and value != 0:
                return value
    return None


def _from_npz(path: Path) -> Fields:
    arrays = open_npz(path)
    return {name: arrays[name] for name in (*ARRAYS, *ATTRIBUTES, *ON_OBJECT) if name in arrays}


def _from_hdf5(path: Path) -> Fields:
    with open_hdf5(path) as file:
        content: dict[str, Any] = {
            name: read_array(file[name]) for name in ARRAYS if isinstance(file.get(name), h5py.Dataset)
        }
        content |= {name: file.attrs[name] for name in ATTRIBUTES if name in file.attrs}
        if "object" in content:
            on_object = file["object"].attrs
            content |= {name: on_object[place] for name, place in ON_OBJECT.items() if place in on_object}
    return {name: np.asarray(value) for name, value in content.items()}


DETECTOR_PIXEL = ("detector_pixel_height_m", "detector_pixel_width_m")
NOT_KNOWN = 0.0
"""Value of an unknown number in a product."""


def write_ptychodus(scan: ScanData, path: Path) -> None:
    """Write a scan as a product with its patterns in the same file; lazy counts are streamed."""
    image, origin = _object_of(scan)
    numbers = {
        "photon_energy_eV": scan.energy_eV,
        "detector_object_distance_m": scan.detector_distance_m,
        "probe_photon_count": _photons(scan.require_probe()) if scan.probe_gauge == "calibrated" else None,
    }
    comments = "flat object, to start from" if scan.truth is None else "true object of a simulation"
    positions = scan.positions_px - origin
    _write(path, image, scan.require_probe(), positions, _pixel(scan.pixel_size_m), numbers, comments, scan=scan)


def write_ptychodus_product(recon: Reconstruction, path: Path) -> None:
    """Write a reconstruction as a product."""
    optics = optics_record(recon)
    numbers = {
        "photon_energy_eV": optics.get("energy_eV"),
        "detector_object_distance_m": optics.get("detector_distance_m"),
        "probe_photon_count": _photons(recon.probe),
    }
    extra: dict[str, Any] = {"losses": recon.history.get("loss", []), "indexes": recon.patterns}
    pixel, probe = _pixel(recon.pixel_size_m), recon.probe
    if recon.probe_variation is not None or recon.flux is not None:
        terms = FrameProbes(recon.probe, recon.probe_variation, recon.probe_weights, recon.flux)
        probe, extra["weights"] = to_opr_modes(terms, len(recon.positions_px))
    _write(path, recon.object, probe, recon.positions_px, pixel, numbers, "reconstruction", **extra)


def _photons(probe: np.ndarray) -> float:
    return probe_photons(probe)


def _pixel(pixel_size_m: float | None) -> float:
    assert pixel_size_m is not None, "a product needs the object pixel"
    return pixel_size_m


def _object_of(scan: ScanData) -> tuple[np.ndarray, np.ndarray]:
    """Return the true object, or a flat one on the smallest canvas, and the position (y, x) of its corner, pixels."""
    if scan.truth is not None:
        return scan.truth, np.zeros(2)
    origin, shape = bounding_canvas(scan.positions_px, scan.size)
    return np.ones(shape, np.complex64), np.array(origin, np.float64)


def _write(
    path: Path,
    image: np.ndarray,
    probe: np.ndarray,
    positions_px: np.ndarray,
    pixel: float,
    numbers: dict[str, float | None],
    comments: str,
    *,
    losses: Sequence[float] = (),
    indexes: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    scan: ScanData | None = None,
) -> None:
    attributes: dict[str, Any] = {name: NOT_KNOWN if value is None else value for name, value in numbers.items()}
    attributes |= {"name": "ptypinn", "comments": comments, "exposure_time_s": NOT_KNOWN}
    attributes["probe_energy_eV"] = attributes["photon_energy_eV"]  # the name in earlier releases
    metres = positions_px * pixel
    arrays: dict[str, Any] = {
        "probe_position_indexes": np.arange(len(positions_px)) if indexes is None else indexes,
        "probe_position_y_m": metres[:, 0],
        "probe_position_x_m": metres[:, 1],
        "probe": probe if probe.ndim == 4 else probe[None],
        "object": image[None],
        "object_layer_spacing_m": np.zeros(0),
        "loss_epochs": np.arange(len(losses)),
        "loss_values": np.array(losses, np.float64),
    }
    if weights is not None:
        arrays[WEIGHTS] = weights
    if scan is not None:
        arrays |= {"indexes": np.arange(scan.n_patterns), "bad_pixels": ~scan.good}
    # Positions stay what they are in metres where the middle of the object's array is put here.
    centre = (np.array(image.shape) - probe.shape[-1]) / 2 * pixel
    on_object = dict(zip(ON_OBJECT, (*centre.tolist(), pixel, pixel), strict=True))
    writer = _write_archive if path.suffix == ".npz" else _write_hdf5
    writer(path, attributes, arrays, on_object, scan)


def _write_hdf5(
    path: Path, attributes: dict[str, Any], arrays: dict[str, Any], on_object: dict[str, float], scan: ScanData | None
) -> None:
    with create_hdf5(path) as file:
        file.attrs.update(attributes)
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
        file["object"].attrs.update({ON_OBJECT[name]: value for name, value in on_object.items()})
        file["probe"].attrs.update({name: on_object[f"object_{name}"] for name in ("pixel_height_m", "pixel_width_m")})
        if scan is not None:
            patterns = write_counts(file, "patterns", scan)
            patterns.attrs.update(dict.fromkeys(DETECTOR_PIXEL, scan.detector_pixel_m or NOT_KNOWN))


def _write_archive(
    path: Path, attributes: dict[str, Any], arrays: dict[str, Any], on_object: dict[str, float], scan: ScanData | None
) -> None:
    probe_pixel = {name.replace("object", "probe"): value for name, value in on_object.items() if "pixel" in name}
    pixels = {} if scan is None else dict.fromkeys(DETECTOR_PIXEL, scan.detector_pixel_m or NOT_KNOWN)
    patterns = None if scan is None else ("patterns", scan)
    write_npz(path, {**attributes, **arrays, **on_object, **probe_pixel, **pixels}, patterns)
