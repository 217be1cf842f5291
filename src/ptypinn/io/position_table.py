"""Positions from a table in a text file, for formats without positions.

The first line names the columns with their units, such as `y_um, x_um` or `x (nm); y (nm)`; others are left aside. One
line follows per pattern: where the *probe* is on the sample, y along the detector's rows and x along its columns.
Pixels are object pixels of whole patterns where those are square, else of the cropped ones. Columns between semicolons,
tabs or spaces may have decimal commas, as programs write them in many countries.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.text_table import DIRECTIVE, read_lines, split_cells
from ptypinn.io.units import EXAMPLES, length_in_m

PIXELS = ("px", "pixel", "pixels")
COLUMN = re.compile(r"^(?P<axis>[xy])(?:[\s_/]*[(\[]?\s*(?P<unit>[^\W\d_]+)\s*[)\]]?)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """Columns of a table by its first line."""

    y: int
    """Column of y."""
    x: int
    """Column of x."""
    count: int
    """Number of all columns."""
    unit: str
    """Unit of y and x, as it is written."""


def read_positions(
    path: Path, config: LoadConfig, pixel_m: float | None, pixel_scale: float = 1.0
) -> Float64[np.ndarray, "patterns 2"]:
    """Read positions (y, x), object pixels, one per line; NaN where the table has it.

    Args:
        path: The table.
        config: Reading options; `positions_unit` for a header without units.
        pixel_m: Object pixel, metres; needed where positions are lengths.
        pixel_scale: Object pixels of the scan per pixel of the table, where positions are pixels.

    Raises:
        InputError: Where the table is at fault, naming the line.
    """
    lines = read_lines(path)
    number, header = next(lines, (1, ""))
    if DIRECTIVE.fullmatch(header):
        number, header = next(lines, (number, ""))
    layout = _read_header(path, number, header, config)
    metres = length_in_m(layout.unit)
    if metres is not None and pixel_m is None:
        expected = "the object pixel: --energy-eV with --detector-distance-m and --detector-pixel-m, or --pixel-size-m"
        raise InputError(str(path), "positions", f"lengths in {layout.unit}", expected)
    values, signs = array("d"), set[str]()
    for number, line in lines:
        values.extend(_read_numbers(path, number, line, layout, signs))
    positions = np.array(values, np.float64).reshape(-1, 2)
    return positions * (pixel_scale if metres is None or pixel_m is None else metres / pixel_m)


def _read_header(path: Path, number: int, header: str, config: LoadConfig) -> Layout:
    columns: dict[str, int] = {}
    units: set[str] = set()
    names = split_cells(unicodedata.normalize("NFKC", header).lstrip("# "))
    for column, name in enumerate(names):
        match = COLUMN.match(name)
        if match:
            columns.setdefault(match["axis"].lower(), column)
            units.add(match["unit"] or config.positions_unit)
    if len(columns) != 2:
        raise InputError(str(path), f"line {number}", repr(header[:60]), "names of columns, such as y_um, x_um")
    if len({unit.lower() for unit in units}) != 1:
        raise InputError(str(path), f"line {number}", f"units {' and '.join(sorted(units))}", "the same for x and y")
    unit = units.pop()
    if unit == "auto":
        raise InputError(str(path), f"line {number}", "columns without units", "y_um, x_um, or --positions-unit")
    if length_in_m(unit) is None and unit.lower() not in PIXELS:
        raise InputError(str(path), f"line {number}", f"unit {unit}", f"{EXAMPLES['length']}, or px")
    return Layout(columns["y"], columns["x"], len(names), unit)


def _read_numbers(path: Path, number: int, line: str, layout: Layout, signs: set[str]) -> tuple[float, float]:
    """Return y and x of a line, and add its decimal signs to those of the lines before."""
    cells = split_cells(line, layout.count)
    while len(cells) > layout.count and not cells[-1]:
        cells.pop()
    if len(cells) != layout.count:
        actual = f"{len(cells)} cells in {line[:60]!r}"
        raise InputError(str(path), f"line {number}", actual, f"{layout.count}, as the first line has names")
    y, x = cells[layout.y], cells[layout.x]
    signs.update(sign for sign in ".," if sign in y + x)
    if len(signs) > 1:
        raise InputError(str(path), f"line {number}", f"{line[:60]!r}", "the decimal sign of the lines before, . or ,")
    try:
        return float(y.replace(",", ".")), float(x.replace(",", "."))
    except ValueError:
        raise InputError(str(path), f"line {number}", repr(line[:60]), "numbers in the columns y and x") from None
