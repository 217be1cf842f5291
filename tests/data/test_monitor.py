"""Monitors are told from readings that are not of their scan, whatever the sample."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.monitor import check_monitor, describe_monitor, settles_flux, with_monitor
from ptypinn.data.scan import ScanData
from ptypinn.physics.experiment_draws import draw_flux

PLACES = np.argwhere(np.ones((14, 14))) * 5.0


def photons_of(flux: np.ndarray, seed: int, dose: float = 1e5) -> np.ndarray:
    """Return photons of frames behind a sample that transmits smoothly, with counting noise."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=2) / 30
    transmitted = 0.7 + 0.2 * np.sin(PLACES @ waves)
    return rng.poisson(dose * flux * transmitted).astype(float)


def flux_of(seed: int, independent: float, slow: float) -> np.ndarray:
    return draw_flux(len(PLACES), independent, slow, np.random.default_rng([seed, 1])).numpy()


@given(seed=st.integers(0, 99), independent=st.floats(0.05, 0.3), slow=st.floats(0.0, 0.2), unit=st.floats(1e-9, 1e9))
def test_the_right_monitor_is_confirmed_in_any_unit(seed, independent, slow, unit):
    flux = flux_of(seed, independent, slow)
    check = check_monitor(unit * flux, photons_of(flux, seed), PLACES)
    assert check.is_confirmed
    assert not check.is_contradicted
    assert check.slope == pytest.approx(1, abs=max(4 * check.slope_error, 0.2))


@given(seed=st.integers(0, 99), independent=st.floats(0.05, 0.3))
def test_that_of_another_order_or_upside_down_is_contradicted(seed, independent):
    flux = flux_of(seed, independent, 0.0)
    photons = photons_of(flux, seed)
    wrong = np.random.default_rng(seed).permutation(flux)
    assert check_monitor(wrong, photons, PLACES).is_contradicted
    assert check_monitor(1 / flux, photons, PLACES).is_contradicted


@given(seed=st.integers(0, 99), slow=st.floats(0.0, 0.05))
def test_no_right_monitor_is_contradicted_however_little_it_varies_or_light_there_is(seed, slow):
    flux = flux_of(seed, 1e-4, float(slow))
    assert not check_monitor(flux, photons_of(flux, seed, dose=50), PLACES).is_contradicted


def test_a_constant_one_and_few_frames_are_no_test():
    for readings in (np.ones(196), np.array([1.0, 2.0, 3.0])):
        check = check_monitor(readings, readings, PLACES[: len(readings)])
        assert not (check.is_confirmed or check.is_contradicted)


def test_a_zero_that_is_off_is_named():
    flux = flux_of(0, 0.2, 0.0)
    assert check_monitor(flux + 0.5, photons_of(flux, 0), PLACES).is_off
    assert not check_monitor(flux, photons_of(flux, 0), PLACES).is_off


@given(unit=st.floats(1e-9, 1e3))
def test_photons_in_any_unit_give_the_same_check(unit):
    flux = flux_of(4, 0.2, 0.1)
    photons = photons_of(flux, 4)
    check, scaled = (check_monitor(flux, values, PLACES) for values in (photons, unit * photons))
    assert scaled.slope == pytest.approx(check.slope)
    assert scaled.is_confirmed


def test_frames_without_light_at_all_are_no_test():
    assert not check_monitor(flux_of(0, 0.2, 0.0), np.zeros(196), PLACES).is_contradicted


def test_a_zero_that_is_far_off_is_named_though_the_monitor_is_left_aside():
    flux = flux_of(0, 0.1, 0.0)
    with pytest.warns(UserWarning, match="zero is probably off"):
        scan = with_monitor(scan_of(flux), flux - 0.9 * flux.min(), "ion chamber")
    assert scan.flux is None


def scan_of(flux: np.ndarray) -> ScanData:
    counts = np.repeat(photons_of(flux, 3)[:, None, None], 64, 1).reshape(-1, 8, 8) / 64
    return ScanData(np.round(counts).astype(np.uint16), PLACES)


def test_the_scan_has_the_flux_of_the_right_one_and_keeps_none_of_the_wrong_one():
    flux = flux_of(1, 0.2, 0.1)
    scan = with_monitor(scan_of(flux), 7 * flux, "ion chamber")
    assert np.allclose(scan.flux, flux / flux.mean())
    record = scan.provenance["monitor"]
    assert record["applied"]
    assert "follow it" in describe_monitor(record)
    with pytest.warns(UserWarning, match="do not follow it"):
        other = with_monitor(scan_of(flux), flux[::-1].copy(), "ion chamber")
    assert other.flux is None
    assert not other.provenance["monitor"]["applied"]


def test_empty_frames_are_no_test_of_a_monitor():
    flux = flux_of(1, 0.2, 0.1)
    scan = scan_of(flux)
    counts = scan.counts.copy()
    counts[::5] = 0
    empty = with_monitor(scan.replace(counts=counts), flux, "ion chamber")
    assert np.allclose(empty.flux, flux / flux.mean())
    assert empty.provenance["monitor"]["slope"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("shift", "applied", "settled"), [(0.0, True, True), (0.5, True, False), (None, True, False), (0.0, False, False)]
)
def test_a_monitor_settles_the_flux_where_it_is_confirmed_in_proportion(shift, applied, settled):
    flux = flux_of(0, 0.2, 0.0)
    readings = np.ones(196) if shift is None else flux + shift
    record = {**asdict(check_monitor(readings, photons_of(flux, 0), PLACES)), "applied": applied}
    assert settles_flux({"monitor": record}) is settled


@pytest.mark.parametrize("record", [{}, {"variation": "much"}, {"variation": None, "slope": 1.0}])
def test_records_of_strangers_are_no_monitor(record):
    assert describe_monitor(record) == ""
