"""Faults of the patterns are detected from their values alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.scan import ScanData
from ptypinn.scale_audit.count_checks import AMPLITUDES, CLIPPED, OVERFLOW, SQUARES, detect_count_fault

POSITIONS = np.zeros((4, 2)) + np.arange(4)[:, None]


def detect(counts):
    return detect_count_fault(ScanData(counts=counts, positions_px=POSITIONS))


def draw_counts(photons, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(photons * rng.exponential(1.0, (4, 32, 32)))


@given(st.floats(0.05, 1e9), st.integers(0, 100), st.sampled_from([np.uint64, np.float32, np.float64]))
def test_photon_counts_raise_no_suspicion(photons, seed, kind):
    assert detect(draw_counts(photons, seed).astype(kind)) is None


@given(st.floats(1.0, 3e4), st.integers(0, 100), st.sampled_from([np.float32, np.float64]))
def test_amplitudes_are_recognised_and_can_be_squared(photons, seed, kind):
    counts = draw_counts(photons, seed)
    fault = detect(np.sqrt(counts).astype(kind))
    assert fault.cause == AMPLITUDES
    np.testing.assert_allclose(fault.repair(np.sqrt(counts)), counts)


@given(st.floats(1.0, 1e5), st.integers(0, 100), st.sampled_from([np.float32, np.float64]))
def test_squared_counts_are_recognised_and_can_be_rooted(photons, seed, kind):
    counts = draw_counts(photons, seed)
    fault = detect(np.square(counts.astype(kind)))
    assert fault.cause == SQUARES
    np.testing.assert_allclose(fault.repair(np.square(counts.astype(np.float64))), counts)


@given(st.floats(1e5, 1e10), st.integers(0, 100))
def test_squares_beyond_single_precision_are_recognised_by_the_smaller_ones(photons, seed):
    squares = np.square(draw_counts(photons, seed).astype(np.float32))
    squares[:, 12:20, 12:20] = np.square(draw_counts(1e4, seed)[:, 12:20, 12:20].astype(np.float32))
    assert detect(squares).cause == SQUARES


@given(st.floats(1e3, 1e12), st.integers(0, 100))
def test_whole_numbers_of_any_size_are_no_squares(maximum, seed):
    rng = np.random.default_rng(seed)
    values = np.floor(maximum * rng.random((4, 32, 32)))
    assert detect(values.astype(np.float32)) is None
    sparse = np.where(rng.random(values.shape) < 0.03, values, 0.0)
    assert detect(sparse.astype(np.float32)) is None


def test_numbers_beyond_every_integer_type_raise_no_alarm():
    assert detect(draw_counts(1e9).astype(np.float32) ** 2 * np.float32(1.37)) is None


@pytest.mark.parametrize(("kind", "photons"), [(np.uint8, 1e3), (np.uint16, 3e5)])
def test_squares_that_wrapped_around_are_recognised_and_lost(kind, photons):
    amplitudes = np.round(np.sqrt(draw_counts(photons))).astype(kind)
    fault = detect(amplitudes * amplitudes)
    assert fault.cause == OVERFLOW
    assert fault.repair is None


def test_clipped_counts_are_recognised():
    fault = detect(draw_counts(300.0).clip(max=500))
    assert fault.cause == CLIPPED
    assert fault.repair is None


def test_normalised_or_scaled_patterns_are_no_amplitudes():
    assert detect((draw_counts(100.0) / 7.3).astype(np.float32)) is None
    assert detect((draw_counts(100.0) * 0.5).astype(np.float32)) is None
