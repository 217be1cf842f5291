"""Section of a report: the scale ledger, which follows the amplitude from counts to object."""

from __future__ import annotations

import re

from ptypinn.report.figures.waterfall import waterfall_bars
from ptypinn.report.html.page_elements import Block, Cell, Figures, Fold, Points, Section, Table
from ptypinn.report.html.waterfall_chart import waterfall_drawing
from ptypinn.report.text.diagnosis import number, stats_rows
from ptypinn.stages.diagnose import Diagnosis

KEY, TITLE = "scale", "Scale ledger"
CAPTION = "Every stage multiplies the amplitude by its factor. Hollow steps are checked, but not part of the product."
_NO_NUMBER = re.compile(r"\bnan\b")
HEADER = ("Stage", "Expected", "Measured", "Factor", "Product", "Source")


def scale_section(diagnosis: Diagnosis | None) -> Section:
    """Return the section on the scale ledger of a reconstruction; a remark where it carries none."""
    if diagnosis is not None:
        return diagnosis_section(diagnosis)
    return Section(KEY, TITLE, absent="Not shown: no scale ledger is on record. `ptypinn diagnose RUN SCAN` makes one.")


def diagnosis_section(diagnosis: Diagnosis) -> Section:
    """Return verdict, waterfall and ledger of a diagnosis."""
    sentences = [verdict_sentence(diagnosis)]
    sentences += [f"What to do about {finding.stage}: {finding.advice}." for finding in diagnosis.findings]
    drawing = waterfall_drawing(diagnosis)
    blocks: list[Block] = [Points(sentences), Figures([drawing], CAPTION, 1), _ledger_table(diagnosis)]
    return Section(KEY, TITLE, [*blocks, *_stats_table(diagnosis)])


def verdict_sentence(diagnosis: Diagnosis) -> str:
    """Return the verdict as a sentence; a factor without a value is called unknown."""
    sentence = _NO_NUMBER.sub("unknown", diagnosis.verdict)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _ledger_table(diagnosis: Diagnosis) -> Fold:
    rows = [
        [
            Cell(bar.stage if bar.on_path else f"({bar.stage})"),
            Cell(number(entry.expected)),
            Cell(number(entry.measured)),
            Cell(number(entry.discrepancy, ".4f"), off=bar.lost),
            Cell(number(bar.stop, ".4f") if bar.on_path else ""),
            Cell(entry.source),
        ]
        for entry, bar in zip(diagnosis.ledger, waterfall_bars(diagnosis), strict=True)
    ]
    total = number(diagnosis.total, ".6g")
    remark = f"The stages multiply to {total}. Those in parentheses are checked, but not part of the product."
    table = Table("Expected and measured amplitude of every stage", HEADER, rows, words=(5,), wide=True)
    return Fold("Expected and measured, stage by stage", [table, Points([remark])])


def _stats_table(diagnosis: Diagnosis) -> list[Block]:
    """Return the statistics of the values at every stage, where they are on record."""
    rows = stats_rows(diagnosis)
    if not rows:
        return []
    header, cells = [title.capitalize() for title in rows[0]], [[Cell(text) for text in row] for row in rows[1:]]
    table = Table("Statistics by stage", header, cells, words=(1, 2), wide=True)
    return [Fold("Values at every stage", [table])]
