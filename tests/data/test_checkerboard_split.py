"""Checkerboard halves: nearest neighbours are separated in any order of the scan."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from ptypinn.data.grouping import checkerboard_split


@given(st.integers(0, 2**12), st.integers(2, 120))
def test_the_nearest_neighbour_of_every_position_is_in_the_other_half(seed, count):
    positions = np.random.default_rng(seed).uniform(0, 100, (count, 2))
    half = checkerboard_split(positions)
    nearest = cKDTree(positions).query(positions, 2)[1][:, 1]
    assert (half != half[nearest]).all()


@given(st.integers(0, 2**12), st.integers(2, 9), st.integers(2, 9))
def test_a_raster_in_any_order_becomes_a_checkerboard(seed, rows, columns):
    y, x = (a.ravel() for a in np.mgrid[:rows, :columns])
    order = np.random.default_rng(seed).permutation(rows * columns)
    half = checkerboard_split(7.0 * np.stack([y, x], 1)[order])
    parity = (y + x)[order] % 2 == 1
    assert (half == parity).all() or (half != parity).all()


def test_halves_are_of_similar_size():
    for seed in range(10):
        half = checkerboard_split(np.random.default_rng(seed).uniform(0, 100, (400, 2)))
        assert 0.42 < half.mean() < 0.58


def test_positions_measured_twice_go_to_both_halves():
    half = checkerboard_split(np.repeat(np.arange(10.0)[:, None] * 5, 2, axis=0) * [1.0, 0.0])
    assert (half[::2] != half[1::2]).all()
    assert not checkerboard_split(np.zeros((1, 2))).any()
