"""Positions from a table in a text file, for formats without positions.

The first line names the columns with their units, such as `y_um, x_um` or `x (nm); y (nm)`; others are left aside. One
line follows per pattern: where the *probe* is on the sample, y along the detector's rows and x along its columns.
Pixels are object pixels of whole patterns where those are square, else of the cropped ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.arrays import LENGTHS
from ptypinn.io.safe.hdf5 import require_file

PIXELS = ("px", "pixel", "pixels")
COLUMN = re.compile(r"^(?P<axis>[xy])(?:[\s_/]*[(\[]?\s*(?P<unit>[^\W\d_]+)\s*[)\]]?)?$", re.IGNORECASE)
SEPARATOR = re.compile(r"[,;\t]")
MAX_LINE = 10_000
"""Maximum length of a line of a table."""


def read_positions(
    path: Path, config: LoadConfig, patterns: int, pixel_m: float | None, pixel_scale: float = 1.0
) -> Float64[np.ndarray, "patterns 2"]:
    """Read positions (y, x), object pixels.

    Args:
        path: The table.
        config: Reading options; `positions_unit` for a header without units.
        patterns: Number of lines that the table must have.
        pixel_m: Object pixel, metres; needed where positions are lengths.
        pixel_scale: Object pixels of the scan per pixel of the table, where positions are pixels.

    Raises:
        InputError: Where the table is at fault, naming the line.
    """
    lines = _lines(path)
    number, header = next(lines, (1, ""))
    columns, unit = _columns(path, number, header, config)
    values = np.empty((patterns, 2))
    count = 0
    for number, line in lines:
        if count < patterns:
            values[count] = _numbers(path, number, line, columns)
        count += 1
    if count != patterns:
        raise InputError(str(path), "positions", f"{count} lines of numbers", f"{patterns}, one per pattern")
    if unit in PIXELS:
        return values * pixel_scale
    if pixel_m is None:
        expected = "the object pixel: --energy-eV with --detector-distance-m and --detector-pixel-m, or --pixel-size-m"
        raise InputError(str(path), "positions", f"lengths in {unit}", expected)
    return values * (LENGTHS[unit] / pixel_m)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Iterate over numbered lines that are not empty; the first may be a comment, as a header often is."""
    require_file(path)
    with path.open("rb") as file:
        number, started = 0, False
        while raw := file.readline(MAX_LINE):
            number += 1
            try:
                line = raw.decode("utf-8-sig").strip()
            except UnicodeDecodeError as error:
                raise InputError(str(path), f"line {number}", "something else", "text (UTF-8)") from error
            if len(raw) == MAX_LINE:
                raise InputError(str(path), f"line {number}", f"more than {MAX_LINE} characters", "a few numbers")
            if line and (not started or not line.startswith("#")):
                started = True
                yield number, line


def _columns(path: Path, number: int, header: str, config: LoadConfig) -> tuple[tuple[int, int], str]:
    """Return the columns of y and x, and their unit."""
    columns: dict[str, int] = {}
    units: set[str] = set()
    for column, name in enumerate(_split(header.lstrip("# "))):
        match = COLUMN.match(name)
        if match:
            columns.setdefault(match["axis"].lower(), column)
            units.add((match["unit"] or config.positions_unit).lower())
    if len(columns) != 2:
        raise InputError(str(path), f"line {number}", repr(header[:60]), "names of columns, such as y_um, x_um")
    if len(units) != 1:
        raise InputError(str(path), f"line {number}", f"units {' and '.join(sorted(units))}", "the same for x and y")
    unit = units.pop()
    if unit == "auto":
        raise InputError(str(path), f"line {number}", "columns without units", "y_um, x_um, or --positions-unit")
    if unit not in LENGTHS and unit not in PIXELS:
        raise InputError(str(path), f"line {number}", f"unit {unit}", f"one of {', '.join([*LENGTHS, 'px'])}")
    return (columns["y"], columns["x"]), unit


def _numbers(path: Path, number: int, line: str, columns: tuple[int, int]) -> tuple[float, float]:
    words = _split(line)
    try:
        y, x = (float(words[column]) for column in columns)
    except (IndexError, ValueError):
        raise InputError(str(path), f"line {number}", repr(line[:60]), "numbers in the columns y and x") from None
    if not np.isfinite([y, x]).all():
        raise InputError(str(path), f"line {number}", repr(line[:60]), "finite numbers")
    return y, x


def _split(line: str) -> list[str]:
    """Cells of a line, between commas, semicolons or tabs where it has them and else between spaces."""
    return [cell.strip() for cell in SEPARATOR.split(line)] if SEPARATOR.search(line) else line.split()
