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

WIDTH, LEAST_SOURCE = 120, 30
"""Characters of a line where nobody looks at it, and the least that are left for the last column."""
EXACT = 1.02
"""Factor up to which a stage of the training is taken to preserve the scale."""
COLUMNS = ("expected", "measured", "factor", "product")
FIGURES = ("minimum", "mean", "maximum", "std")


def diagnosis_lines(diagnosis: Diagnosis, name: str, notes: Sequence[str] = (), stats: bool = False) -> list[str]:
    """A diagnosis as lines for people.

    Args:
        diagnosis: The diagnosis.
        name: What was diagnosed.
        notes: Remarks on how it came about.
        stats: Show what flowed through the stages too.
    """
    named = {finding.stage for finding in diagnosis.findings}
    lines = [name, *(f"note: {note}" for note in notes), "", *_table(diagnosis.ledger, named)]
    product = multiply_discrepancies(diagnosis.ledger)
    lines += ["", f"{diagnosis.total_name} {diagnosis.total:.6g}, product of the stages {product:.6g}"]
    if diagnosis.training and ((guilty := _guilty(diagnosis.training, named)) or stats):
        lines += ["", "the training behind it", *_table(diagnosis.training, guilty, running=False)]
    lines += _legend([*diagnosis.ledger, *diagnosis.training])
    if stats:
        lines += ["", *_stats_table(diagnosis)]
    lines += ["", f"verdict: {diagnosis.verdict}"]
    return lines + [f"what to do about {finding.stage}: {finding.advice}" for finding in diagnosis.findings]


def _table(entries: Sequence[LedgerEntry], named: set[str], running: bool = True) -> list[str]:
    """One line per stage; the last column continues below itself where the terminal is narrow."""
    columns = COLUMNS if running else COLUMNS[:-1]
    stages = [entry.stage if entry.on_path or not running else f"({entry.stage})" for entry in entries]
    width = max(len(stage) for stage in stages)
    indent = 2 + width + 11 * len(columns) + 2
    room = max(shutil.get_terminal_size((WIDTH, 24)).columns - indent, LEAST_SOURCE)
    lines, total = [f"  {'stage':<{width}}" + "".join(f"{title:>11}" for title in columns) + "  source"], 1.0
    for stage, entry in zip(stages, entries, strict=True):
        total *= entry.discrepancy if entry.on_path else 1.0
        shown = [number(entry.expected), number(entry.measured), f"{entry.discrepancy:.4f}"]
        shown += [f"{total:.4f}" if entry.on_path else ""] if running else []
        first, *rest = textwrap.wrap(entry.source, room) or [""]
        mark = "!" if entry.stage in named else " "
        lines.append(f"{mark} {stage:<{width}}" + "".join(f"{text:>11}" for text in shown) + f"  {first}")
        lines += [" " * indent + text for text in rest]
    return lines


def _guilty(training: Sequence[LedgerEntry], named: set[str]) -> set[str]:
    """Stages of the training that the diagnosis names."""
    off = {entry.stage for entry in training if not 1 / EXACT < entry.discrepancy < EXACT}
    return {entry.stage for entry in training if f"training {entry.stage}" in named} | (off & named)


def _legend(entries: Sequence[LedgerEntry]) -> list[str]:
    inverse = list(dict.fromkeys(entry.stage for entry in entries if entry.inverse))
    lines = ["", "factor: what the stage does to the object's amplitude, measured / expected"]
    if inverse:
        lines[-1] += f"; for {' and '.join(inverse)} expected / measured"
    if any(not entry.on_path for entry in entries):
        lines.append("(stages in parentheses) are checked, but cannot reach this total")
    return lines


def stats_rows(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    """What flowed through the stages: a line of titles, then one line per stage; empty where nothing is on record."""
    training = [replace(entry, stage=f"training: {entry.stage}") for entry in diagnosis.training]
    rows = []
    for entry in [*diagnosis.ledger, *training]:
        if (seen := entry.stats) is not None:
            shape = " x ".join(str(edge) for edge in seen.shape)
            figures = [number(getattr(seen, name)) for name in FIGURES]
            ceiling = "" if seen.at_ceiling is None else f"{seen.at_ceiling:.2%}"
            rows.append((entry.stage, shape, seen.dtype, *figures, str(seen.non_finite), ceiling))
    return [("stage", "shape", "dtype", *FIGURES, "not finite", "at ceiling"), *rows] if rows else []


def _stats_table(diagnosis: Diagnosis) -> list[str]:
    rows = stats_rows(diagnosis)
    if not rows:
        return ["there are no statistics on record of what flowed through the stages"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{'<' if i < 3 else '>'}{widths[i]}}" for i, cell in enumerate(row)) for row in rows
    ]


def number(value: float | None, form: str = ".5g") -> str:
    """Five significant digits, or as `form` says; a dash where there is no value."""
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"
