"""Laws of clocks: what separates two of them shows in the quickest messages, whatever delays the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.streams.clocks import Clock, map_times


def tick(offset, rate, seconds, delay, seed, hertz=200):
    """Messages of a clock that reads `(arrival - offset) / rate`, each delayed at random."""
    rng = np.random.default_rng(seed)
    sent = np.arange(0, seconds, 1 / hertz)
    clock = Clock()
    clock.add((sent - offset) / rate, sent + rng.exponential(delay, len(sent)))
    return clock, (sent - offset) / rate


@given(st.floats(-1e3, 1e3), st.floats(-1e-3, 1e-3), st.integers(0, 100))
def test_the_line_of_a_clock_is_found_below_its_messages(offset, drift, seed):
    clock, times = tick(offset, 1 + drift, 30.0, 0.01, seed)
    line = clock.fit()
    assert np.abs(line.offset_s + line.rate * times - np.arange(0, 30, 1 / 200)).max() < 2e-3


@pytest.mark.parametrize(("offset", "drift"), [(40.0, 0.0), (40.0, 2e-3), (-3.0, -1e-3)])
def test_clocks_far_apart_are_related_by_the_arrivals(offset, drift):
    detector, times = tick(0.0, 1.0, 30.0, 0.004, 1)
    encoder, encoder_times = tick(offset, 1 + drift, 30.0, 0.004, 2)
    assert np.abs(map_times(times, detector, encoder) - encoder_times).max() < 2e-3


def test_a_longer_way_is_no_difference_of_clocks():
    detector, times = tick(0.0, 1.0, 20.0, 0.004, 1)
    encoder, _ = tick(0.3, 1.0, 20.0, 0.004, 2)
    assert np.array_equal(map_times(times, detector, encoder), times)
    assert np.abs(map_times(times, detector, encoder, "arrival") - times).max() == pytest.approx(0.3, abs=0.01)


def test_a_drift_is_undone_from_the_start_on():
    detector, times = tick(0.0, 1.0, 60.0, 0.004, 1)
    encoder, encoder_times = tick(0.0, 1.002, 60.0, 0.004, 2)
    assert np.abs(times - encoder_times).max() > 0.1
    assert np.abs(map_times(times, detector, encoder) - encoder_times).max() < 3e-3
    assert np.array_equal(map_times(times, detector, encoder, "same"), times)


def test_the_memory_of_a_clock_is_bounded():
    clock, _ = tick(0.0, 1.0, 9000.0, 0.01, 3, hertz=3)
    assert len(clock._points) <= 4096
    assert clock.fit().rate == pytest.approx(1.0, abs=1e-5)
