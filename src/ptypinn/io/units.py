"""Units of files by their names, in any spelling, and quantities in metres, reciprocal metres, radians and eV."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import find_dataset, read_scalar

Kind = Literal["length", "reciprocal length", "angle", "energy"]
"""Quantity that a unit measures."""
JOULES_PER_EV = 1.602176634e-19
EXAMPLES: dict[Kind, str] = {
    "length": "m, mm, um, nm, angstrom or pm",
    "reciprocal length": "1/m, 1/nm, 1/angstrom or 1/pm",
    "angle": "rad, mrad, urad or degree",
    "energy": "eV, keV, MeV or J",
}
"""Units of each kind, for messages."""
PREFIXES = {
    "": ("", 1.0),
    "kilo": ("k", 1e3),
    "centi": ("c", 1e-2),
    "milli": ("m", 1e-3),
    "micro": ("u", 1e-6),
    "nano": ("n", 1e-9),
    "pico": ("p", 1e-12),
    "femto": ("f", 1e-15),
}
"""Symbols and factors of the prefixes by their names; mega and giga are for energies only."""
LARGE_PREFIXES = {"mega": ("M", 1e6), "giga": ("G", 1e9)}
NO_UNIT = frozenset(("", "1", "none", "unknown", "n/a", "px", "pixel", "pixels", "counts", "dimensionless", "unitless"))
"""Words for a quantity without a unit, lower case: numbers that nobody calibrated."""
INVERSE = re.compile(r"(?:1?/\(?(?P<below>.+?)\)?|(?P<base>.+?)(?:\^|\*\*)?[({]?-1[)}]?)")


@dataclass(frozen=True)
class Unit:
    """Unit of a quantity."""

    kind: Kind
    """Quantity that it measures."""
    factor: float
    """Value of the unit in metres, reciprocal metres, radians or electron volts."""


def _name_units() -> dict[str, Unit]:
    """Return every unit by its symbol and by its names."""
    units = {name: Unit("length", 1e-10) for name in ("A", "AA", "Å", "Ang", "angstrom", "angstroem", "ångström")}
    units |= {name: Unit("angle", np.pi / 180) for name in ("°", "deg", "degree")}
    units["micron"] = Unit("length", 1e-6)
    roots: list[tuple[str, tuple[str, ...], Unit]] = [
        ("m", ("meter", "metre"), Unit("length", 1.0)),
        ("rad", ("radian",), Unit("angle", 1.0)),
        ("eV", ("electronvolt",), Unit("energy", 1.0)),
        ("J", ("joule",), Unit("energy", 1 / JOULES_PER_EV)),
    ]
    for symbol, words, unit in roots:
        for prefix, (letter, factor) in {**PREFIXES, **(LARGE_PREFIXES if unit.kind == "energy" else {})}.items():
            scaled = Unit(unit.kind, unit.factor * factor)
            letters = ("u", "μ") if letter == "u" else (letter,)
            units |= {name: scaled for name in (*(i + symbol for i in letters), *(prefix + word for word in words))}
    return {**units, **{f"{name}s": unit for name, unit in units.items() if len(name) > 3}}


UNITS = _name_units()
"""Units by their names as they are usually written."""


def _fold_names() -> dict[str, Unit]:
    """Return the units by their names in lower case, without those that differ by their case alone (MeV, meV)."""
    folded: dict[str, set[Unit]] = {}
    for name, unit in UNITS.items():
        folded.setdefault(name.lower(), set()).add(unit)
    return {name: next(iter(units)) for name, units in folded.items() if len(units) == 1}


FOLDED = _fold_names()


def unit_text(value: Any) -> str:
    r"""Return the text of an attribute: UTF-8, or Latin-1 where it is no UTF-8; empty for no text.

    >>> unit_text(b"\xc5"), unit_text("nm "), unit_text(None)
    ('Å', 'nm', '')
    """
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        return ""
    try:
        return value.decode("utf-8").strip("\0 \t\r\n")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip("\0 \t\r\n")


def parse_unit(text: str) -> Unit | None:
    """Return the unit of a name; None where it is no unit of a length, its reciprocal, an angle or an energy.

    >>> parse_unit("nm⁻¹") == parse_unit("1 / nm") == parse_unit("nm^-1") == Unit("reciprocal length", 1e9)
    True
    >>> parse_unit("furlong") is None
    True
    """
    name = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2013", "-")
    name = re.sub(r"[\s_]", "", name)  # `n_m` is a nanometre in files of EMD 0.x
    if len(name) > 1 and (name[0], name[-1]) in (("[", "]"), ("(", ")")):
        name = name[1:-1]
    match = INVERSE.fullmatch(name)
    base = name if match is None else match["below"] or match["base"]
    unit = UNITS.get(base, FOLDED.get(base.lower()))
    if match is None or unit is None:
        return unit
    return Unit("reciprocal length", round(1 / unit.factor, 6)) if unit.kind == "length" else None


def is_unit(text: str) -> bool:
    """Return True if a text names a unit, of whatever kind: False for none, pixels and other words for no unit."""
    return text.lower() not in NO_UNIT


def length_in_m(text: str) -> float | None:
    """Return the metres of a unit of length; None for any other text.

    >>> length_in_m("um"), length_in_m("px")
    (1e-06, None)
    """
    unit = parse_unit(text)
    return unit.factor if unit is not None and unit.kind == "length" else None


def convert_to_si(value: float, unit: str, kind: Kind) -> float | None:
    """Return a step in metres, reciprocal metres, radians or electron volts; None where its unit is of another kind.

    >>> convert_to_si(0.5, "mrad", "angle"), convert_to_si(0.5, "mrad", "length")
    (0.0005, None)
    """
    parsed = parse_unit(unit) if is_unit(unit) else None
    if parsed is None or parsed.kind != kind or not (math.isfinite(value) and value != 0):
        return None
    return abs(float(value)) * parsed.factor


def convert_unit(source: str, place: str, text: str, option: str, *kinds: Kind) -> Unit:
    """Return the unit that a file names.

    Args:
        source: Name of the file for messages.
        place: Dataset or array that names it.
        text: Its name.
        option: Field of `LoadConfig` that replaces the quantity; empty where none does.
        kinds: Quantities that the unit may measure.

    Raises:
        InputError: Where the unit is of another quantity, or cannot be read.
    """
    unit = parse_unit(text)
    if unit is None or unit.kind not in kinds:
        expected = " or ".join(f"a unit of {kind} ({EXAMPLES[kind]})" for kind in kinds)
        replacement = f"; {option_name(option)} replaces it" if option else ""
        raise InputError(source, f"{place}@units", repr(text[:40]), expected + replacement)
    return unit


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
