"""Geometry of positions: rotations keep distances, and affine maps are found beside what is not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.solvers.position_geometry import fit_affine, rotate


@given(angle=st.floats(-3, 3), seed=st.integers(0, 9))
def test_a_rotation_keeps_distances_and_its_centre(angle, seed):
    places = np.random.default_rng(seed).uniform(-9, 9, (6, 2))
    turned = rotate(places, angle, places[0])
    np.testing.assert_allclose(turned[0], places[0], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(turned - turned[3], axis=1), np.linalg.norm(places - places[3], axis=1))
    np.testing.assert_allclose(rotate(turned, -angle, places[0]), places, atol=1e-9)


@given(seed=st.integers(0, 9), lost=st.integers(0, 6))
def test_affine_maps_are_found_beside_lost_patterns(seed, lost):
    rng = np.random.default_rng(seed)
    places, asked = rng.uniform(0, 40, (5, 60, 2)), rng.uniform(-40, 80, (5, 2))
    matrix, shift = rng.normal(0, 0.05, (5, 2, 2)), rng.normal(0, 3, (5, 1, 2))
    moves = places @ matrix + shift
    moves[:, :lost] += rng.uniform(8, 12, (lost, 2))
    expected = (asked[:, None] @ matrix + shift)[:, 0]
    np.testing.assert_allclose(fit_affine(places, moves, asked, iterations=30), expected, atol=0.3)


def test_independent_moves_are_not_extrapolated():
    rng = np.random.default_rng(0)
    places, moves = rng.uniform(0, 40, (1, 60, 2)), rng.normal(0, 2, (1, 60, 2))
    far = fit_affine(places, moves, np.array([[200.0, -200.0]]))
    np.testing.assert_allclose(far, moves.mean(1), atol=1e-9)


def test_moves_along_a_line_are_extrapolated_along_it():
    line = np.stack([np.arange(20.0), np.zeros(20)], 1)[None]
    np.testing.assert_allclose(fit_affine(line, 0.1 * line, np.array([[30.0, 0.0]])), [[3.0, 0.0]], atol=1e-6)
