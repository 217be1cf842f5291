"""The waterfall leads from 1 to the total; its words fit the ledger."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.report.figures.style import png_bytes
from ptypinn.report.figures.waterfall import waterfall_figure
from ptypinn.report.text.diagnosis import diagnosis_lines, stats_rows, waterfall_bars
from ptypinn.scale import LedgerEntry, Stats, multiply_discrepancies
from ptypinn.scale_audit.findings import Finding
from ptypinn.stages.diagnose import Diagnosis
from ptypinn.utils.number_format import factor_ticks

STAGES = ("loading", "probe", "network", "merge", "stitching", "comparison")
factors = st.floats(1e-6, 1e6)


def diagnosis_of(ledger: list[LedgerEntry], lost: tuple[str, ...] = (), **changes: object) -> Diagnosis:
    findings = [Finding(stage, 2.0, "it is off", "put it right") for stage in lost]
    diagnosis = Diagnosis(ledger, multiply_discrepancies(ledger), "output_vs_truth_ratio", findings, "a sentence")
    return dataclasses.replace(diagnosis, **changes)


@st.composite
def ledgers(draw):
    on_path = [*draw(st.lists(st.booleans(), min_size=5, max_size=5)), True]
    return [
        LedgerEntry(stage, draw(factors), draw(factors), "test", draw(st.booleans()), path)
        for stage, path in zip(STAGES, on_path, strict=True)
    ]


@given(ledgers())
def test_bars_on_the_path_multiply_to_the_total_and_hang_together(ledger):
    bars = waterfall_bars(diagnosis_of(ledger))
    path = [bar for bar in bars if bar.on_path]
    assert math.prod(bar.factor for bar in path) == pytest.approx(multiply_discrepancies(ledger), rel=1e-6)
    assert [bar.stage for bar in bars] == list(STAGES)
    levels = [1.0, *(bar.stop for bar in path)]
    assert [bar.start for bar in path] == levels[:-1]
    beside = [bar for bar in bars if not bar.on_path]
    assert all(bar.start in levels for bar in beside)
    for entry, bar in zip(ledger, bars, strict=True):
        assert bar.factor == pytest.approx(entry.discrepancy, rel=1e-12)


@given(st.floats(1e-8, 0.95), st.floats(1.05, 1e8))
def test_ticks_are_few_and_hold_1(low, high):
    ticks = factor_ticks(low, high)
    assert 1.0 in ticks and ticks == sorted(ticks) and len(ticks) <= 14
    assert all(low <= tick <= high for tick in ticks)
    gaps = [math.log(b / a) for a, b in itertools.pairwise(ticks)]
    assert all(gap >= math.log(high / low) / 12 * (1 - 1e-9) for gap in gaps)


@pytest.mark.parametrize("measured", [2.0, 1e-9, 1e9, 0.0, math.nan, math.inf])
def test_any_ledger_draws(measured):
    ledger = [LedgerEntry("loading", 1.0, measured, ""), LedgerEntry("grouping", 1.0, 3.0, "", on_path=False)]
    figure = waterfall_figure(diagnosis_of(ledger, ("loading",)))
    assert png_bytes(figure, 40).startswith(b"\x89PNG")
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert shown == ["loading", "(grouping)", "output_vs_truth_ratio"]


def test_the_stages_that_a_diagnosis_names_stand_out():
    ledger = [LedgerEntry("probe", 2.0, 1.0, "", inverse=True), LedgerEntry("merge", 1.0, 1.0, "")]
    bars = waterfall_bars(diagnosis_of(ledger, ("probe",)))
    assert [(bar.factor, bar.lost) for bar in bars] == [(2.0, True), (1.0, False)]
    colours = [patch.get_facecolor() for patch in waterfall_figure(diagnosis_of(ledger, ("probe",))).axes[0].patches]
    assert colours[0] != colours[1]
    assert waterfall_figure(diagnosis_of(ledger)).get_suptitle() == "a sentence"
    assert waterfall_figure(diagnosis_of(ledger), title=False).get_suptitle() == ""


def test_lines_tell_every_stage_its_running_product_and_what_to_do():
    stats = Stats((3, 8, 8), "float32", 0.0, 1.5, 4.0, 0.5, 0, 0.25)
    ledger = [
        LedgerEntry("loading", 4.0, 2.0, "sqrt of photons", stats=stats),
        LedgerEntry("grouping", 4.0, 8.0, "as drawn", on_path=False),
        LedgerEntry("probe", 10.0, 2.5, "sqrt of photons through vacuum", inverse=True),
    ]
    training = [LedgerEntry("probe", 10.0, 2.5, "trained with", inverse=True)]
    diagnosis = diagnosis_of(ledger, ("loading", "training probe"), training=training)
    lines = diagnosis_lines(diagnosis, "run", ["a note"], stats=True)
    text = "\n".join(lines)
    assert lines[:2] == ["run", "note: a note"]
    assert lines[4].split()[:6] == ["!", "loading", "4", "2", "0.5000", "0.5000"]
    assert "8     2.0000             as drawn" in text
    assert "4.0000     2.0000  sqrt of photons through" in text
    assert "output_vs_truth_ratio 2, product of the stages 2" in lines
    assert "for probe expected / measured" in text
    assert any(line.startswith("! probe") and line.endswith("trained with") for line in lines)
    assert "3 x 8 x 8" in text and "25.00%" in text
    assert lines[-2:] == ["what to do about loading: put it right", "what to do about training probe: put it right"]
    assert "the training behind it" not in "\n".join(diagnosis_lines(diagnosis_of(ledger, training=training), "run"))
    assert stats_rows(diagnosis_of(ledger[1:])) == []
