"""The ranking of orientations in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptypinn.data.orientation import Orientation
from ptypinn.stages.orient import Candidate, Ranking

SURENESS = {
    "sure": "Sure: the first explains the patterns {ratio:.2f} times as well as the best that is not its twin",
    "likely": "Likely, not sure: the first explains the patterns {ratio:.2f} times as well as the best that is not its "
    "twin",
    "open": "Open: the best that is not its twin has nearly the same residual ({ratio:.2f} times that of the first)",
}
TWINS = {
    "sure": "told apart by the probe that the solver starts from: its residual is {ratio:.2f} times that of the first",
    "likely": "probably told apart by the probe that the solver starts from: its residual is {ratio:.2f} times that of "
    "the first",
    "open": "not told apart here: its residual is {ratio:.2f} times that of the first",
}
CHOICE = ", with every other option as it is; the data cannot say which of the two, the objects are mirror images"


def orient_lines(ranking: Ranking) -> list[str]:
    """Table, what to set, and how sure that is, as plain lines."""
    head = f"  {'rank':<5}{'residual':<10}{'over best':<11}{'positions turned by':<28}{'or patterns turned by'}"
    rows = [_row(number, one, ranking) for number, one in enumerate(ranking.candidates, 1)]
    count, iterations = len(ranking.best.per_pattern), ranking.config.orient_iterations
    start = "a probe in focus, as there is none in the scan" if ranking.scan.probe is None else "the scan's probe"
    how = f"Orientation, by {count} patterns, one probe mode and {iterations} iterations from {start}"
    return [how, head, *rows, *(f"  {line}" for line in (what_to_set(ranking), *how_sure(ranking)))]


def what_to_set(ranking: Ranking) -> str:
    """Options that bring the scan into the best orientation, in the spelling of the command line."""
    if ranking.best.is_as_read:
        return "Nothing to set: the scan as it was read ranks first."
    ways = [f"{_spelt(options)} ({what})" for what, options in ranking.ways(ranking.best).items()]
    return f"To set: {' or '.join(ways)}{CHOICE if len(ways) > 1 else ''}. Nothing has been applied."


def how_sure(ranking: Ranking) -> list[str]:
    """How sure the best is of its rival, and of its twin."""
    rival, twin = ranking.rival, ranking.twin
    first = SURENESS[ranking.verdict(rival)].format(ratio=ranking.over_best(rival))
    share = f"; so say {ranking.share_for_best(rival):.0%} of the patterns."
    second = TWINS[ranking.verdict(twin)].format(ratio=ranking.over_best(twin))
    return [first + share, f"Its twin, turned by 180 degrees, is {second}.{_advice(ranking)}"]


def _advice(ranking: Ranking) -> str:
    if ranking.verdict(ranking.twin) == "open":
        return " Patterns alone cannot; a probe of known defocus (--probe) can."
    return " Patterns alone cannot: a probe whose defocus has the wrong sign makes the twin win."


def in_words(orientation: Orientation) -> str:
    """What an orientation does, in a few words."""
    flip = [] if orientation.flip == "none" else [f"flip {orientation.flip}"]
    return ", ".join(["transpose"] * orientation.transpose + flip) or "none"


def _row(number: int, one: Candidate, ranking: Ranking) -> str:
    note = "  (as read)" if one.is_as_read else "  (twin of the first)" if one is ranking.twin else ""
    positions, patterns = in_words(ranking.positions_turned(one)), in_words(ranking.patterns_turned(one))
    return f"  {number:<5}{one.residual:<10.4g}{ranking.over_best(one):<11.2f}{positions:<28}{patterns}{note}"


def _spelt(options: Mapping[str, Any]) -> str:
    return " ".join(f"--{name} {str(value).lower()}" for name, value in options.items())
