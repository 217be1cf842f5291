"""Numbers of one scan, and the end of a series that announces none."""

import contextlib

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from plain_stream import frame, message
from stream_helpers import TIMEOUT_S, collect, parts

from ptypinn.streams.messages import End, Frames, Metadata, Positions, Rejected
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.registry import open_source
from ptypinn.streams.sources.series import MAX_JUMP, NumberCheck

COUNTS = np.ones((2, 2), np.uint16)


def frames_of(numbers):
    return Frames(np.array(numbers), np.zeros((len(numbers), 1, 1)))


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=20), st.integers(MAX_JUMP + 2001, 2**53), st.randoms())
def test_numbers_far_beyond_the_others_are_rejected(numbers, absurd, random):
    check = NumberCheck()
    sent = [numbers[0], *random.sample([*numbers[1:], absurd, absurd], len(numbers) + 1)]
    outcomes = [check.take(frames_of([number])) for number in sent]
    assert [isinstance(each, Rejected) for each in outcomes] == [number == absurd for number in sent]
    assert check.largest == max(numbers)


@pytest.mark.parametrize("numbers", [[10 + MAX_JUMP + 1], [3, 2**40]])
def test_the_first_numbers_are_judged_by_what_is_stated_and_by_each_other(numbers):
    check = NumberCheck()
    check.take(Metadata({"n_frames": 10}))
    for each in (frames_of(numbers), Positions(np.zeros((len(numbers), 2)), np.array(numbers))):
        assert str(numbers[-1]) in check.take(each).reason
    assert isinstance(check.take(frames_of([10])), Frames) and check.is_full


@pytest.mark.parametrize("first", [0, 5_000_000_000])
def test_a_scan_may_count_from_anywhere_if_nothing_is_stated(first):
    check = NumberCheck()
    assert [len(check.take(frames_of([first + k])).numbers) for k in range(3)] == [1, 1, 1] and not check.is_full


def test_a_detector_that_was_not_reset_loses_one_frame():
    check = NumberCheck(10)
    outcomes = [check.take(frames_of([number])) for number in (5_000_000, 5_000_001, 5_000_003, 3, 2**50)]
    assert [isinstance(each, Rejected) for each in outcomes] == [True, False, False, False, True]


@contextlib.contextmanager
def connect():
    """A socket of a publisher, and a source of it that waits for 0.3 s."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        source = open_source(f"zmq://127.0.0.1:{port}", SourceOptions(idle_s=0.3))
        try:
            yield socket, source
        finally:
            source.close()


def test_a_series_whose_last_frame_has_come_ends_without_a_word():
    with connect() as (socket, source):
        for each in (message("start", n_frames=9), *(frame(number, COUNTS) for number in (0, 8, 3))):
            socket.send_multipart(each)
        messages = collect(source, TIMEOUT_S)
    assert messages[-1] == End(9) and sum(len(each.numbers) for each in parts(messages, Frames)) == 3


@pytest.mark.parametrize("head", [message("start", n_frames=9), message("start")])
def test_a_pause_within_a_series_does_not_end_it(head):
    with connect() as (socket, source):
        for each in (head, frame(0, COUNTS), frame(2**50, COUNTS), frame(7, COUNTS)):
            socket.send_multipart(each)
        stream, messages = source.messages(), []
        while sum(len(each.numbers) for each in parts(messages, Frames)) < 2:
            messages.append(next(stream))
        silence = [next(stream) for _ in range(8)]
        socket.send_multipart(message("end", n_frames=9))
        messages += silence + list(stream)
    assert silence == [None] * 8 and messages[-1] == End(9)
    assert ["number 1125899906842624" in each.reason for each in parts(messages, Rejected)] == [True]
