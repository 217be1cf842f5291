"""Laws of scan patterns: inside the extent, density, number, determinism."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from ptypinn.physics.scan_patterns import SCANS, fermat_spiral, jitter, positions_by_number, raster

KINDS = pytest.mark.parametrize("kind", sorted(SCANS))
EXTENTS = st.tuples(st.floats(0, 90), st.floats(0, 90))
SEEDS = st.integers(0, 1000)


def inside(positions, extent):
    return bool((positions >= 0).all() and (positions <= torch.tensor(extent, dtype=torch.float64) + 1e-9).all())


@KINDS
@given(extent=EXTENTS, number=st.integers(1, 80), seed=SEEDS)
def test_a_number_of_positions_is_met_exactly_and_inside(kind, extent, number, seed):
    positions = positions_by_number(kind, extent, number, np.random.default_rng(seed))
    assert positions.shape == (number, 2) and positions.dtype == torch.float64
    assert inside(positions, extent)


@KINDS
@given(extent=EXTENTS, step=st.floats(2, 20), seed=SEEDS)
def test_positions_stay_inside_with_jitter(kind, extent, step, seed):
    generator = np.random.default_rng(seed)
    positions = SCANS[kind](extent, step, generator)
    assert len(positions) > 0
    assert inside(positions, extent)
    assert inside(jitter(positions, step, extent, generator), extent)


@KINDS
def test_a_step_gives_one_position_per_step_squared(kind):
    positions = SCANS[kind]((300.0, 200.0), 7.0, np.random.default_rng(0))
    assert len(positions) == pytest.approx(300 * 200 / 49, rel=0.06)


def test_raster_neighbours_are_one_step_apart():
    positions = raster((50.0, 30.0), 6.0, np.random.default_rng(0))
    distances = cKDTree(positions.numpy()).query(positions.numpy(), k=3)[0][:, 1:]
    np.testing.assert_allclose(distances, 6.0)
    torch.testing.assert_close(positions.mean(0), torch.tensor([25.0, 15.0], dtype=torch.float64))


def test_the_spiral_is_evenly_dense_and_without_clumps():
    positions = fermat_spiral((200.0, 200.0), 5.0, np.random.default_rng(0)).numpy()
    counts = np.histogram2d(*positions.T, bins=5, range=[[0, 200], [0, 200]])[0]
    assert counts.std() < 0.06 * counts.mean()
    nearest = cKDTree(positions).query(positions, k=2)[0][:, 1]
    assert nearest.min() > 0.7 * 5.0 and nearest.max() < 1.15 * 5.0


@KINDS
def test_the_seed_fixes_the_positions(kind):
    first, second = (positions_by_number(kind, (50.0, 40.0), 30, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(first, second)


@given(amplitude=st.floats(0, 8), seed=SEEDS)
def test_jitter_moves_by_at_most_its_amplitude(amplitude, seed):
    positions = raster((60.0, 60.0), 6.0, np.random.default_rng(0))
    moved = jitter(positions, amplitude, (60.0, 60.0), np.random.default_rng(seed))
    assert (moved - positions).abs().max() <= amplitude + 1e-9
    assert amplitude < 0.1 or (moved - positions).abs().max() > 0.5 * amplitude
