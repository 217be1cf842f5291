"""The part of a report that follows amplitude from counts to object."""

from __future__ import annotations

import re

from ptypinn.report.figures.waterfall import waterfall_bars, waterfall_figure
from ptypinn.report.html.drawing import drawing_of
from ptypinn.report.html.page_elements import Block, Cell, Figures, Fold, Points, Section, Table
from ptypinn.report.text.diagnosis import number, stats_rows
from ptypinn.stages.diagnose import Diagnosis

KEY, TITLE = "scale", "Scale ledger"
CAPTION = "Every stage multiplies the amplitude by its factor. Hollow steps are checked, but lead nowhere."
_NO_NUMBER = re.compile(r"\bnan\b")
HEADER = ("Stage", "Expected", "Measured", "Factor", "Product", "Source")


def scale_section(diagnosis: Diagnosis | None) -> Section:
    """Return the section on the scale ledger of a reconstruction; a remark where it carries none."""
    if diagnosis is not None:
        return diagnosis_section(diagnosis)
    return Section(KEY, TITLE, absent="Not shown: no scale ledger is on record. `ptypinn diagnose RUN SCAN` makes one.")


def diagnosis_section(diagnosis: Diagnosis) -> Section:
    """Verdict, waterfall and ledger."""
    sentences = [verdict_sentence(diagnosis)]
    sentences += [f"What to do about {finding.stage}: {finding.advice}." for finding in diagnosis.findings]
    alt = f"Factors of {len(diagnosis.ledger)} stages as steps from 1 to {number(diagnosis.total, '.4g')}."
    drawing = drawing_of(waterfall_figure(diagnosis, title=False), "waterfall", alt)
    blocks: list[Block] = [Points(sentences), Figures([drawing], CAPTION, 1), _ledger(diagnosis)]
    return Section(KEY, TITLE, [*blocks, *_flow(diagnosis)])


def verdict_sentence(diagnosis: Diagnosis) -> str:
    """The verdict as a sentence; a factor that nobody can know is called so."""
    told = _NO_NUMBER.sub("unknown", diagnosis.verdict)
    return f"{told[:1].upper()}{told[1:]}."


def _ledger(diagnosis: Diagnosis) -> Fold:
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
    remark = f"The stages multiply to {total}. Those in parentheses are checked, but cannot reach it."
    table = Table("Expected and measured amplitude of every stage", HEADER, rows, words=(5,), wide=True)
    return Fold("Expected and measured, stage by stage", [table, Points([remark])])


def _flow(diagnosis: Diagnosis) -> list[Block]:
    """What flowed through the stages, where that is on record."""
    found = stats_rows(diagnosis)
    if not found:
        return []
    header, rows = [title.capitalize() for title in found[0]], [[Cell(text) for text in row] for row in found[1:]]
    return [Fold("What flowed through the stages", [Table("Values by stage", header, rows, words=(1, 2), wide=True)])]
