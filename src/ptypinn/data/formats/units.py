"""Numbers with the unit that HDF5 attributes give them."""

from __future__ import annotations

from typing import Any

import h5py

from ptypinn.data.hdf5 import find_dataset, read_scalar
from ptypinn.errors import InputError

LENGTHS = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-6),
    **dict.fromkeys(("nm", "[n_m]", "n_m", "nanometer", "nanometre"), 1e-9),
    **dict.fromkeys(("a", "å", "angstrom", "angstroms", "ang"), 1e-10),
    **dict.fromkeys(("pm", "picometer"), 1e-12),
}
"""Metres by the names of units that files use, lower case."""
ENERGIES = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": 1 / 1.602176634e-19}
"""Electron volts by the names of units, lower case; kV and V of accelerating voltages are found under their own."""
VOLTAGES = {"v": 1.0, "kv": 1e3, "volt": 1.0, "volts": 1.0, **ENERGIES}


def unit_of(attributes: Any, default: str = "") -> str:
    """The attribute `units` as text."""
    value = attributes.get("units", default)
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip()


def read_quantity(file: h5py.File, source: str, factors: dict[str, float], default: str, *names: str) -> float | None:
    """The first of several numbers that is more than 0, in the unit whose factor is 1; None where there is none.

    Detector software writes 0 for what it was not told.

    Args:
        file: The file.
        source: Its name for messages.
        factors: Units by name, lower case.
        default: Unit of a dataset that names none.
        names: Datasets, in order of preference.
    """
    for name in names:
        dataset, value = find_dataset(file, name), read_scalar(file, source, name)
        if dataset is None or not value:
            continue
        unit = unit_of(dataset.attrs, default) or default
        if unit.lower() not in factors:
            raise InputError(source, f"{name}@units", repr(unit), f"one of {', '.join(factors)}")
        return value * factors[unit.lower()]
    return None
