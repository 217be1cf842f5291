"""Read HDF5 with one-line errors and within limits of memory, and JSON stored in it."""

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
from ptypinn.io.safe.hdf5_links import require_contained
from ptypinn.io.safe.hdf5_open import UNFINISHED, open_for_reading, require_file
from ptypinn.io.safe.hdf5_storage import human_size, require_readable

MAX_ARRAY_BYTES = 4.0 * 2**30
"""Maximum read in one piece; counts in HDF5 are read lazily long before."""
HARMLESS_BYTES = 2**26
"""Arrays below this size are exempt from the ratio of declared to stored size."""
MAX_RATIO = 2000
"""Declared over stored size; deflate reaches 1032, and what is stored nowhere reaches infinity."""
DAMAGE = (OSError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)
"""Errors of h5py and NumPy for damaged files."""


def read_array(dataset: h5py.Dataset, source: str = "") -> np.ndarray:
    """Read a whole dataset that is no stack of patterns.

    Args:
        dataset: The dataset.
        source: Name of its file for the message; that of the dataset itself where not given.

    Raises:
        InputError: Where it declares far more than it stores, or more than anybody needs.
    """
    source, size = source or dataset.file.filename, _nbytes(dataset)
    if size > HARMLESS_BYTES and not size <= MAX_RATIO * dataset.id.get_storage_size():
        actual = f"{human_size(size)} declared in {human_size(dataset.id.get_storage_size())} of file"
        raise InputError(source, str(dataset.name), actual, "data that is really there")
    if size > MAX_ARRAY_BYTES:
        raise InputError(source, str(dataset.name), human_size(size), f"at most {human_size(MAX_ARRAY_BYTES)}")
    require_readable(dataset, source)
    return np.asarray(dataset[()])


def limit_of(memory_budget_gib: float) -> float:
    """Return the maximum bytes of a file that is read whole; only a larger memory budget changes it."""
    return max(MAX_ARRAY_BYTES, memory_budget_gib * 2**30)


def _nbytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.shape or (1,), dtype=object)) * dataset.dtype.itemsize


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, also one that is being written for readers beside the writer (SWMR).

    Raises:
        InputError: Where the file is missing, not HDF5, truncated, or damaged where it is read; where its writer has it
            open for itself; or where it leads out of its folder outside of `external_files(True)`.
    """
    require_file(path)
    if not h5py.is_hdf5(path):
        raise InputError(str(path), "file", "something else", "an HDF5 file")
    unfinished = False
    try:
        require_contained(path)
        with open_for_reading(path) as file:
            unfinished = bool(file.swmr_mode)
            yield file
    except InputError as error:
        if unfinished and UNFINISHED not in error.expected:
            raise InputError(error.source, error.field, error.actual, f"{error.expected}; {UNFINISHED}") from error
        raise
    except DAMAGE as error:
        raise InputError(str(path), "file", f"a truncated or damaged HDF5 file ({error})", "a complete one") from error


def find_item(file: h5py.File, name: str) -> Any:
    """Return the dataset or group under a name; dangling and circular links count as absent."""
    try:
        return file.get(name)
    except RuntimeError:
        return None


def find_dataset(file: h5py.File, *names: str) -> h5py.Dataset | None:
    """Return the first of several datasets that exists; dangling and circular links count as absent."""
    return next((dataset for name in names if isinstance(dataset := find_item(file, name), h5py.Dataset)), None)


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


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)
