"""A diagnosis in words: the table from counts to object, the verdict, and what to do."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ptypinn.scale import LedgerEntry, multiply_discrepancies

if TYPE_CHECKING:
    from ptypinn.stages.diagnose import Diagnosis

DEFAULT_WIDTH, MIN_SOURCE_WIDTH = 120, 30
"""Characters of a line outside a terminal, and minimum width of the last column."""
EXACT = 1.02
"""Factor up to which a stage of the training is taken to preserve the scale."""
COLUMNS = ("expected", "measured", "factor", "product")
STATISTICS = ("minimum", "mean", "maximum", "std")


def diagnosis_lines(diagnosis: Diagnosis, name: str, notes: Sequence[str] = (), stats: bool = False) -> list[str]:
    """Return a diagnosis as lines of text.

    Args:
        diagnosis: The diagnosis.
        name: Name of the run or file that was diagnosed.
        notes: Remarks on its inputs.
        stats: List the statistics of the values at every stage too.
    """
    named = {finding.stage for finding in diagnosis.findings}
    lines = [name, *(f"note: {note}" for note in notes), "", *_table(diagnosis.ledger, named)]
    product = multiply_discrepancies(diagnosis.ledger)
    lines += ["", f"{diagnosis.total_name} {diagnosis.total:.6g}, product of the stages {product:.6g}"]
    if diagnosis.training and ((suspects := _suspect_stages(diagnosis.training, named)) or stats):
        lines += ["", "the training behind it", *_table(diagnosis.training, suspects, running=False)]
    lines += _legend([*diagnosis.ledger, *diagnosis.training])
    if stats:
        lines += ["", *_stats_table(diagnosis)]
    lines += ["", f"verdict: {diagnosis.verdict}"]
    return lines + [f"what to do about {finding.stage}: {finding.advice}" for finding in diagnosis.findings]


def _table(entries: Sequence[LedgerEntry], named: set[str], running: bool = True) -> list[str]:
    """Return one line per stage; the last column continues below itself where the terminal is narrow."""
    columns = COLUMNS if running else COLUMNS[:-1]
    stages = [entry.stage if entry.on_path or not running else f"({entry.stage})" for entry in entries]
    width = max(len(stage) for stage in stages)
    indent = 2 + width + 11 * len(columns) + 2
    room = max(shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns - indent, MIN_SOURCE_WIDTH)
    lines, total = [f"  {'stage':<{width}}" + "".join(f"{title:>11}" for title in columns) + "  source"], 1.0
    for stage, entry in zip(stages, entries, strict=True):
        total *= entry.discrepancy if entry.on_path else 1.0
        cells = [number(entry.expected), number(entry.measured), f"{entry.discrepancy:.4f}"]
        cells += [f"{total:.4f}" if entry.on_path else ""] if running else []
        first, *rest = textwrap.wrap(entry.source, room) or [""]
        mark = "!" if entry.stage in named else " "
        lines.append(f"{mark} {stage:<{width}}" + "".join(f"{text:>11}" for text in cells) + f"  {first}")
        lines += [" " * indent + text for text in rest]
    return lines


def _suspect_stages(training: Sequence[LedgerEntry], named: set[str]) -> set[str]:
    """Return the stages of the training that the diagnosis names."""
    off = {entry.stage for entry in training if not 1 / EXACT < entry.discrepancy < EXACT}
    return {entry.stage for entry in training if f"training {entry.stage}" in named} | (off & named)


def _legend(entries: Sequence[LedgerEntry]) -> list[str]:
    inverse = list(dict.fromkeys(entry.stage for entry in entries if entry.inverse))
    lines = ["", "factor: effect of the stage on the object's amplitude, measured / expected"]
    if inverse:
        lines[-1] += f"; for {' and '.join(inverse)} expected / measured"
    if any(not entry.on_path for entry in entries):
        lines.append("(stages in parentheses) are checked, but not part of this total")
    return lines


def stats_rows(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    """Return the statistics of the values at every stage below a line of titles; empty where there are none."""
    training = [replace(entry, stage=f"training: {entry.stage}") for entry in diagnosis.training]
    rows = []
    for entry in [*diagnosis.ledger, *training]:
        if (stats := entry.stats) is not None:
            shape = " x ".join(str(edge) for edge in stats.shape)
            values = [number(getattr(stats, name)) for name in STATISTICS]
            ceiling = "" if stats.at_ceiling is None else f"{stats.at_ceiling:.2%}"
            rows.append((entry.stage, shape, stats.dtype, *values, str(stats.non_finite), ceiling))
    return [("stage", "shape", "dtype", *STATISTICS, "not finite", "at ceiling"), *rows] if rows else []


def _stats_table(diagnosis: Diagnosis) -> list[str]:
    rows = stats_rows(diagnosis)
    if not rows:
        return ["no statistics of the values at the stages are on record"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{'<' if i < 3 else '>'}{widths[i]}}" for i, cell in enumerate(row)) for row in rows
    ]


def number(value: float | None, form: str = ".5g") -> str:
    """Return a value in five significant digits, or in the format `form`; a dash where there is no value.

    >>> number(0.123456789), number(None)
    ('0.12346', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"
