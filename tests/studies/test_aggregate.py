"""Runs are summed up as they are; what cannot be used is named, and the page stands alone."""

from __future__ import annotations

import base64
import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ptypinn.config.studies import StudyReportConfig
from ptypinn.errors import InputError
from ptypinn.metrics import align
from ptypinn.metrics.comparison import Comparison
from ptypinn.report.figures.study import stage_figure
from ptypinn.report.html.study_summary_page import COLUMNS, markdown, render_summary, write_summary
from ptypinn.runs.folder import FINISHED, METRICS, RECONSTRUCTION
from ptypinn.studies.aggregate import aggregate, measure_bias
from ptypinn.studies.run_record import find_runs
from ptypinn.studies.twin_ambiguity import collect_limits

UNSEEN = {"pixels": 7, "output_vs_truth_ratio": 0.987, "pearson_r_amplitude": 0.876}


@given(st.floats(-0.5, 2.0), st.floats(0, 0.3), st.integers(0, 99))
def test_bias_is_reconstruction_minus_truth_without_any_fit(offset, noise, seed):
    draw = np.random.default_rng(seed)
    truth = (2.7 + 0.1 * draw.normal(size=(40, 50))).astype(np.complex64)
    error = noise * draw.normal(size=truth.shape)
    image = (truth + offset + error).astype(np.complex64)
    mask = np.ones(truth.shape, bool)
    bias_values = measure_bias(Comparison(align(image, truth, mask), truth, (0, 0), "truth"))
    bias = np.abs(image) - np.abs(truth)
    assert bias_values["amplitude_bias"]["mean"] == pytest.approx(bias.mean(), abs=1e-5)
    assert bias_values["amplitude_bias"]["median"] == pytest.approx(np.median(bias), abs=1e-5)
    assert (
        bias_values["amplitude_bias"]["p05"]
        <= bias_values["amplitude_bias"]["median"]
        <= bias_values["amplitude_bias"]["p95"]
    )
    assert bias_values["phase_bias_rad"]["mean"] == pytest.approx(0, abs=1e-5)


def test_a_row_holds_what_the_run_shows(make_run, tmp_path):
    make_run(tmp_path / "half", change=lambda truth: 0.5 * truth)
    make_run(tmp_path / "turned", "gs2_custom", change=lambda truth: truth * np.exp(0.3j))
    half, turned = aggregate([tmp_path]).rows
    assert (half["run"], half["scenario"], half["gridsize"], half["photons"]) == ("half", "gs1_ideal", 2, 1e6)
    assert half["output_vs_truth_ratio"] == pytest.approx(0.5)
    assert half["amplitude_bias"]["mean"] == pytest.approx(-0.5 * half["truth_mean_amplitude"])
    assert half["pearson_r_amplitude"] == pytest.approx(1.0)
    ratios = {stage["stage"]: stage["ratio"] for stage in half["stage_ratios"]}
    assert ratios == pytest.approx({"network": 0.5, "probe": 1 / 1.01, "grouping": 9.0})
    assert half["scale_parity"]["scale_match_pct"] == 99.9999
    assert half["training_health"] == {"epochs_completed": 5, "stopped_early": False, "nan_count": 0}
    assert half["non_finite"] == {"object": 0}
    assert turned["output_vs_truth_ratio"] == pytest.approx(1.0)
    assert max(abs(value) for value in turned["phase_bias_rad"].values()) < 1e-5
    json.dumps(aggregate([tmp_path]).as_json(), allow_nan=False)


def test_pixels_that_are_not_finite_are_counted_and_left_out(make_run, tmp_path):
    def spoil(truth):
        spoiled = truth.copy()
        spoiled[30:32, 30:35] = np.nan
        return spoiled

    make_run(tmp_path / "run", change=spoil)
    row = aggregate([tmp_path]).rows[0]
    assert row["non_finite"]["object"] == 10
    assert row["output_vs_truth_ratio"] == pytest.approx(1.0)
    assert aggregate([tmp_path]).rows[0]["amplitude_bias"]["p95"] == pytest.approx(0.0, abs=1e-6)


def damage(folder, what):
    if what == "unfinished":
        (folder / FINISHED).unlink()
        (folder / "log.txt").write_text("started\n")
    elif what == "truncated":
        content = (folder / RECONSTRUCTION).read_bytes()
        (folder / RECONSTRUCTION).write_bytes(content[: len(content) // 2])
    else:
        path, content = what
        if content is None:
            (folder / path).unlink()
        else:
            (folder / path).write_text(content)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("unfinished", FINISHED),
        ("truncated", RECONSTRUCTION),
        ((FINISHED, "{"), "damaged"),
        ((FINISHED, "[1]"), "a JSON object"),
        ((METRICS, None), METRICS),
        ((METRICS, "{"), METRICS),
        ((RECONSTRUCTION, None), RECONSTRUCTION),
        ((RECONSTRUCTION, "text"), RECONSTRUCTION),
        (("scan.h5", None), "scan.h5"),
        (("scan.h5", "text"), "scan.h5"),
    ],
)
def test_a_damaged_run_is_one_line_and_stops_no_other(what, reason, make_run, tmp_path):
    make_run(tmp_path / "good")
    damage(make_run(tmp_path / "bad"), what)
    summary = aggregate([tmp_path])
    assert [row["run"] for row in summary.rows] == ["good"]
    (gone,) = summary.skipped
    assert gone.folder == str(tmp_path / "bad")
    assert reason in gone.reason
    assert "\n" not in gone.reason
    assert gone.reason in markdown(summary, "title")


def test_no_usable_run_is_an_error_that_says_why(make_run, tmp_path):
    damage(make_run(tmp_path / "bad"), "unfinished")
    with pytest.raises(InputError, match=FINISHED):
        aggregate([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no run folder in .*empty"):
        aggregate([tmp_path / "empty"])
    with pytest.raises(InputError, match="no such folder"):
        aggregate([tmp_path / "none"])


def test_runs_are_found_below_and_summaries_passed_over(make_run, tmp_path):
    runs = [make_run(tmp_path / "a" / "same"), make_run(tmp_path / "b" / "same"), make_run(tmp_path / "c")]
    report = tmp_path / "report"
    report.mkdir()
    (report / FINISHED).write_text('{"stage": "study report"}')
    (tmp_path / ".hidden").mkdir()
    assert find_runs([tmp_path, runs[0]]) == runs
    assert find_runs([tmp_path], leave_out=runs[2]) == runs[:2]
    assert [row["run"] for row in aggregate([tmp_path / "a", tmp_path / "b"]).rows] == ["a/same", "b/same"]


def test_the_scan_may_lie_elsewhere(make_run, tmp_path):
    run = make_run(tmp_path / "run", inputs={"scan": {"file": str(tmp_path / "elsewhere.h5")}})
    (run / "scan.h5").rename(tmp_path / "elsewhere.h5")
    assert len(aggregate([run]).rows) == 1


def test_the_page_stands_alone_and_tells_everything(make_run, tmp_path):
    make_run(
        tmp_path / "runs" / "<one>",
        change=lambda truth: 0.5 * truth,
        limits="twins & all",
        diagnosis={"verdict": "no loss <at> all"},
        unseen=UNSEEN,
    )
    make_run(tmp_path / "runs" / "two", "gs2_ideal")
    damage(make_run(tmp_path / "runs" / "three"), "unfinished")
    summary = aggregate([tmp_path / "runs"], StudyReportConfig())
    page = tmp_path / "page.html"
    write_summary(summary, tmp_path, page, "Bias & all", {"command": ["ptypinn", "study", "report", "runs"]})
    text = page.read_text()
    assert text.count("data:image/png;base64,") == text.count("<img") == 12
    assert "ptypinn study report runs" in text
    for piece in text.split("data:image/png;base64,")[1:]:
        assert base64.b64decode(piece.split('"')[0], validate=True).startswith(b"\x89PNG")
    assert "http" not in "".join(piece.split('"', 1)[-1] for piece in text.split("data:image/png;base64,"))
    assert "<one>" not in text and "&lt;one&gt;" in text and "twins &amp; all" in text
    assert "no loss &lt;at&gt; all" in text
    assert "ratio 0.987, r 0.876" in text
    assert "three" in text and "Left out" in text
    assert all(name in text for name in COLUMNS)
    assert 'class="number off">0.5000<' in text
    content = json.loads((tmp_path / "bias_summary.json").read_text())
    assert [row["run"] for row in content["runs"]] == ["<one>", "two"]
    assert len(content["skipped"]) == 1
    table = (tmp_path / "bias_summary.md").read_text()
    assert "**0.5000**" in table and "| two |" in table


def test_a_run_without_a_ledger_and_of_another_schema_is_shown_all_the_same(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    (run / FINISHED).write_text('{"stage": "refine", "prediction_scale": 3, "training_health": null}')
    summary = aggregate([run])
    summary.rows[0]["stage_ratios"] = []
    assert stage_figure(summary.rows) is None
    assert summary.rows[0]["scenario"] == "refine"
    assert "refine" in render_summary(summary, "title")


def test_words_about_the_ideal_probe_appear_only_where_the_runs_show_it():
    def rows(**bias_values):
        return [{"run": name, "scenario": name, "pearson_r_amplitude": r} for name, r in bias_values.items()]

    shown = collect_limits(rows(gs1_ideal=0.85, gs2_ideal=0.9, gs1_custom=0.88), [{}] * 3)
    assert len(shown) == 1 and "0.850" in shown[0] and "gs2_ideal reaches 0.900" in shown[0]
    assert collect_limits(rows(gs1_ideal=0.9, gs2_ideal=0.9), [{}] * 2) == []
    assert collect_limits(rows(gs1_ideal=0.9), [{}]) == []
    noted = collect_limits(rows(gs1_ideal=0.85, gs2_ideal=0.9), [{"limits": ["a", "b"]}, {"limits": "a"}])
    assert noted == ["gs1_ideal, gs2_ideal: a", "gs1_ideal: b"]
