"""Lines and cells of tables in text files, as spreadsheets and programs of many countries write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_open import require_file

SEPARATORS = (";", "\t", ",")
"""Signs between columns, in order of preference: a comma beside one of the others is a decimal sign."""
DIRECTIVE = re.compile(r"sep=.?", re.IGNORECASE)
"""First line of spreadsheets that names the separator."""
MAX_LINE = 10_000
"""Maximum length of a line of a table."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Iterate over numbered lines that are not empty; the first may be a comment, as a header often is."""
    require_file(path)
    with path.open("rb") as file:
        number, started = 0, False
        while raw := file.readline(MAX_LINE):
            number += 1
            try:
                line = raw.decode("utf-8-sig").strip(" \r\n")
            except UnicodeDecodeError as error:
                raise InputError(str(path), f"line {number}", "something else", "text (UTF-8)") from error
            if len(raw) == MAX_LINE:
                raise InputError(str(path), f"line {number}", f"more than {MAX_LINE} characters", "a few numbers")
            if line.strip() and (not started or not line.startswith("#")):
                started = True
                yield number, line


def split_cells(line: str, count: int = 0) -> list[str]:
    """Cells of a line: between semicolons or tabs where it has them; else between commas, or spaces where these fit.

    Args:
        line: The line.
        count: Number of cells by the first line; 0 for that line itself.
    """
    separator = next((sign for sign in SEPARATORS if sign in line), None)
    words = line.split()
    if separator is None or (separator == "," and count == len(words) and line.count(",") != count - 1):
        return words
    return [cell.strip() for cell in line.split(separator)]
