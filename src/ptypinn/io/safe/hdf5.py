"""Read HDF5 with one-line errors, and JSON stored in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the compression filters
import numpy as np

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_limits import read_array
from ptypinn.io.safe.hdf5_links import require_contained

DAMAGE = (OSError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)
"""Errors of h5py and NumPy for damaged files."""


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises:
        InputError: Where the file is missing, not HDF5, truncated, or damaged where it is read; or where it leads out
            of its folder outside of `external_files(True)`.
    """
    require_file(path)
    if not h5py.is_hdf5(path):
        raise InputError(str(path), "file", "something else", "an HDF5 file")
    try:
        require_contained(path)
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(str(path), "file", f"a truncated or damaged HDF5 file ({error})", "a complete one") from error


def require_file(path: Path) -> None:
    """Raise `InputError` where `path` is not a file that can be read."""
    if not path.exists():
        raise InputError(str(path), "file", "nothing under this name", "a file")
    if not path.is_file():
        raise InputError(str(path), "file", "a folder" if path.is_dir() else "a device or pipe", "a file")


def find_dataset(file: h5py.File, *names: str) -> h5py.Dataset | None:
    """Return the first of several datasets that exists; dangling and circular links count as absent."""
    return next((dataset for name in names if isinstance(dataset := _follow(file, name), h5py.Dataset)), None)


def require_dataset(file: h5py.File, source: str, *names: str) -> h5py.Dataset:
    """Return the first of several datasets that exists, or raise an `InputError` that names them."""
    dataset = find_dataset(file, *names)
    if dataset is None:
        raise InputError(
            source, names[0], "no such dataset", "a dataset here" + "".join(f" or at {n}" for n in names[1:])
        )
    return dataset


def require_array(file: h5py.File, source: str, *names: str) -> np.ndarray:
    """Read the first of several datasets that exists, or raise an `InputError` that names them; not for patterns."""
    return read_array(require_dataset(file, source, *names), source)


def read_scalar(file: h5py.File, source: str, name: str) -> float | None:
    """Read a number stored as a scalar or as an array of one value; None where absent.

    Raises:
        InputError: Where the dataset holds several different values or no number.
    """
    dataset = find_dataset(file, name)
    if dataset is None:
        return None
    values = read_array(dataset, source)
    if values.dtype.kind not in "uif" or values.size == 0 or not (values == values.flat[0]).all():
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "one number")
    return float(values.flat[0])


def add_group(parent: h5py.Group, name: str, nx_class: str, **attributes: object) -> h5py.Group:
    """Add a group with its NeXus class."""
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nx_class, **attributes})
    return group


def add_dataset(group: h5py.Group, name: str, value: object, unit: str) -> None:
    """Add a value with its unit."""
    group.create_dataset(name, data=value).attrs["units"] = unit


def write_json(group: h5py.Group, name: str, content: Any) -> None:
    """Store nested plain values as a JSON string of fixed length; NumPy numbers and arrays become plain ones."""
    text = json.dumps(content, default=_plain).encode()
    group.create_dataset(name, data=np.array(text, h5py.string_dtype("utf-8", len(text))))


def read_json(file: h5py.File, source: str, name: str) -> Any:
    """Parse a JSON string dataset."""
    dataset = require_dataset(file, source, name)
    try:
        return json.loads(bytes(read_array(dataset, source)[()]))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(source, name, "something else", "a JSON string") from error


def _follow(file: h5py.File, name: str) -> Any:
    try:
        return file.get(name)
    except RuntimeError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)
