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
SPEC_LABELS = "#L "
"""Start of the line of a SPEC file that names the columns."""
MAX_LINE = 10_000
"""Maximum length of a line of a table."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Iterate over numbered lines that are not empty; the first may be the last comment before the others, a header."""
    require_file(path)
    with path.open("rb") as file:
        number, started, comment = 0, False, (0, "")
        while raw := file.readline(MAX_LINE):
            number += 1
            try:
                line = raw.decode("utf-8-sig").strip(" \r\n")
            except UnicodeDecodeError as error:
                raise InputError(str(path), f"line {number}", "something else", "text (UTF-8)") from error
            if len(raw) == MAX_LINE:
                raise InputError(str(path), f"line {number}", f"more than {MAX_LINE} characters", "a few numbers")
            if line.startswith("#"):
                comment = comment if started else (number, line)
            elif line.strip():
                if comment[0] and not started:
                    yield comment
                started = True
                yield number, line


def split_names(line: str) -> list[str]:
    """Names of columns in a header, which may be a comment, or the labels of a SPEC file with two spaces between.

    >>> split_names("#L  Sample X  Sample Y  I0"), split_names("# frame, I0")
    (['Sample X', 'Sample Y', 'I0'], ['frame', 'I0'])
    """
    if line.startswith(SPEC_LABELS):
        return re.split(r"\s{2,}", line.removeprefix(SPEC_LABELS).strip())
    return split_cells(line.lstrip("# \t"))


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
