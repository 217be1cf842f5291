"""Prediction scaling: the factor, its record, and what is kept."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.scale import flux_scale, least_squares_scale, recorded_scale

RNG = np.random.default_rng(0)
TRUTH = (RNG.uniform(0.5, 1.5, (12, 10)) * np.exp(1j * RNG.uniform(-1, 1, (12, 10)))).astype(np.complex64)
EVERYWHERE = np.ones(TRUTH.shape, bool)


@given(st.floats(1e-3, 1e3), st.floats(0, 6.0))
def test_every_rule_finds_the_factor_that_is_missing(factor, phase):
    low = (TRUTH / np.float32(factor) * np.exp(1j * phase)).astype(np.complex64)
    assert least_squares_scale(low, TRUTH, EVERYWHERE).factor == pytest.approx(factor, rel=1e-4)
    assert flux_scale(1e6 * factor**2, 1e6).factor == pytest.approx(factor, rel=1e-6)
    assert recorded_scale(factor).factor == factor


def test_least_squares_counts_finite_pixels_only():
    object_, truth, mask = TRUTH.copy(), TRUTH.copy(), EVERYWHERE.copy()
    object_[0, 0], truth[1, 1], mask[2, :] = np.nan, np.nan, False
    found = least_squares_scale(object_, truth, mask)
    assert found.finite_pixels == TRUTH.size - 2 - TRUTH.shape[1]
    assert found.factor == pytest.approx(1, rel=1e-6)
    assert found.numerator == pytest.approx(found.denominator, rel=1e-6)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (recorded_scale(None), "no usable gauge"),
        (recorded_scale(float("nan")), "no usable gauge"),
        (flux_scale(1e3, 0.0), "predicted"),
        (flux_scale(0.0, 1e3), "measured"),
        (least_squares_scale(TRUTH, None, EVERYWHERE), "no truth"),
        (least_squares_scale(TRUTH, TRUTH, ~EVERYWHERE), "no pixel"),
        (least_squares_scale(0 * TRUTH, TRUTH, EVERYWHERE), "without amplitude"),
    ],
)
def test_undefined_factors_are_one_and_say_why(found, reason):
    assert found.factor == 1.0
    assert reason in found.reason
    json.dumps(vars(found), allow_nan=False)
