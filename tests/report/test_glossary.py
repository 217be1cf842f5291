"""The glossary has an entry for every label, metric, section and stage of a report, as the report writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ptypinn.report.html.report import render_report
from ptypinn.report.text.metric_labels import METRIC_LABELS
from ptypinn.scale_audit.findings import RECORD_ONLY
from ptypinn.scale_audit.messages import CAUSES
from ptypinn.stages.evaluate import evaluate

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "glossary.md"


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if not set(row[0]) <= {"-"} and row[0] != "term"]


@pytest.fixture(scope="module")
def terms(rows) -> set[str]:
    """Terms in lower case, whole and in parts: some entries hold several terms with commas between them."""
    whole = [row[0].replace("`", "").lower() for row in rows]
    return {*whole, *(part for term in whole for part in term.split(", "))}


def test_every_entry_is_one_sentence(rows):
    for row in rows:
        assert row[-1].endswith(".") and row[-1][0].isupper(), row
        assert ". " not in row[-1], row


def test_no_section_has_two_entries_for_a_term():
    for section in PAGE.read_text(encoding="utf-8").split("\n## "):
        names = re.findall(r"^\| ([^|]+) \|", section, re.M)
        assert len(set(names)) == len(names)


def test_metrics_are_those_of_the_report(rows):
    listed = {row[1].strip("`"): (row[0], row[2], row[3]) for row in rows if len(row) == 4}
    assert listed == {name: (label.label, label.unit, label.meaning) for name, label in METRIC_LABELS.items()}


@pytest.mark.parametrize("stage", [*CAUSES, *RECORD_ONLY])
def test_every_stage_of_the_ledger_has_an_entry(terms, stage):
    assert stage in terms


def test_every_label_of_a_full_report_has_an_entry(terms, recon, scan, run, read):
    page = read(render_report(recon, evaluate(recon, scan), scan, run))
    labels = [page.words(element) for tag in ("dt", "h2") for element in page.all(tag)]
    titles = [re.sub(r"^Can I trust it\?.*", "Can I trust it?", label) for label in labels]
    assert len(titles) > 30
    missing = [title for title in titles if title.lower() not in terms]
    assert missing == []
