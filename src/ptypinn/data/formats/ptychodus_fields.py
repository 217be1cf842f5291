"""The numbers of a Ptychodus product, out of HDF5 or NPZ, by the names that the NPZ flavour gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.data.formats.npz_archive import open_npz
from ptypinn.data.hdf5 import open_hdf5
from ptypinn.data.storage import read_array
from ptypinn.errors import InputError

POSITIONS = ("probe_position_y_m", "probe_position_x_m")
WAVES = ("probe", "object")
REQUIRED = (*POSITIONS, *WAVES, "object_center_y_m", "object_center_x_m", "object_pixel_height_m")
ARRAYS = (*WAVES, "probe_position_indexes", *POSITIONS, "loss_values", "costs")
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
    found = _from_hdf5(path) if h5py.is_hdf5(path) else _from_npz(path)
    for name in REQUIRED:
        if name not in found:
            expected = "what a product has; patterns alone go with a product, by --patterns_file"
            raise InputError(str(path), ON_OBJECT.get(name, name), "nothing here", expected)
    for name, values in found.items():
        kinds, single = ("uifc" if name in WAVES else "uif"), name in (*ATTRIBUTES, *ON_OBJECT)
        if values.dtype.kind not in kinds or (single and values.size != 1) or (name in REQUIRED and not values.size):
            told = f"{values.dtype} of shape {values.shape}"
            raise InputError(str(path), name, told, "one number" if single else "numbers")
    return found


def number(fields: Fields, *names: str) -> float | None:
    """The first of several numbers that is there and tells something; files write 0 for what is not known."""
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
        found: dict[str, Any] = {
            name: read_array(file[name]) for name in ARRAYS if isinstance(file.get(name), h5py.Dataset)
        }
        found |= {name: file.attrs[name] for name in ATTRIBUTES if name in file.attrs}
        if "object" in found:
            on_object = file["object"].attrs
            found |= {name: on_object[place] for name, place in ON_OBJECT.items() if place in on_object}
    return {name: np.asarray(value) for name, value in found.items()}
