"""Read a modulation transfer function (MTF): a number at half of Nyquist's frequency, or a table in a text file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.data.detector_mtf import Table, gaussian_mtf, with_mtf
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.text_table import read_lines, split_cells

OPTION = "--mtf"
MIN_ROWS, MAX_ROWS = 3, 10_000
"""Smallest and largest number of rows of a table."""
MIN_REACH, MAX_FREQUENCY = 0.5, 10.0
"""Smallest frequency that a table has to reach, and the largest that it may have, in units of Nyquist's."""
MAX_VALUE, MIN_START = 1.05, 0.9
"""Largest value of a table, for noise, and the smallest at its start, by which it is divided."""
MIN_HALF = 0.01
"""Smallest transfer at half of Nyquist's frequency."""


def apply_mtf(scan: ScanData, config: LoadConfig) -> ScanData:
    """Return a scan whose detector has the point spread of `--mtf`.

    Args:
        scan: Scan as read from its file.
        config: Reading options with `mtf`.

    Raises:
        InputError: Where the number or the table is at fault.
    """
    value = parse_half_nyquist(config.mtf)
    if value is None:
        path = Path(config.mtf)
        return with_mtf(scan, read_mtf(path), {"file": path.name})
    if not MIN_HALF <= value <= 1:
        raise InputError(OPTION, "", config.mtf, f"a number at half Nyquist from {MIN_HALF} to 1, or a file")
    return with_mtf(scan, gaussian_mtf(value), {})


def read_mtf(path: Path) -> Table:
    """Return frequencies, in units of Nyquist's, and values of a table with two columns, from (0, 1) on.

    A first line that has no numbers names the columns. Lines with `#` in front are left aside.

    Raises:
        InputError: Where the table is at fault, naming the line.
    """
    rows = list[tuple[float, float]]()
    for number, line in read_lines(path):
        cells = [cell for cell in split_cells(line, 2) if cell]
        values = [value for cell in cells if (value := parse_half_nyquist(cell)) is not None]
        if line.startswith("#") or (not rows and not values):  # names of the columns
            continue
        if len(cells) != 2 or len(values) != 2:
            raise InputError(str(path), f"line {number}", repr(line[:60]), "two numbers: frequency over Nyquist, MTF")
        rows.append(_check_row(path, number, values[0], values[1]))
        if len(rows) > MAX_ROWS:
            raise InputError(str(path), "MTF", f"more than {MAX_ROWS} lines", "a table of a curve")
    return _start_at_one(path, np.array(sorted(rows), np.float64).reshape(-1, 2))


def _check_row(path: Path, number: int, frequency: float, value: float) -> tuple[float, float]:
    """Return a row of a table whose numbers are possible."""
    if not 0 <= frequency <= MAX_FREQUENCY:
        expected = f"a frequency in units of Nyquist's, from 0 to {MAX_FREQUENCY:g}"
        raise InputError(str(path), f"line {number}", f"{frequency:g}", expected)
    if not 0 <= value <= MAX_VALUE:
        raise InputError(str(path), f"line {number}", f"an MTF of {value:g}", "a value from 0 to 1")
    return frequency, value


def _start_at_one(path: Path, table: Float64[np.ndarray, "rows 2"]) -> Table:
    """Return a table that is complete, 1 at frequency 0."""
    if len(table) < MIN_ROWS or table[-1, 0] < MIN_REACH:
        reach = f" up to {table[-1, 0]:g} times Nyquist" if len(table) else ""
        expected = f"at least {MIN_ROWS}, up to {MIN_REACH:g} times Nyquist or more"
        raise InputError(str(path), "MTF", f"{len(table)} values{reach}", expected)
    if (np.diff(table[:, 0]) == 0).any():
        raise InputError(str(path), "MTF", "a frequency twice", "every frequency once")
    if table[0, 0] > 0:
        return np.vstack([[0.0, 1.0], table])
    if table[0, 1] < MIN_START:
        raise InputError(str(path), "MTF", f"{table[0, 1]:g} at frequency 0", "a curve that starts at 1")
    return table / [1.0, table[0, 1]]


def parse_half_nyquist(text: str) -> float | None:
    """Return a finite number, with a decimal point or comma; None for other text."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if np.isfinite(value) else None
