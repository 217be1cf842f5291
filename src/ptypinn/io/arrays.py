"""Checked arrays and quantities from files."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from jaxtyping import Complex64, Float64

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import find_dataset, read_scalar


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


JOULES_PER_EV = 1.602176634e-19
LENGTHS = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-6),
    **dict.fromkeys(("nm", "[n_m]", "n_m", "nanometer", "nanometre"), 1e-9),
    **dict.fromkeys(("a", "å", "angstrom", "angstroms", "ang"), 1e-10),
    **dict.fromkeys(("pm", "picometer"), 1e-12),
}
"""Metres by the names of units that files use, lower case."""
ENERGIES = {"ev": 1.0, "kev": 1e3, "MeV": 1e6, "meV": 1e-3, "j": 1 / JOULES_PER_EV}
"""Electron volts by the names of units, lower case but where that would confuse mega with milli."""


def unit_of(attributes: Any, default: str = "") -> str:
    """Return the attribute `units` as text; `default` where there is none, or an empty one."""
    value = attributes.get("units", "")
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip() or default


def factor_of(source: str, name: str, unit: str, factors: dict[str, float]) -> float:
    """Return the factor from a unit to the unit whose factor is 1.

    Args:
        source: Name of the file for messages.
        name: Dataset that names the unit.
        unit: Its name, in lower or upper case.
        factors: Units by name.
    """
    factor = factors.get(unit, factors.get(unit.lower()))
    if factor is None:
        raise InputError(source, f"{name}@units", repr(unit[:40]), f"one of {', '.join(factors)}")
    return factor


def read_quantity(file: h5py.File, source: str, factors: dict[str, float], default: str, *names: str) -> float | None:
    """Return the first of several numbers that is more than 0, in the unit whose factor is 1; None where there is none.

    Detector software writes 0 for unknown numbers.

    Args:
        file: The file.
        source: Its name for messages.
        factors: Units by name.
        default: Unit of a dataset that names none.
        names: Datasets, in order of preference.
    """
    for name in names:
        dataset, value = find_dataset(file, name), read_scalar(file, source, name)
        if dataset is None or not value:
            continue
        return value * factor_of(source, name, unit_of(dataset.attrs, default), factors)
    return None
