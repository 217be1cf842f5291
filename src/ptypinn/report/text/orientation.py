"""Text of `info --orient`: the ranking of orientations, the options to set, and their certainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptypinn.config.shared import format_option
from ptypinn.data.orientation import Orientation
from ptypinn.stages.orient import Candidate, Ranking

CERTAINTY = {
    "sure": "Sure: the first explains the patterns {ratio:.2f} times as well as the best that is not its twin",
    "likely": "Likely, not sure: the first explains the patterns {ratio:.2f} times as well as the best that is not its "
    "twin",
    "open": "Open: the best that is not its twin has nearly the same residual ({ratio:.2f} times that of the first)",
}
TWINS = {
    "sure": "ruled out by the initial probe: its residual is {ratio:.2f} times that of the first",
    "likely": "probably ruled out by the initial probe: its residual is {ratio:.2f} times that of the first",
    "open": "not ruled out: its residual is {ratio:.2f} times that of the first",
}
CHOICE = ", other options unchanged; the data cannot decide between the two: their objects are mirror images"


def orient_lines(ranking: Ranking) -> list[str]:
    """Return the table, the options to set, and their certainty, as plain lines."""
    head = f"  {'rank':<5}{'residual':<10}{'over best':<11}{'positions turned by':<28}{'or patterns turned by'}"
    rows = [_row(number, one, ranking) for number, one in enumerate(ranking.candidates, 1)]
    count, iterations = len(ranking.best.per_pattern), ranking.config.orient_iterations
    start = "a probe in focus, as there is none in the scan" if ranking.scan.probe is None else "the scan's probe"
    title = f"Orientation, by {count} patterns, one probe mode and {iterations} iterations from {start}"
    lines = (*_rotation_lines(ranking), options_to_set(ranking), *certainty_lines(ranking))
    return [title, head, *rows, *(f"  {line}" for line in lines)]


def _rotation_lines(ranking: Ranking) -> list[str]:
    """Return the turn of the scan beside the best orientation, where one was seen."""
    if ranking.best_turned_back is None:
        return []
    before, after = ranking.best.residual, ranking.best_turned_back.residual
    return [
        f"Beside that the scan is turned by about {ranking.rotation_deg:.1f} degrees against the detector: turned back,"
        f" the residual falls from {before:.4g} to {after:.4g}. `reconstruct` finds the turn more precisely."
    ]


def options_to_set(ranking: Ranking) -> str:
    """Return the options that bring the scan into the best orientation, as on the command line."""
    if ranking.best.is_as_read and ranking.best_turned_back is None:
        return "Nothing to set: the scan as it was read ranks first."
    load_options = ranking.load_options(ranking.best)
    alternatives = [f"{_format_options(options)} ({kind})" for kind, options in load_options.items()]
    return f"To set: {' or '.join(alternatives)}{CHOICE if len(alternatives) > 1 else ''}. Nothing has been applied."


def certainty_lines(ranking: Ranking) -> list[str]:
    """Return the certainty of the best against the runner-up, and against its twin."""
    runner_up, twin = ranking.runner_up, ranking.twin
    first = CERTAINTY[ranking.verdict(runner_up)].format(ratio=ranking.margin_over(runner_up))
    fraction = f"; {ranking.fraction_for_best(runner_up):.0%} of the patterns agree."
    second = TWINS[ranking.verdict(twin)].format(ratio=ranking.margin_over(twin))
    return [first + fraction, f"Its twin, turned by 180 degrees, is {second}.{_advice(ranking)}"]


def _advice(ranking: Ranking) -> str:
    if ranking.verdict(ranking.twin) == "open":
        return " Patterns alone cannot rule it out; a probe of known defocus (--probe) can."
    return " Patterns alone cannot rule it out: with the wrong sign of the defocus of the probe, the twin ranks first."


def describe_orientation(orientation: Orientation) -> str:
    """Return an orientation in a few words."""
    flip = [] if orientation.flip == "none" else [f"flip {orientation.flip}"]
    return ", ".join(["transpose"] * orientation.transpose + flip) or "none"


def _row(number: int, one: Candidate, ranking: Ranking) -> str:
    note = "  (as read)" if one.is_as_read else "  (twin of the first)" if one is ranking.twin else ""
    turns = ranking.positions_turned(one), ranking.patterns_turned(one)
    positions, patterns = (describe_orientation(turn) for turn in turns)
    return f"  {number:<5}{one.residual:<10.4g}{ranking.ratio_to_best(one):<11.2f}{positions:<28}{patterns}{note}"


def _format_options(options: Mapping[str, Any]) -> str:
    return " ".join(format_option(name, value) for name, value in options.items())
