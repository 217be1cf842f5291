"""Sets of whole numbers as text, such as `0-195` or `~5,77`: selections of patterns, and lists of them in messages."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

from ptypinn.config.load import RANGE

MAX_ADVICE = 200
"""Maximum length of a selection in a message."""
MAX_LISTED = 8
"""Maximum number of ranges in a message; the rest is counted."""


def parse_ranges(text: str, total: int) -> Int64[np.ndarray, " numbers"]:
    """Return the numbers of a text out of 0 to `total - 1`, in ascending order.

    Args:
        text: Numbers and inclusive ranges, separated by commas; a tilde before them takes all others.
        total: Count of all numbers.

    Raises:
        ValueError: Where the text names a number that is too large, with that number.

    >>> parse_ranges("0-3,7", 9).tolist(), parse_ranges("~0-3,7", 9).tolist(), parse_ranges("1-:3", 9).tolist()
    ([0, 1, 2, 3, 7], [4, 5, 6, 8], [1, 4, 7])
    """
    named = np.zeros(total, bool)
    for part in text.strip().removeprefix("~").split(","):
        match = RANGE.fullmatch(part.strip())
        assert match is not None, "checked by is_range_text"
        first = int(match[1])
        last = first if match[2] is None else int(match[3] or max(total - 1, first))
        if last >= total:
            raise ValueError(str(last))
        named[first : last + 1 : int(match[4] or 1)] = True
    return np.flatnonzero(~named if text.strip().startswith("~") else named).astype(np.int64)


def format_ranges(numbers: Iterable[int] | np.ndarray) -> str:
    """Return ascending numbers as text that `parse_ranges` reads.

    >>> format_ranges([0, 1, 2, 3, 7, 9, 10])
    '0-3,7,9,10'
    """
    return ",".join(_runs(numbers))


def read_ranges(text: str) -> list[int]:
    """Return the numbers of a text that `format_ranges` wrote; parts of another kind are left out.

    >>> read_ranges("0-3,7"), read_ranges("")
    ([0, 1, 2, 3, 7], [])
    """
    matches = [RANGE.fullmatch(part) for part in text.split(",")]
    limits = [(int(match[1]), int(match[3] or match[1])) for match in matches if match is not None]
    return [number for first, last in limits for number in range(first, last + 1)]


def list_ranges(numbers: Iterable[int] | np.ndarray) -> str:
    """Return ascending numbers for a sentence; of many, the first and the count of the others; nothing for none.

    >>> list_ranges([5, 77]), list_ranges(range(0, 40, 2))
    ('5 and 77', '0, 2, 4, 6, 8, 10, 12, 14 and 12 more')
    """
    values = np.asarray(list(numbers), np.int64)
    runs = _runs(values)
    if not runs:
        return ""
    if len(runs) > MAX_LISTED:
        listed = int(runs[MAX_LISTED - 1].split("-")[-1])
        return f"{', '.join(runs[:MAX_LISTED])} and {int(np.sum(values > listed))} more"
    return runs[0] if len(runs) == 1 else f"{', '.join(runs[:-1])} and {runs[-1]}"


def advise_selection(bad: np.ndarray, numbers: np.ndarray, total: int) -> str:
    """Return the advice that leaves patterns out.

    Args:
        bad: Numbers of the patterns to leave out, ascending.
        numbers: Numbers of all patterns that are read.
        total: Count of the patterns in the file.

    >>> advise_selection(np.array([5, 77]), np.arange(196), 196)
    '--select "~5,77" leaves them out'
    """
    good = np.setdiff1d(numbers, bad)
    if not len(good):
        return "there are no others"
    without = "~" + format_ranges(np.setdiff1d(np.arange(total), good))
    text = min(without, format_ranges(good), key=len)
    return f'--select "{text}" leaves them out' if len(text) <= MAX_ADVICE else "--select leaves out what it is to"


def _runs(numbers: Iterable[int] | np.ndarray) -> list[str]:
    values = np.asarray(list(numbers), np.int64)
    runs: list[str] = []
    for run in np.split(values, np.flatnonzero(np.diff(values) != 1) + 1):
        if len(run) <= 2:
            runs.extend(str(number) for number in run)
        else:
            runs.append(f"{run[0]}-{run[-1]}")
    return runs
