"""Windows hold the patterns they are for, and those whose light overlaps; thinning is even."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.models.blocks import STRIDE
from ptypinn.solvers.live.canvas import GrowingCanvas, bounding_box, round_outward
from ptypinn.solvers.live.pace import plan_rounds
from ptypinn.solvers.live.windows import Cost, divide, surround, thin_out
from ptypinn.solvers.unrolled.tiling import Box

SIZE, COST = 16, Cost(1e-4, 1e-6)
boxes = st.tuples(*[st.integers(-300, 300)] * 2, *[st.integers(1, 200)] * 2).map(
    lambda b: Box(b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def scattered(seed=0, count=200, edge=120.0):
    return np.random.default_rng(seed).uniform(-edge, edge, (count, 2))


@given(st.integers(0, 1000), st.floats(0, 60))
def test_a_window_takes_in_all_patterns_within_its_reach_and_no_others(seed, reach):
    positions, central = scattered(seed), np.arange(40)
    window = surround(positions, central, np.arange(200), reach, SIZE)
    distance = np.linalg.norm(positions[:, None] - positions[central], axis=2).min(1)
    assert set(np.flatnonzero(distance < reach - 1e-9)) <= set(window.patterns)
    assert set(window.patterns) <= set(np.flatnonzero(distance <= reach + 1e-9))
    assert all(edge % STRIDE == 0 for edge in window.box)
    corners = np.round(positions[window.patterns])
    assert (corners >= window.box[:2]).all()
    assert (corners + SIZE <= window.box[2:]).all()


@given(st.integers(0, 1000))
def test_windows_divide_the_patterns_and_never_cost_more_than_one(seed):
    positions, central = scattered(seed, edge=600.0), np.arange(0, 200, 2)
    windows = divide(positions, central, np.arange(1, 200, 2), 20.0, SIZE, COST)
    assert np.array_equal(np.sort(np.concatenate([window.central for window in windows])), central)
    whole = surround(positions, central, np.arange(1, 200, 2), 20.0, SIZE)
    assert sum(window.round_s(COST) for window in windows) <= whole.round_s(COST)


def test_far_groups_get_windows_of_their_own():
    positions = np.concatenate([scattered(1, 20, 10.0), scattered(2, 20, 10.0) + 2000])
    windows = divide(positions, np.arange(40), np.zeros(0, np.int64), 20.0, SIZE, COST)
    assert [len(window.central) for window in windows] == [20, 20]


@given(st.integers(4, 100))
def test_thinning_is_even_over_the_area(count):
    y, x = np.mgrid[:20, :20]
    positions = np.stack([y.ravel(), x.ravel()], 1).astype(float)
    chosen = thin_out(positions, np.arange(400), count)
    assert len(chosen) == count
    assert np.all(np.diff(chosen) > 0)
    quarters = np.histogram2d(*positions[chosen].T, bins=2)[0]
    assert quarters.max() - quarters.min() <= max(2, 0.35 * count)


@given(st.lists(boxes, min_size=1, max_size=6))
def test_a_canvas_grows_around_what_it_holds(parts):
    canvas = GrowingCanvas()
    for number, part in enumerate(parts, 1):
        canvas.cover(part)
        canvas.object[canvas.place(part)] = number
        canvas.illumination[canvas.place(part)] = number
    assert all(edge % STRIDE == 0 for edge in canvas.box)
    assert (canvas.object[canvas.place(parts[-1])] == len(parts)).all()
    assert set(np.unique(canvas.object.real)) <= set(range(1, len(parts) + 1))
    lit = round_outward(canvas.lit_box(), 1)
    assert all(lit.intersection(part) == part for part in parts)


def test_the_box_of_patches_holds_them_at_halves():
    positions = np.array([[0.5, 1.5], [-2.5, 33.5]])
    box = bounding_box(positions, SIZE)
    for origin in (np.zeros(2), np.array(box[:2])):
        corners = np.round(positions - origin) + origin
        assert (corners >= box[:2]).all()
        assert (corners + SIZE <= box[2:]).all()


@given(st.floats(1e-3, 10), st.floats(1e-3, 10))
def test_plans_keep_to_the_time_and_reduce_rounds_before_patterns(round_s, budget_s):
    plan = plan_rounds(round_s, budget_s)
    assert plan.rounds * plan.share * round_s <= 2 * budget_s * (1 + 1e-9)
    assert plan.share == 1 or plan.rounds == 3
