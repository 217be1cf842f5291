"""The ranking of orientations in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptypinn.orientation import Candidate, Ranking

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
MIRROR = "either will do for the data; the object comes out mirrored or turned"


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
    ways = [_spelt(options) for options in _ways(ranking, ranking.best)]
    if len(ways) == 1:
        return f"To set: {ways[0]} (camera). Nothing has been applied."
    return f"To set: {ways[0]} (stage) or {ways[1]} (camera); {MIRROR}. Nothing has been applied."


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


def _row(number: int, one: Candidate, ranking: Ranking) -> str:
    positions = ranking.position_options(one)
    ways = ["not with a true object" if positions is None else _brief(positions), _brief(ranking.pattern_options(one))]
    note = "  (as read)" if one.is_as_read else "  (twin of the first)" if one is ranking.twin else ""
    return f"  {number:<5}{one.residual:<10.4g}{ranking.over_best(one):<11.2f}{ways[0]:<28}{ways[1]}{note}"


def _ways(ranking: Ranking, one: Candidate) -> list[Mapping[str, Any]]:
    return [way for way in (ranking.position_options(one), ranking.pattern_options(one)) if way is not None]


def _brief(options: Mapping[str, Any]) -> str:
    transpose, flip = options.values()
    parts = ["transpose"] * bool(transpose) + [f"flip {flip}"] * (flip != "none")
    return ", ".join(parts) or "none"


def _spelt(options: Mapping[str, Any]) -> str:
    return " ".join(f"--{name} {str(value).lower()}" for name, value in options.items())
