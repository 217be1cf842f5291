"""Prediction scaling: the factor, its record, and the reason for none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.scale import estimate_flux_scale, estimate_least_squares_scale, load_recorded_scale

RNG = np.random.default_rng(0)
TRUTH = (RNG.uniform(0.5, 1.5, (12, 10)) * np.exp(1j * RNG.uniform(-1, 1, (12, 10)))).astype(np.complex64)
EVERYWHERE = np.ones(TRUTH.shape, bool)


@given(st.floats(1e-3, 1e3), st.floats(0, 6.0))
def test_every_rule_finds_the_missing_factor(factor, phase):
    low = (TRUTH / np.float32(factor) * np.exp(1j * phase)).astype(np.complex64)
    assert estimate_least_squares_scale(low, TRUTH, EVERYWHERE).factor == pytest.approx(factor, rel=1e-4)
    assert estimate_flux_scale(1e6 * factor**2, 1e6).factor == pytest.approx(factor, rel=1e-6)
    assert load_recorded_scale(factor).factor == factor


def test_least_squares_counts_finite_pixels_only():
    object_, truth, mask = TRUTH.copy(), TRUTH.copy(), EVERYWHERE.copy()
    object_[0, 0], truth[1, 1], mask[2, :] = np.nan, np.nan, False
    scale = estimate_least_squares_scale(object_, truth, mask)
    assert scale.finite_pixels == TRUTH.size - 2 - TRUTH.shape[1]
    assert scale.factor == pytest.approx(1, rel=1e-6)
    assert scale.numerator == pytest.approx(scale.denominator, rel=1e-6)


@pytest.mark.parametrize(
    ("scale", "reason"),
    [
        (load_recorded_scale(None), "no usable gauge"),
        (load_recorded_scale(float("nan")), "no usable gauge"),
        (estimate_flux_scale(1e3, 0.0), "predicted"),
        (estimate_flux_scale(0.0, 1e3), "measured"),
        (estimate_least_squares_scale(TRUTH, None, EVERYWHERE), "no truth"),
        (estimate_least_squares_scale(TRUTH, TRUTH, ~EVERYWHERE), "no pixel"),
        (estimate_least_squares_scale(0 * TRUTH, TRUTH, EVERYWHERE), "without amplitude"),
    ],
)
def test_undefined_factors_are_one_with_a_reason(scale, reason):
    assert scale.factor == 1.0
    assert reason in scale.reason
    json.dumps(vars(scale), allow_nan=False)
