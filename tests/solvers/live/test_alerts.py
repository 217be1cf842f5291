"""Alerts are raised by lasting changes of the series, and by nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.solvers.live.alerts import find_alerts
from ptypinn.solvers.live.frame_checks import FrameChecks

COUNT, CHANGE = 300, 220


def steady_checks(seed=0, count=COUNT):
    rng = np.random.default_rng(seed)
    return FrameChecks(
        photons=0.7 + 0.1 * np.sin(np.arange(count) / 20) + 0.01 * rng.normal(size=count),
        flux=1 + 0.005 * rng.normal(size=count),
        centre_px=0.05 * rng.normal(size=(count, 2)),
        shift_px=np.zeros((count, 2)),
        residual=1.05 + 0.05 * rng.normal(size=count),
    )


def kinds(checks, numbers=None):
    return [alert.kind for alert in find_alerts(np.arange(len(checks.flux)) if numbers is None else numbers, checks)]


@given(st.integers(0, 10_000))
def test_a_steady_scan_raises_nothing(seed):
    assert kinds(steady_checks(seed)) == []


@pytest.mark.parametrize(("field", "change", "kind"), [("flux", 0.5, "flux"), ("residual", 5.0, "residual")])
def test_a_lasting_change_is_told_with_its_first_frame(field, change, kind):
    checks = steady_checks()
    getattr(checks, field)[CHANGE:] *= change
    (alert,) = find_alerts(np.arange(COUNT) + 1000, checks)
    assert alert.kind == kind
    assert abs(alert.since_number - 1000 - CHANGE) <= 1
    assert str(alert.since_number) in alert.text


def test_a_moved_beam_is_told_in_pixels():
    checks = steady_checks()
    checks.centre_px[CHANGE:, 1] += 3.0
    (alert,) = find_alerts(np.arange(COUNT), checks)
    assert alert.kind == "centre"
    assert "3.0 detector pixels" in alert.text


def test_a_beam_that_is_gone_explains_all_else():
    checks = steady_checks()
    for series in (checks.photons, checks.flux):
        series[CHANGE:] *= 0.001
    checks.residual[CHANGE:] *= 50
    (alert,) = find_alerts(np.arange(COUNT), checks)
    assert alert.kind == "flux"
    assert "gone" in alert.text


@given(st.sets(st.integers(0, COUNT - 1), max_size=10), st.integers(0, 100))
def test_single_bad_frames_raise_nothing(bad, seed):
    checks = steady_checks(seed)
    index = sorted(bad)[::2]
    checks.flux[index], checks.residual[index], checks.photons[index] = 0.01, 80.0, 0.001
    assert kinds(checks) == []


def test_the_order_of_arrival_does_not_matter():
    checks, order = steady_checks(), np.random.default_rng(1).permutation(COUNT)
    checks.residual[CHANGE:] *= 5
    mixed = FrameChecks(*(series[order] for series in checks.arrays))
    assert find_alerts(order, mixed) == find_alerts(np.arange(COUNT), checks)


def test_frames_without_a_check_and_short_scans_are_left_alone():
    assert kinds(steady_checks(count=20)) == []
    checks = steady_checks()
    checks.put(np.arange(CHANGE, COUNT), FrameChecks.empty(COUNT - CHANGE))
    assert kinds(checks) == []


@pytest.mark.parametrize(
    ("field", "change"), [("photons", 0.001), ("flux", 0.5), ("residual", 5.0), ("centre_px", 3.0)]
)
@given(st.integers(1, 900), st.integers(150, 600))
def test_an_alert_stays_as_long_as_its_cause_lasts(field, change, more, begin):
    checks = steady_checks(count=begin + 30 + more)
    series = getattr(checks, field)
    series[begin:] = series[begin:] + change if field == "centre_px" else series[begin:] * change
    (alert,) = find_alerts(np.arange(len(series)), checks)
    assert alert.active
    assert abs(alert.since_number - begin) <= 2


@given(st.integers(40, 400), st.integers(40, 400))
def test_an_alert_ends_with_its_cause_and_stays_on_record(length, after):
    checks = steady_checks(count=200 + length + after)
    checks.flux[200 : 200 + length] *= 0.4
    (alert,) = find_alerts(np.arange(len(checks.flux)), checks)
    assert not alert.active
    assert abs(alert.since_number - 200) <= 1
