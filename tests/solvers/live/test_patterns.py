"""Patterns of a scan in progress: what is kept of them after every block is what the whole scan shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.positions import find_strays
from ptypinn.data.scan import ScanData
from ptypinn.data.validation import deferred_checks
from ptypinn.solvers.live import stray_positions
from ptypinn.solvers.live.patterns import DARK, MAX_CANVAS_PX, PatternStore
from ptypinn.solvers.live.stray_positions import StrayPositions
from ptypinn.utils.growing_array import GrowingArray

SIZE = 16


def place(rng, count, step, islands, strays, repeats):
    """Positions around islands, some far from all, some at equal places, in random order."""
    places = rng.uniform(0, step * np.sqrt(count), (count, 2)) + rng.choice(islands, count)[:, None]
    far = rng.uniform(-1, 1, (strays, 2)) * 10.0 ** rng.uniform(1, 5, (strays, 1))
    places = np.concatenate(
        [places, far, places[rng.integers(0, count, repeats)], far[rng.integers(0, 2, strays // 2)]]
    )
    return rng.permutation(places)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 120),
    step=st.sampled_from([0.3, 3.0, 9.0, 25.0, 200.0]),
    islands=st.sampled_from([[0.0], [0.0, 150.0], [0.0, 3000.0]]),
    strays=st.sampled_from([0, 2, 5]),
    repeats=st.sampled_from([0, 15]),
    block=st.integers(1, 40),
)
def test_strays_after_every_block_are_those_of_a_search_of_the_whole_scan(
    seed, count, step, islands, strays, repeats, block
):
    places = place(np.random.default_rng(seed), count, step, islands, strays, repeats)
    watch = StrayPositions(SIZE)
    for end in [*range(block, len(places), block), len(places), len(places)]:
        np.testing.assert_array_equal(watch.update(places[:end]), find_strays(places[:end], SIZE).index)


def blocks_of(places, photons, block=20):
    counts = np.zeros((len(places), SIZE, SIZE), np.uint16)
    counts[:, 0, 0] = photons
    with deferred_checks():
        scan = ScanData(counts=counts, positions_px=places)
        return [scan.subset(np.arange(k, min(k + block, len(places)))) for k in range(0, len(places), block)]


@given(seed=st.integers(0, 2**32 - 1), dark=st.sampled_from([0.0, 0.1, 0.95]), far=st.sampled_from([0, 1, 3]))
def test_usable_patterns_have_a_beam_at_a_position_that_is_no_stray(seed, dark, far):
    rng = np.random.default_rng(seed)
    places = place(rng, 90, 3.0, [0.0], 0, 0) if not far else place(rng, 90, 3.0, [0.0, 2e4][:far], far, 0)
    photons = np.where(rng.random(len(places)) < dark, rng.integers(0, 60, len(places)), rng.integers(300, 1000))
    store = PatternStore()
    for k, block in enumerate(blocks_of(places, photons)):
        with deferred_checks():
            store.add(block, np.arange(20 * k, 20 * k + block.n_patterns))
        seen, bright = store.positions_px, store.photons
        span = 2 * np.abs(seen - np.median(seen, 0)) + SIZE
        expected = (bright > DARK * np.quantile(bright, 0.9)) & (span.prod(1) < MAX_CANVAS_PX)
        expected[find_strays(seen, SIZE).index] = False
        np.testing.assert_array_equal(store.are_usable(), expected)
    np.testing.assert_array_equal(store.positions_px, places)
    np.testing.assert_array_equal(store.photons, photons)


def test_a_stray_position_costs_no_search_of_the_whole_scan_for_every_block(monkeypatch):
    searches = []
    monkeypatch.setattr(stray_positions, "find_strays", lambda *args: searches.append(1) or find_strays(*args))
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 200, (4000, 2))
    places[100] = 9e3
    watch = StrayPositions(SIZE)
    for end in range(20, 4001, 20):
        strays = watch.update(places[:end])
    assert strays.tolist() == [100] and len(searches) < 60
    places[100] = 100.0
    clean, before = StrayPositions(SIZE), len(searches)
    for end in range(20, 4001, 20):
        clean.update(places[:end])
    assert len(searches) - before < 60


@given(sizes=st.lists(st.integers(0, 700), max_size=8), width=st.sampled_from([(), (2,)]))
def test_a_growing_array_is_all_rows_and_can_be_written_to(sizes, width):
    grown, expected = GrowingArray(width, float), np.zeros((0, *width))
    for k, size in enumerate(sizes):
        rows = np.full((size, *width), float(k))
        shown, expected = grown.append(rows), np.concatenate([expected, rows])
        np.testing.assert_array_equal(shown, expected)
        shown[::3] += 0.5
        expected[::3] += 0.5


@pytest.mark.parametrize("numbers", [[0, 1, 1, 2], [3, 2, 1, 0]])
def test_a_number_that_comes_again_is_left_out(numbers):
    store, block = PatternStore(), blocks_of(np.arange(8.0).reshape(4, 2), 5)[0]
    assert store.add(block, np.array(numbers)) == len(set(numbers))
    assert store.add(block, np.array([0, 1, 7, 2])) == 1
    assert store.numbers.tolist() == [*dict.fromkeys(numbers), 7]
