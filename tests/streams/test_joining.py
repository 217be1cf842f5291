"""Laws of joining: the order of arrival, repetition and lateness change nothing about what belongs together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.streams.joining import Joiner, concatenate_pairs
from ptypinn.streams.spool import NO_NUMBER


def place(numbers):
    """A position that is different for every frame number."""
    numbers = np.asarray(numbers, float)
    return np.column_stack([numbers * 1e-7, 3e-6 - numbers * 2e-7])


def add_positions(joiner, numbers):
    numbers = np.asarray(numbers, np.int64)
    joiner.add_positions(place(numbers), numbers, np.full(len(numbers), np.nan), np.zeros(len(numbers)))


def add_frames(joiner, numbers, times=None):
    numbers = np.asarray(numbers, np.int64)
    times = np.full(len(numbers), np.nan) if times is None else np.asarray(times, float)
    return joiner.add_frames(numbers, times, np.zeros(len(numbers)))


messages = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(0, 30), min_size=1, max_size=6)), min_size=1, max_size=25
)


@given(messages)
def test_what_is_joined_depends_on_what_came_and_not_on_when(messages):
    joiner, parts = Joiner(), []
    for is_frame, numbers in messages:
        (add_frames if is_frame else add_positions)(joiner, numbers)
        parts.append(joiner.take_pairs())
    pairs = concatenate_pairs(parts)
    frames = {n for is_frame, numbers in messages if is_frame for n in numbers}
    positions = {n for is_frame, numbers in messages if not is_frame for n in numbers}
    assert sorted(pairs.numbers.tolist()) == sorted(frames & positions)
    assert np.array_equal(pairs.positions_m, place(pairs.numbers))
    assert np.array_equal(np.array(joiner.numbers)[pairs.rows], pairs.numbers)
    assert joiner.without_position == sorted(frames - positions)
    assert joiner.n_repeated == sum(len(numbers) for is_frame, numbers in messages if is_frame) - len(frames)


@given(st.integers(-5, 5), st.sets(st.integers(10, 40), min_size=1))
def test_streams_that_count_from_different_starts_are_joined_by_their_offset(offset, numbers):
    joiner = Joiner(position_offset=offset)
    add_frames(joiner, sorted(numbers))
    add_positions(joiner, [number - offset for number in sorted(numbers)])
    assert np.array_equal(joiner.take_pairs().positions_m, place(np.array(sorted(numbers)) - offset))


@pytest.mark.parametrize(
    ("numbers", "n_frames", "missing"),
    [
        ([0, 1, 4], None, [2, 3]),
        ([0, 1, 4], 6, [2, 3, 5]),
        ([1, 2, 3], 3, []),
        ([2, 3], 3, [1]),
        ([1, 2], 3, [0]),
        ([], 2, [0, 1]),
        ([1500, 1502], 3, [1501]),
        ([0, 1], 2**40, []),
    ],
)
def test_missing_frames_are_counted_from_0_or_from_1_as_the_last_number_shows(numbers, n_frames, missing):
    joiner = Joiner()
    add_frames(joiner, numbers)
    assert joiner.list_missing(n_frames) == missing


def test_frames_wait_until_the_encoder_has_passed_their_time():
    joiner, encoder = Joiner(clocks="same"), np.linspace(0, 1, 101)
    add_frames(joiner, [0, 1], [0.205, 0.9])
    track = np.column_stack([encoder, -2 * encoder])

    def move(part):
        count = len(encoder[part])
        joiner.add_positions(track[part], np.full(count, NO_NUMBER), encoder[part], np.zeros(count))
        return joiner.take_pairs()

    first = move(slice(0, 51))
    assert first.numbers.tolist() == [0]
    assert np.allclose(first.positions_m, [[0.205, -0.41]])
    assert np.allclose(move(slice(51, None)).positions_m, [[0.9, -1.8]])


def test_a_damaged_number_is_left_aside():
    joiner = Joiner()
    assert add_frames(joiner, [5, 2**50, 6]).tolist() == [True, False, True]
    assert (joiner.n_absurd, joiner.list_missing()) == (1, [])


def test_positions_that_count_from_0_beside_frames_that_count_from_1_are_noticed():
    joiner = Joiner()
    add_frames(joiner, [1, 2, 3])
    add_positions(joiner, [0, 1, 2])
    joiner.take_pairs()
    assert joiner.suggested_offset == 1
    joined = Joiner(position_offset=1)
    add_frames(joined, [1, 2, 3])
    add_positions(joined, [0, 1, 2])
    assert np.array_equal(joined.take_pairs().positions_m, place([0, 1, 2]))
    assert joined.suggested_offset is None


def move_encoder(joiner, times, rate=1.0):
    times = np.asarray(times, float)
    track = np.column_stack([times * rate, -times])
    joiner.add_positions(track, np.full(len(times), NO_NUMBER), times, times)


def test_nothing_is_interpolated_over_a_gap_of_the_encoder():
    joiner = Joiner(clocks="same")
    add_frames(joiner, [0, 1, 2], [0.5, 3.0, 5.5])
    move_encoder(joiner, [*np.arange(0, 1, 0.1), *np.arange(5, 6, 0.1)])
    assert joiner.take_pairs().numbers.tolist() == [0, 2]
    move_encoder(joiner, np.arange(1, 5, 0.1))
    assert joiner.take_pairs().numbers.tolist() == [1]


@given(st.permutations(list(range(12))))
def test_readings_of_an_encoder_may_come_in_any_order(order):
    joiner = Joiner(clocks="same")
    add_frames(joiner, [0], [5.25])
    for time in order:
        move_encoder(joiner, [time])
    assert np.allclose(joiner.take_pairs().positions_m, [[5.25, -5.25]])


def test_joins_by_time_are_revised_with_all_that_has_come():
    """A drift of the encoder's clock shows late; the first frames are joined before."""
    drift, times = 3e-3, np.arange(0, 60, 0.05)
    joiner, parts = Joiner(), []
    for start in range(0, len(times), 40):
        part = times[start : start + 40]
        joiner.add_frames(np.arange(start, start + len(part)), part, part + 0.001)
        stamps = part * (1 + drift)
        joiner.add_positions(np.column_stack([part, part]), np.full(len(part), NO_NUMBER), stamps, part + 0.001)
        parts.append(joiner.take_pairs())
    pairs = concatenate_pairs(parts)
    late, revised = (each.positions_m[:, 0] - times[each.numbers] for each in (pairs, joiner.revise(pairs)))
    assert np.abs(late).max() > 0.01
    assert np.abs(revised).max() < 2e-3
