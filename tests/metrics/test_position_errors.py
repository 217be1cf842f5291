"""Errors of recorded positions by cause: what was put in comes out, and only large stretches raise a warning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.metrics.position_errors import (
    LARGE_MISFIT,
    LARGE_STRETCH,
    SETTLED_STRETCH,
    PositionErrors,
    measure_position_errors,
)

PLACES = np.random.default_rng(0).uniform(0, 100, (50, 2))
SMALL = st.floats(-0.05, 0.05)


def recorded(angle_deg=0.0, stretch=((0.0, 0.0), (0.0, 0.0)), shift=(0.0, 0.0)):
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return PLACES @ (turn @ (np.eye(2) + stretch)).T + shift


@given(angle=st.floats(-80, 80), y=SMALL, x=SMALL, shear=SMALL, shift=st.floats(-50, 50))
def test_rotation_scales_and_shear_come_out(angle, y, x, shear, shift):
    errors = measure_position_errors(recorded(angle, ((y, shear / 2), (shear / 2, x)), (shift, -shift)), PLACES)
    assert errors.rotation_deg == pytest.approx(angle, abs=1e-6)
    assert (errors.scale_y, errors.scale_x, errors.shear) == pytest.approx((y, x, shear), abs=1e-9)
    assert errors.rest_px < 1e-9


@given(width=st.floats(0.1, 5.0), seed=st.integers(0, 9))
def test_independent_errors_are_left_over(width, seed):
    moves = np.random.default_rng(seed).normal(0, width, PLACES.shape)
    errors = measure_position_errors(PLACES + moves, PLACES)
    assert errors.rest_px <= errors.rms_px
    assert errors.rest_px == pytest.approx(np.sqrt(2) * width, rel=0.3)


@given(y=SMALL, x=SMALL, shear=SMALL)
def test_the_record_is_read_back(y, x, shear):
    errors = measure_position_errors(recorded(3.0, ((y, shear / 2), (shear / 2, x))), PLACES)
    assert PositionErrors.from_record(errors.to_record()) == errors
    assert PositionErrors.from_record({**errors.to_record(), "shear": "much"}) is None


@given(change=st.floats(0, 0.1), misfit=st.floats(0.9, 1.5), y=SMALL)
def test_scales_that_may_be_left_raise_a_warning(change, misfit, y):
    errors = measure_position_errors(recorded(stretch=((y, 0), (0, 0))), PLACES)
    unexplained = misfit > LARGE_MISFIT and abs(y) > LARGE_STRETCH * 1.0001
    assert len(errors.warnings(change, misfit)) >= (change >= SETTLED_STRETCH or unexplained)
    assert errors.warnings(0.0, 0.98) == []
