"""Checked arrays and quantities from files."""

from __future__ import annotations

import h5py
import numpy as np
from jaxtyping import Complex64, Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import find_dataset, read_scalar
from ptypinn.io.units import Kind, convert_unit, length_in_m, unit_text


def as_probe(source: str, name: str, values: np.ndarray) -> Complex64[np.ndarray, "mode y x"]:
    """Return probe modes, (modes, N, N), from one or several of them.

    Args:
        source: Name of the file for messages.
        name: Where in it they lie.
        values: Modes, (N, N) or (modes, N, N).
    """
    if values.ndim not in (2, 3) or values.dtype.kind not in "uifc" or not values.size:
        actual = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, actual, "numbers of shape (N, N) or (modes, N, N)")
    return values.reshape(-1, *values.shape[-2:]).astype(np.complex64)


def as_image(source: str, name: str, values: np.ndarray) -> Complex64[np.ndarray, "height width"]:
    """Return an object, (H, W).

    Args:
        source: Name of the file for messages.
        name: Where in it the object lies.
        values: The object, (H, W).
    """
    if values.ndim != 2 or values.dtype.kind not in "uifc":
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "an image of numbers")
    return values.astype(np.complex64)


def as_positions(
    source: str, name: str, values: np.ndarray, axes: str = "y, x"
) -> Float64[np.ndarray, "patterns axes"]:
    """Return coordinates, one line per pattern, in the unit of the file.

    Args:
        source: Name of the file for messages.
        name: Where in it they lie.
        values: Coordinates, (M, axes).
        axes: Names of the coordinates, separated by commas, and their unit where the format has one.
    """
    wanted = len(axes.split(","))
    if values.ndim != 2 or values.shape[1] != wanted or values.dtype.kind not in "uif":
        actual = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, actual, f"numbers of shape (patterns, {wanted}): {axes}")
    return np.ascontiguousarray(values, np.float64)


def in_metres(
    source: str, dataset: h5py.Dataset, values: Float64[np.ndarray, "patterns axes"], config: LoadConfig
) -> Float64[np.ndarray, "patterns axes"]:
    """Return positions of a dataset in metres: by `positions_unit`, else by its attribute `units`, else metres.

    Args:
        source: Name of the file for messages.
        dataset: The dataset.
        values: Its coordinates, one line per pattern.
        config: Reading options.

    Raises:
        InputError: Where the unit is no length.
    """
    if config.positions_unit == "px":
        raise InputError(source, "--positions-unit", "px", f"a unit of length, m, um or nm, for {dataset.name}")
    if config.positions_unit != "auto":
        return values * (length_in_m(config.positions_unit) or 1.0)
    text = unit_text(dataset.attrs.get("units")) or "m"
    return values * convert_unit(source, str(dataset.name), text, "positions_unit", "length").factor


def read_quantity(
    file: h5py.File, source: str, config: LoadConfig, option: str, kind: Kind, default: str, *names: str
) -> float | None:
    """Return the first of several numbers that is more than 0, in metres, radians or eV; None where there is none.

    Detector software writes 0 for unknown numbers. Nothing is read where an option replaces the number.

    Args:
        file: The file.
        source: Its name for messages.
        config: Reading options.
        option: Field of `config` that replaces the number.
        kind: Quantity.
        default: Unit of a dataset that names none.
        names: Datasets, in order of preference.

    Raises:
        InputError: Where a unit is of another quantity, or cannot be read.
    """
    if getattr(config, option) is not None:
        return None
    for name in names:
        dataset, value = find_dataset(file, name), read_scalar(file, source, name)
        if dataset is None or not value:
            continue
        text = unit_text(dataset.attrs.get("units")) or default
        return value * convert_unit(source, name, text, option, kind).factor
    return None
