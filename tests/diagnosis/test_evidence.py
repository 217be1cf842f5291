"""What the numbers of the patterns say about themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.scan import ScanData
from ptypinn.diagnosis.evidence import AMPLITUDES, CLIPPED, OVERFLOW, SQUARES, evidence_in

POSITIONS = np.zeros((4, 2)) + np.arange(4)[:, None]


def evidence(counts):
    return evidence_in(ScanData(counts=counts, positions_px=POSITIONS))


def drawn(photons, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(photons * rng.exponential(1.0, (4, 32, 32)))


@given(st.floats(0.05, 3e4), st.integers(0, 100), st.sampled_from([np.uint32, np.float32, np.float64]))
def test_photon_counts_raise_no_suspicion(photons, seed, kind):
    assert evidence(drawn(photons, seed).astype(kind)) is None


@given(st.floats(1.0, 3e4), st.integers(0, 100), st.sampled_from([np.float32, np.float64]))
def test_amplitudes_are_recognised_and_can_be_squared(photons, seed, kind):
    counts = drawn(photons, seed)
    found = evidence(np.sqrt(counts).astype(kind))
    assert found.cause == AMPLITUDES
    np.testing.assert_allclose(found.repair(np.sqrt(counts)), counts)


@given(st.floats(1.0, 3e3), st.integers(0, 100))
def test_squared_counts_are_recognised_and_can_be_rooted(photons, seed):
    counts = drawn(photons, seed).astype(np.float64)
    found = evidence(counts**2)
    assert found.cause == SQUARES
    np.testing.assert_allclose(found.repair(counts**2), counts)


@pytest.mark.parametrize(("kind", "photons"), [(np.uint8, 1e3), (np.uint16, 3e5)])
def test_squares_that_wrapped_around_are_recognised_and_lost(kind, photons):
    amplitudes = np.round(np.sqrt(drawn(photons))).astype(kind)
    found = evidence(amplitudes * amplitudes)
    assert found.cause == OVERFLOW
    assert found.repair is None


def test_clipped_counts_are_recognised():
    found = evidence(drawn(300.0).clip(max=500))
    assert found.cause == CLIPPED
    assert found.repair is None


def test_normalised_or_scaled_patterns_are_no_amplitudes():
    assert evidence((drawn(100.0) / 7.3).astype(np.float32)) is None
    assert evidence((drawn(100.0) * 0.5).astype(np.float32)) is None
