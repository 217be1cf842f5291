"""The dose study: both arms behave as physics says, the sums are right, and a stopped study goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ptypinn.config.shared import JobsConfig
from ptypinn.config.studies import DoseConfig
from ptypinn.errors import InputError
from ptypinn.report.figures.study import dose_figure
from ptypinn.report.figures.style import png_bytes
from ptypinn.studies.dose import RESULT, TABLE, dose_study, plan_jobs
from ptypinn.studies.dose_job import run_dose_job
from ptypinn.studies.dose_summary import average_points, check_study, fit_power_law, fit_slopes, format_markdown
from ptypinn.studies.scenario import load_profile

HERE = JobsConfig(workers=0)
SMALL = DoseConfig(photons=(1e4, 1e6), seeds=2, object_size=100, base_patterns=30, iterations=8, reference_photons=1e5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dose")


@pytest.fixture(scope="module")
def study(folder):
    return dose_study(SMALL, HERE, output_dir=folder)


@given(
    st.floats(-2, 2),
    st.floats(1e-3, 1e3),
    st.lists(st.floats(1, 1e9), min_size=3, max_size=9, unique_by=lambda x: round(np.log10(x), 1)),
)
def test_an_exact_power_law_is_found_exactly(slope, factor, x):
    slope_fit = fit_power_law(x, [factor * value**slope for value in x])
    assert slope_fit.value == pytest.approx(slope, abs=1e-6)
    assert slope_fit.standard_error < 1e-6
    assert slope_fit.points == len(x)


def test_the_standard_error_is_the_scatter_of_fitted_slopes():
    draw, x = np.random.default_rng(0), np.logspace(3, 9, 21)
    fits = [fit_power_law(x.tolist(), (x**0.5 * np.exp(0.1 * draw.normal(size=21))).tolist()) for _ in range(400)]
    assert np.mean([fit.value for fit in fits]) == pytest.approx(0.5, abs=1e-3)
    scatter = np.std([fit.value for fit in fits])
    assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(scatter, rel=0.1)


@pytest.mark.parametrize(("x", "y"), [([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 1.0]), ([-1.0, 2.0], [1.0, 1.0])])
def test_no_slope_where_there_is_none(x, y):
    with pytest.raises(ValueError, match="power law"):
        fit_power_law(x, y)


def test_the_object_keeps_its_amplitude_and_follows_a_probe_stated_wrong(study):
    assert len(study.rows) == 8
    for row in study.rows:
        assert row["output_vs_truth_ratio"] == pytest.approx(row["expected_ratio"], rel=0.02)
        assert row["photons_stated"] == pytest.approx(row["photons"] if row["arm"] == "scaled" else 1e5)
        assert row["probe_stated_wrong_by"] == pytest.approx(1 / row["expected_ratio"])
    assert study.slopes["gs1_custom"].value == pytest.approx(0.5, abs=0.005)
    assert [check.passed for check in study.checks] == [True, True]


def test_both_arms_count_the_same_photons_and_share_one_limit(study):
    by_arm = {arm: [row for row in study.rows if row["arm"] == arm] for arm in ("scaled", "held")}
    for name in ("photons_measured", "shot_noise_limit", "seed", "photons"):
        scaled, held = ([row[name] for row in by_arm[arm]] for arm in ("scaled", "held"))
        assert scaled == pytest.approx(held)


def test_everything_is_written_plainly(study, folder):
    text = (folder / RESULT).read_text()
    content = json.loads(text, parse_constant=pytest.fail)
    assert content["slopes"]["gs1_custom"]["points"] == 4
    assert {point["seeds"] for point in content["points"]} == {2}
    assert [check["passed"] for check in content["checks"]] == [True, True]
    assert "wrong on purpose" in content["negative_control"]
    table = (folder / TABLE).read_text()
    assert table.count("| 1e+04 |") == table.count("| 1e+06 |") == 2
    assert "FAILED" not in table
    assert png_bytes(dose_figure(study.points), 30).startswith(b"\x89PNG")


def test_a_study_goes_on_where_it_stopped(study, folder, monkeypatch):
    monkeypatch.setattr("ptypinn.studies.dose.run_dose_job", lambda job, place: pytest.fail("a finished job ran again"))
    again = dose_study(SMALL, HERE, output_dir=folder)
    assert again.skipped == 8
    assert again.as_json() == study.as_json()
    with pytest.raises(InputError, match=r"iterations 8 \(now 9\)"):
        dose_study(dataclasses.replace(SMALL, iterations=9), HERE, output_dir=folder)


def test_scans_of_another_profile_are_not_taken_for_the_same(study, folder, monkeypatch):
    monkeypatch.setattr("ptypinn.studies.dose.load_profile", lambda name: {**load_profile(name), "feature_px": 3.0})
    with pytest.raises(InputError, match=r"feature_px 2.0 \(now 3.0\)"):
        dose_study(SMALL, HERE, output_dir=folder)


def test_a_failed_job_is_named_after_the_others_were_summed_up(tmp_path, monkeypatch):
    def fail_for_one(job, place):
        if (job.photons, job.arm) == (1e6, "held"):
            raise InputError("solver", "", "no photons", "some")
        return run_dose_job(job, place)

    monkeypatch.setattr("ptypinn.studies.dose.run_dose_job", fail_for_one)
    config = dataclasses.replace(SMALL, seeds=1, iterations=2)
    with pytest.warns(UserWarning, match=r"1e\+06"), pytest.raises(InputError, match=r"1 of 4 that failed.*no photons"):
        dose_study(config, HERE, output_dir=tmp_path)
    content = json.loads((tmp_path / RESULT).read_text())
    assert len(content["jobs"]) == 3
    assert list(content["failures"]) == ["gs1_custom-refine-held-1e+06-seed42"]
    assert content["slopes"] == {}


def test_jobs_differ_in_name_and_cover_everything():
    config = DoseConfig(scenarios=("gs1_ideal", "gs2_custom"), photons=(1e3, 1234.5, 100000.0, 100001.0), seeds=3)
    jobs = plan_jobs(config)
    assert len({job.name for job in jobs}) == len(jobs) == 2 * 4 * 3 * 2
    assert {job.seed for job in jobs[:8]} == {42}


def test_sums_take_the_seeds_apart_and_checks_fail_where_they_must():
    common = {"scenario": "gs1_ideal", "expected_ratio": 1.0}
    rows = [
        {**common, "arm": "scaled", "photons": dose, "output_vs_truth_ratio": ratio, "complex_error": None}
        for dose, ratio in ((1e3, 0.5), (1e4, 1.0), (1e4, 1.1), (1e5, 0.9))
    ]
    rows += [
        {**common, "arm": "held", "photons": dose, "output_vs_truth_ratio": dose**0.4, "complex_error": 0.1}
        for dose in (1e3, 1e5)
    ]
    points = average_points(rows)
    middle = next(point for point in points if (point["arm"], point["photons"]) == ("scaled", 1e4))
    assert middle["output_vs_truth_ratio"] == pytest.approx(1.05)
    assert middle["output_vs_truth_ratio_std"] == pytest.approx(0.1 / np.sqrt(2))
    assert "complex_error" not in middle
    checks = check_study(points, fit_slopes(rows))
    assert [check.value for check in checks] == pytest.approx([0.9, 0.4])
    assert not any(check.passed for check in checks)
    assert format_markdown(points, fit_slopes(rows), checks).count("FAILED") == 2
    assert png_bytes(dose_figure(points), 30).startswith(b"\x89PNG")


@given(st.lists(st.floats(1e-3, 1e12), min_size=2, max_size=4, unique=True))
def test_doses_that_differ_at_all_have_names_that_differ(photons):
    jobs = plan_jobs(DoseConfig(photons=tuple(photons), seeds=1))
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(re.fullmatch(r"[\w+-]+", job.name) for job in jobs)


@pytest.mark.parametrize("wrong", [{}, {"output_vs_truth_ratio": None}, {"output_vs_truth_ratio": "1"}])
def test_a_job_whose_mark_has_no_ratio_is_done_again(wrong, tmp_path, monkeypatch):
    calls = []

    def work(job, place):
        calls.append(job.name)
        return {"output_vs_truth_ratio": 1.0, "expected_ratio": 1 / job.stated_factor}

    monkeypatch.setattr("ptypinn.studies.dose.run_dose_job", work)
    config = dataclasses.replace(SMALL, seeds=1)
    first = dose_study(config, HERE, output_dir=tmp_path)
    record = tmp_path / "jobs" / calls[0] / "job.json"
    content = json.loads(record.read_text())
    del content["result"]["output_vs_truth_ratio"]
    content["result"].update(wrong)
    record.write_text(json.dumps(content))
    again = dose_study(config, HERE, output_dir=tmp_path)
    assert calls[4:] == calls[:1]
    assert again.skipped == 3
    assert again.rows == first.rows


def test_a_job_without_a_ratio_fails_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.studies.dose.run_dose_job", lambda job, place: {"output_vs_truth_ratio": math.nan})
    config = dataclasses.replace(SMALL, seeds=1)
    with (
        pytest.warns(UserWarning, match="output_vs_truth_ratio"),
        pytest.raises(InputError, match="4 of 4 that failed"),
    ):
        dose_study(config, HERE, output_dir=tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"photons": ()},
        {"photons": (1e3, 1e3)},
        {"photons": (-1.0,)},
        {"scenarios": ()},
        {"seeds": 0},
        {"object_size": 64},
        {"reference_photons": 0.0},
        *({"photons": (1e4, wrong)} for wrong in (math.inf, math.nan, 1.1e12)),
        {"photons": (math.nan,)},
        *({"reference_photons": wrong} for wrong in (math.inf, math.nan, 1e13)),
    ],
)
def test_contradictions_are_refused_by_flag(options):
    with pytest.raises(InputError, match="--" + next(iter(options)).replace("_", "-")):
        DoseConfig(**options)
