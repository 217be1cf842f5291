"""A diagnosis in words: the table from counts to object, the verdict, what to do; and the bars of its chart."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
MIN_REACH = 1.12
"""The axis reaches at least this factor to either side of 1, so that a healthy run looks healthy."""
TOTAL = "total"
"""Name of the last bar."""


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


@dataclass(frozen=True)
class Bar:
    """One step of the waterfall."""

    stage: str
    """Name of the stage."""
    start: float
    """Product of the factors of the stages before it."""
    stop: float
    """Product up to and including it: `start` times its factor."""
    on_path: bool
    """True if the next bar starts where this one stops."""
    lost: bool
    """True if the diagnosis names it."""

    @property
    def factor(self) -> float:
        """Factor of the stage."""
        return self.stop / self.start

    @property
    def drawable(self) -> bool:
        """True if both ends lie on a logarithmic axis."""
        return all(math.isfinite(end) and end > 0 for end in (self.start, self.stop))


def waterfall_bars(diagnosis: Diagnosis) -> list[Bar]:
    """Return the steps from 1 to the total; those of stages off the path lead nowhere."""
    named = {finding.stage for finding in diagnosis.findings}
    bars, level = [], 1.0
    for entry in diagnosis.ledger:
        bar = Bar(entry.stage, level, level * entry.discrepancy, entry.on_path, entry.stage in named)
        bars.append(bar)
        if entry.on_path and bar.drawable:
            level = bar.stop
    return bars


def bar_label(bar: Bar, total_name: str) -> str:
    """Return the label of a bar; stages off the path stand in parentheses."""
    if bar.stage == TOTAL:
        return total_name
    return bar.stage if bar.on_path else f"({bar.stage})"


def factor_limits(bars: Sequence[Bar]) -> tuple[float, float]:
    """Return the smallest and the largest amplitude that the axis must hold."""
    ends = [end for bar in bars if bar.drawable for end in (bar.start, bar.stop)]
    return min([1 / MIN_REACH, *ends]), max([MIN_REACH, *ends])
