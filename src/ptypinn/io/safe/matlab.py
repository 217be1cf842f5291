"""Variables of MATLAB files, of version 5 to 7 through SciPy and of version 7.3 (HDF5) through h5py."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import find_dataset, read_array
from ptypinn.io.safe.hdf5_open import open_hdf5, require_file
from ptypinn.io.safe.matlab5 import is_mat5, require_sane_mat5

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    NotImplementedError,
    zlib.error,
)
"""Errors of SciPy for damaged files."""


@runtime_checkable
class Variables(Protocol):
    """Variables of an open MATLAB file; fields of structures by dotted names such as `p.lambda`."""

    def array(self, name: str) -> np.ndarray | None:
        """Return a numeric variable in MATLAB's order of axes, at least two; None where there is none."""

    def text(self, name: str) -> str:
        """Return a variable of characters; empty where there is none."""

    def dataset(self, name: str) -> h5py.Dataset | None:
        """Return the dataset of a variable, its axes reversed; None for files that are no HDF5."""


def number(variables: Variables, *names: str) -> float | None:
    """Return the first of several variables that is one finite number; None where there is none."""
    for name in names:
        value = variables.array(name)
        if value is not None and value.size == 1 and value.dtype.kind in "biuf" and np.isfinite(value).all():
            return float(value.flat[0])
    return None


@contextlib.contextmanager
def open_mat(path: Path, names: Sequence[str], limit_bytes: float) -> Iterator[Variables]:
    """Open a MATLAB file.

    Args:
        path: The file.
        names: Variables that may be asked for; the others are never unpacked.
        limit_bytes: Refuse files of version 5 that inflate to more, for they are read whole.

    Raises:
        InputError: Where the file is damaged or no MATLAB file.
    """
    require_file(path)
    if h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            yield _Variables73(file, str(path))
        return
    if not is_mat5(path):
        raise InputError(str(path), "file", "something else", "a MATLAB file of version 5 or later")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    require_sane_mat5(path, names, limit_bytes)
    try:
        variables = loadmat(path, variable_names=list(names), struct_as_record=True, chars_as_strings=True)
    except (MatReadError, *DAMAGE) as error:
        raise InputError(str(path), "file", f"a damaged MATLAB file ({error})", "a complete one") from error
    yield _Variables5(variables)


def is_mat73(path: Path) -> bool:
    """Return True if an HDF5 file has the header of MATLAB's format 7.3."""
    with path.open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"


def names_in(path: Path) -> set[str]:
    """List the variables of a MATLAB file without unpacking it."""
    if h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            return set(file)
    return set(require_sane_mat5(path, (), 0.0))


class _Variables5:
    def __init__(self, variables: dict[str, Any]) -> None:
        self._variables = variables

    def array(self, name: str) -> np.ndarray | None:
        value = self._value(name)
        return value if value is not None and value.dtype.kind in "biufc" and value.size else None

    def text(self, name: str) -> str:
        value = self._value(name)
        return str(value.flat[0]) if value is not None and value.dtype.kind == "U" and value.size else ""

    def _value(self, name: str) -> np.ndarray | None:
        first, *fields = name.split(".")
        value = self._variables.get(first)
        for field in fields:
            if not isinstance(value, np.ndarray) or value.size != 1 or field not in (value.dtype.names or ()):
                return None
            value = value[field].flat[0]
        return value if isinstance(value, np.ndarray) else None

    def dataset(self, name: str) -> h5py.Dataset | None:
        return None


class _Variables73:
    def __init__(self, file: h5py.File, source: str) -> None:
        self._file, self._source = file, source

    def array(self, name: str) -> np.ndarray | None:
        dataset = self.dataset(name)
        if dataset is None or "MATLAB_empty" in dataset.attrs:
            return None
        values = read_array(dataset, self._source)
        if values.dtype.names == ("real", "imag"):
            values = values["real"] + 1j * values["imag"]
        return values.transpose() if values.dtype.kind in "biufc" else None

    def text(self, name: str) -> str:
        values = self.array(name)
        if values is None or values.dtype.kind != "u":
            return ""
        return values.astype(np.uint16).tobytes(order="F").decode("utf-16-le", errors="replace")

    def dataset(self, name: str) -> h5py.Dataset | None:
        return find_dataset(self._file, name.replace(".", "/"))
