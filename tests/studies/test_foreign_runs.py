"""A run of another program may lose its own row, never the report."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ptypinn.report.html.study_summary_page import render_summary, write_summary
from ptypinn.studies.aggregate import aggregate, summarise_run
from ptypinn.studies.run_record import read_run
from ptypinn.studies.twin_ambiguity import collect_limits

FOREIGN = {
    "limits": [3, None],
    "scenario": ["gs1_ideal"],
    "prediction_scale": {"source": ["flux"], "factor": "two"},
    "diagnosis": {"verdict": 7},
    "training_health": {"epochs_completed": "many", "stopped_early": 3, "nan_count": "x"},
    "forward_pass_diagnostics": {"scale_match_pct": 10**400, "scale_discrepancy_flag": "no"},
    "parameters": {"gridsize": {"value": [2]}, "nphotons": {"value": "1e6"}, "model": 4},
    "unseen": {"pixels": "some", "output_vs_truth_ratio": True, "pearson_r_amplitude": []},
}
"""Fields of a record as no run of this package writes them."""


@pytest.mark.parametrize("fields", [[name] for name in FOREIGN] + [list(FOREIGN)], ids="-".join)
def test_invalid_values_of_a_record_are_none_and_the_rest_is_shown(fields, make_run, tmp_path):
    make_run(tmp_path / "runs" / "good")
    make_run(tmp_path / "runs" / "odd $x", **{name: FOREIGN[name] for name in fields})
    good, odd = (summary := aggregate([tmp_path / "runs"])).rows
    assert odd["amplitude_bias"] == good["amplitude_bias"]
    if "prediction_scale" in fields:
        assert odd["prediction_scale"] == {"source": None, "factor": None}
    if "training_health" in fields:
        assert set(odd["training_health"].values()) == {None}
    write_summary(summary, tmp_path, tmp_path / "page.html", "title")
    json.loads((tmp_path / "bias_summary.json").read_text(), parse_constant=pytest.fail)
    assert "odd $x" in (tmp_path / "bias_summary.md").read_text()


@pytest.mark.parametrize("limits", [5, [3], {"a": 1}, True, [["x"]]])
def test_limits_that_are_no_texts_are_passed_over(limits):
    assert collect_limits([{"run": "a", "scenario": "b", "pearson_r_amplitude": None}], [{"limits": limits}]) == []


@pytest.mark.parametrize(
    "ledger", [[{"expected": []}], [{"stage": "a", "stats": 3}], [{"stage": "a", "stats": {"non_finite": "x"}}]]
)
def test_a_ledger_of_another_make_is_passed_over(ledger, make_run, tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    odd = dataclasses.replace(run, recon=dataclasses.replace(run.recon, scale=ledger))
    row = summarise_run(odd, "odd")
    assert row["stage_ratios"] == []
    assert row["non_finite"] == {"object": 0}


def test_a_run_that_breaks_in_any_way_is_listed_with_its_reason(make_run, tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        make_run(tmp_path / name)

    def fail_for_b(run, name):
        if name == "b":
            raise TypeError("of\nanother make")
        return summarise_run(run, name)

    monkeypatch.setattr("ptypinn.studies.aggregate.summarise_run", fail_for_b)
    summary = aggregate([tmp_path])
    assert [row["run"] for row in summary.rows] == [run.folder.name for run in summary.runs] == ["a", "c"]
    assert [(gone.folder, gone.reason) for gone in summary.skipped] == [
        (str(tmp_path / "b"), "TypeError: of another make")
    ]


def test_a_run_without_a_ratio_is_shown_with_a_dash(make_run, tmp_path):
    make_run(tmp_path / "run")
    summary = aggregate([tmp_path])
    summary.rows[0]["output_vs_truth_ratio"] = None
    assert "Amplitude over truth" in render_summary(summary, "title")


def test_nothing_is_written_where_the_page_fails(make_run, tmp_path, monkeypatch):
    make_run(tmp_path / "runs" / "one")
    summary = aggregate([tmp_path / "runs"])
    monkeypatch.setattr("ptypinn.report.html.study_summary_page.render_page", lambda *a, **b: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_summary(summary, tmp_path, tmp_path / "page.html", "title")
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"]
