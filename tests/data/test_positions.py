"""Neighbours of positions, of which any number may be equal."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.grouping import checkerboard_split
from ptypinn.data.positions import find_nearest, group_equal, survey_positions


@given(st.integers(0, 2**12), st.integers(1, 60), st.integers(1, 12), st.sampled_from([1, 3, 40]))
def test_distances_are_those_of_a_search_through_all(seed, patterns, count, edge):
    rng = np.random.default_rng(seed)
    positions, centres = rng.integers(0, edge, (patterns, 2)) * 1.5, rng.uniform(-1, 2 * edge, (7, 2))
    distance, near = find_nearest(positions, centres, count)
    every = np.linalg.norm(centres[:, None] - positions, axis=2)
    np.testing.assert_allclose(distance, np.sort(every, 1)[:, :count], atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(every, near, 1), distance, atol=1e-12)
    assert all(len(set(row)) == min(count, patterns) for row in near.tolist())


@given(st.integers(0, 2**12), st.integers(1, 60), st.integers(1, 5))
def test_equal_positions_share_a_place_and_are_counted_in_order(seed, patterns, edge):
    positions = np.random.default_rng(seed).integers(0, edge, (patterns, 2)).astype(float)
    place, rank = group_equal(positions)
    assert ((place[:, None] == place) == (positions[:, None] == positions).all(2)).all()
    assert rank.tolist() == [(place[:number] == place[number]).sum() for number in range(patterns)]


def test_positions_further_than_asked_for_are_left_out():
    distance, near = find_nearest(np.zeros((4, 2)), np.array([[0.0, 1.0], [0.0, 3.0]]), 2, 2.0)
    assert np.isfinite(distance).tolist() == [[True, True], [False, False]]
    assert near[1].tolist() == [4, 4]


def test_a_million_patterns_at_one_position_are_surveyed_and_split():
    positions = np.full((1_000_000, 2), 3.5)
    survey = survey_positions(positions)
    assert (survey.nearest_px, survey.spacing_px, survey.coincident) == (0.0, 0.0, 999_999)
    assert checkerboard_split(positions).mean() == 0.5
