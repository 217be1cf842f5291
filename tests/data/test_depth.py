"""Depth of thick samples in words and numbers: spacing, depth of field, and errors that name what is missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.depth import (
    compute_depth_of_field,
    compute_gaps,
    describe_slices,
    measure_spacing,
    unwrap_phase,
    warn_of_thin_slices,
)
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError


def make_scan(**optics):
    return ScanData(np.ones((2, 8, 8), np.uint16), np.zeros((2, 2)), **optics)


OPTICS = {"pixel_size_m": 1e-8, "energy_eV": 12398.419843320026}


@given(spacing=st.lists(st.floats(1e-9, 7e-6), min_size=1, max_size=4))
def test_spacings_come_back_from_their_fresnel_numbers(spacing):
    scan = make_scan(**OPTICS)
    assert measure_spacing(scan, compute_gaps(scan, spacing)) == pytest.approx(spacing)


def test_the_depth_of_field_is_that_of_the_resolution_and_unknown_without_optics():
    assert compute_depth_of_field(make_scan(**OPTICS)) == pytest.approx(5.2e-6)
    assert compute_depth_of_field(make_scan()) is None
    assert measure_spacing(make_scan(), np.array([0.2])) is None


@pytest.mark.parametrize(
    ("optics", "spacing", "message"),
    [
        ({}, [1e-6], "object pixel: found none, expected one, which a spacing of slices needs"),
        ({"pixel_size_m": 1e-8}, [1e-6], "energy: found none, expected one, .*: --energy-eV"),
        (OPTICS, [9e-6], "--slice-spacing-m: found 9 µm in 8 pixels of 10 nm, expected at most 8 µm"),
    ],
)
def test_spacings_that_cannot_be_used_are_refused_in_one_line(optics, spacing, message):
    with pytest.raises(InputError, match=message):
        compute_gaps(make_scan(**optics), spacing)


def test_slices_nearer_than_the_depth_of_field_are_named_with_the_number_that_it_tells_apart():
    record = {"number": 5, "spacing_m": [1e-6] * 4, "depth_of_field_m": 4e-6}
    (warning,) = warn_of_thin_slices(record)
    assert warning.startswith("5 slices over 4 µm are more than the depth of field of 4 µm tells apart, which is 2")
    assert not warn_of_thin_slices({"number": 2, "spacing_m": [4e-6], "depth_of_field_m": 4e-6})
    assert not warn_of_thin_slices({"number": 1, "spacing_m": [], "depth_of_field_m": 4e-6})


@given(steepest=st.floats(0.1, 3.1), length=st.integers(4, 40), seed=st.integers(0, 99))
def test_phases_are_unwrapped_where_they_jump_and_left_alone_elsewhere(steepest, length, seed):
    phase = np.cumsum(np.random.default_rng(seed).uniform(-1, 1, (9, length)) * steepest / 2, 1)
    phase += np.cumsum(np.full((9, 1), 0.3 * steepest), 0)
    phase *= min(1.0, 3.0 / np.abs(np.diff(phase, axis=0)).max())
    unwrapped = unwrap_phase(np.exp(1j * phase).astype(np.complex64))
    turns = (unwrapped - phase) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns[0, 0]), atol=1e-5)


@pytest.mark.parametrize("depth", [0, -1.0, 1e-320, 1e308])
@pytest.mark.parametrize("spacing", [0.0, 1e-6, 1e308])
def test_numbers_without_sense_raise_no_error(depth, spacing):
    record = {"number": 3, "spacing_m": [spacing, spacing], "depth_of_field_m": depth}
    assert describe_slices(record)
    assert isinstance(warn_of_thin_slices(record), list)


@pytest.mark.parametrize(
    "record", [{}, {"number": "x"}, {"number": 2, "spacing_m": "far"}, {"number": 3, "spacing_m": [None]}]
)
def test_records_from_strangers_are_described_without_an_error(record):
    assert describe_slices(record)
    assert not warn_of_thin_slices(record)
