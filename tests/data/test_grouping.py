"""Laws of neighbour groups, windows and splits, and of the batches made from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.datamodule import ScanDataModule, WindowDataset, WindowSampler
from ptypinn.data.grouping import cluster_groups, group_neighbours, hold_out_clusters, split_parts
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.propagation import to_fft_order

SEEDS = st.integers(0, 2**16)
COUNTS = st.integers(1, 40)
GRIDS = st.sampled_from([1, 2, 3])


def positions_of(count, seed):
    return np.random.default_rng(seed).uniform(0, 60, (count, 2))


def random_scan(count=30, seed=0, size=16):
    counts = np.random.default_rng(seed).poisson(5.0, (count, size, size)).astype(np.uint16)
    return ScanData(counts=counts, positions_px=positions_of(count, seed))


@given(COUNTS, GRIDS, st.integers(1, 12), SEEDS)
def test_every_pattern_leads_one_group_of_its_neighbours(count, gridsize, neighbour_count, seed):
    positions = positions_of(count, seed)
    groups = group_neighbours(positions, gridsize, neighbour_count, seed=seed)
    assert groups.shape == (count, gridsize**2)
    assert sorted(groups[:, 0]) == list(range(count))
    assert np.array_equal(groups, group_neighbours(positions, gridsize, neighbour_count, seed=seed))
    if count > gridsize**2:
        assert all(len(set(group)) == gridsize**2 for group in groups)
        reach = max(neighbour_count, gridsize**2 - 1)
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
        for group in groups:
            near = np.sort(distances[group[0]])[min(reach, count - 1)]
            assert (distances[group[0], group] <= near + 1e-9).all()


def test_members_differ_between_seeds_and_rounds():
    positions = positions_of(50, 0)
    once, again = (group_neighbours(positions, 2, 8, seed=seed) for seed in (0, 1))
    assert not np.array_equal(once, again)
    twice = group_neighbours(positions, 2, 8, n_groups=100, seed=0)
    assert (np.bincount(twice[:, 0]) == 2).all()


@given(SEEDS)
def test_coincident_positions_do_not_make_a_pattern_its_own_neighbour(seed):
    positions = np.repeat(positions_of(8, seed), 2, axis=0)
    groups = group_neighbours(positions, 2, 4, seed=seed)
    assert all(len(set(group)) == 4 for group in groups)


def test_many_patterns_at_one_position_make_groups():
    groups = group_neighbours(np.repeat(positions_of(2, 0), 20, axis=0), 2, 4)
    assert sorted(groups[:, 0]) == list(range(40))
    assert all(len(set(group)) == 4 for group in groups)


@given(st.integers(2, 40), GRIDS, st.integers(1, 9), SEEDS)
def test_windows_hold_neighbouring_groups(count, gridsize, cluster, seed):
    positions = positions_of(count, seed)
    groups = group_neighbours(positions, gridsize, 7, seed=seed)
    windows = cluster_groups(positions, groups, cluster)
    assert windows.shape == (count, min(cluster, count), gridsize**2)
    assert np.array_equal(windows[:, 0], groups)


@given(st.integers(4, 60), st.sampled_from(["y", "x"]), st.floats(0.2, 0.8), st.floats(0, 5), SEEDS)
def test_parts_lie_on_both_sides_of_the_cut(count, axis, fraction, gap, seed):
    positions = positions_of(count, seed)
    train, held = split_parts(positions, axis, fraction, gap)
    along = positions[:, "yx".index(axis)]
    assert not set(train) & set(held)
    assert len(held) == pytest.approx((1 - fraction) * count, abs=1)
    if len(train) and len(held):
        assert along[train].max() + gap <= along[held].min()


@given(st.integers(2, 60), st.floats(0, 0.9), st.integers(1, 12), SEEDS)
def test_held_out_clusters_leave_the_right_share(count, fraction, cluster, seed):
    positions = positions_of(count, seed)
    train, held = hold_out_clusters(positions, np.arange(count), fraction, cluster, seed)
    assert sorted([*train, *held]) == list(range(count))
    assert len(held) == (min(max(1, round(fraction * count)), count - 1) if fraction else 0)


def test_window_batches_hold_the_counts_and_positions_of_their_patterns():
    scan = random_scan()
    windows = np.random.default_rng(1).integers(0, 30, (4, 3, 2))
    data = WindowDataset(scan, windows)
    batch = data.__getitems__([2, 0])
    flat = windows[[2, 0]].reshape(-1)
    expected = to_fft_order(torch.from_numpy(scan.counts[flat].astype(np.float32)))
    assert torch.equal(batch["counts"].reshape(-1, 16, 16), expected)
    result = batch["corners"] + batch["origins"][:, None] + batch["fractions"].view(2, 6, 2)
    np.testing.assert_allclose(result.reshape(-1, 2), scan.positions_px[flat], atol=1e-5)
    assert batch["fractions"].abs().max() <= 0.5
    assert batch["corners"].min() == 0
    assert (batch["corners"] + 16 <= torch.tensor(data.shape)).all()


def test_order_depends_on_seed_and_epoch_alone():
    sampler, other = WindowSampler(20, 8, 3), WindowSampler(20, 8, 3)
    first = list(sampler)
    other.set_epoch(1)
    assert list(other) != first
    other.set_epoch(0)
    assert list(other) == first
    assert len(set(first)) == 8


def test_energy_is_that_of_the_good_pixels_of_the_training_patterns():
    scan = random_scan()
    mask = np.random.default_rng(0).random((16, 16)) > 0.2
    scan = scan.replace(mask=mask)
    data = ScanDataModule(scan, np.arange(20), cluster_size=3, val_fraction=0.2)
    assert not set(data.train_patterns) & set(data.val_patterns)
    assert set(data.train_patterns) | set(data.val_patterns) == set(range(20))
    expected = scan.counts[data.train_patterns][:, mask].sum(1, dtype=np.float64).mean()
    assert data.mean_pattern_energy() == pytest.approx(expected, rel=1e-12)


def test_validation_windows_hold_validation_patterns_only_and_never_change():
    data = ScanDataModule(random_scan(), np.arange(30), gridsize=2, cluster_size=2, val_fraction=0.3)
    assert data.val_windows is not None
    assert set(data.val_windows.windows.reshape(-1)) <= set(data.val_patterns)
    assert set(data.train_windows.windows.reshape(-1)) <= set(data.train_patterns)
    (loader,) = data.val_dataloader()
    assert all(torch.equal(a["counts"], b["counts"]) for a, b in zip(loader, loader, strict=True))
    assert ScanDataModule(random_scan(), np.arange(30), val_fraction=0.0).val_dataloader() == []


def test_nothing_to_train_on_is_said():
    with pytest.raises(InputError, match="none to train on"):
        ScanDataModule(random_scan(), np.arange(0))


def test_leaders_stand_in_for_neighbours_that_are_too_far():
    positions = np.array([[0.0, 0.0], [3.0, 1.0], [1.0, 4.0], [40.0, 2.0]])
    near, far = group_neighbours(positions, 2, 3), group_neighbours(positions, 2, 3, reach_px=10.0)
    leads = {group[0]: sorted(group[1:].tolist()) for group in far}
    assert leads == {0: [0, 1, 2], 1: [0, 1, 2], 2: [0, 1, 2], 3: [3, 3, 3]}
    assert all(len(set(group)) == 4 for group in near)
