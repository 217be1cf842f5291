"""Frames of one source with positions of another: late positions are waited for, a failure is no end."""

import time

import numpy as np
import pytest
from stream_helpers import all_positions, collect, parts

from ptypinn.streams.messages import End, Frames, Positions, Rejected
from ptypinn.streams.sources.merged import MergedSource

FRAMES = Frames(np.arange(3), np.zeros((3, 4, 4)))
PLACES = Positions(np.ones((3, 2)), np.arange(3))


class Scripted:
    """Messages, pauses in seconds, and exceptions, in order."""

    def __init__(self, *script, can_wait=True):
        self._script, self.can_wait = script, can_wait

    def messages(self):
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            stop = time.monotonic() + (step if isinstance(step, float) else 0)
            while time.monotonic() < stop:
                time.sleep(0.02)
                yield None
            if not isinstance(step, float):
                yield step

    def close(self):
        pass


def test_positions_come_for_idle_s_after_the_frames():
    late = Scripted(0.7, PLACES, 20.0)
    messages = collect(MergedSource(Scripted(FRAMES, End(3)), late, idle_s=1.5), limit_s=5)
    assert all_positions(messages)[0].tolist() == [0, 1, 2] and messages[-1] == End(3)


def test_a_receiver_that_takes_long_loses_no_positions():
    late = Scripted(*(Positions(np.ones((1, 2)), np.array([number])) for number in range(3)), 20.0)
    messages = []
    for message in MergedSource(Scripted(FRAMES, End(3)), late, idle_s=0.3).messages():
        messages += [] if message is None else [message]
        time.sleep(0.4 if message is not None else 0)
    assert all_positions(messages)[0].tolist() == [0, 1, 2]


def test_a_scan_without_positions_ends_after_idle_s():
    start = time.monotonic()
    messages = collect(MergedSource(Scripted(FRAMES, End(3)), Scripted(20.0), idle_s=0.3), limit_s=5)
    assert messages[-1] == End(3) and 0.3 < time.monotonic() - start < 2


@pytest.mark.parametrize("is_first", [True, False])
def test_a_scan_ends_once_every_frame_has_its_position(is_first):
    frames, places = Scripted(FRAMES, FRAMES, 0.3 if is_first else 0.0, End(3)), Scripted(0.1, PLACES, 20.0)
    messages = collect(MergedSource(frames, places, idle_s=20.0), limit_s=1.5)
    assert messages[-1] == End(3) and len(parts(messages, Positions)) == 1


def test_a_source_of_frames_that_fails_is_no_end():
    source = MergedSource(Scripted(FRAMES, OSError("detector link lost")), Scripted(PLACES, End()))
    messages = []
    with pytest.raises(OSError, match="link lost"):
        messages.extend(message for message in source.messages() if message is not None)


def test_positions_that_fail_leave_the_frames():
    source = MergedSource(Scripted(0.2, FRAMES, End(3)), Scripted(OSError("stage lost")))
    messages = collect(source, limit_s=5)
    assert ["stage lost" in each.reason for each in parts(messages, Rejected)] == [True]
    assert len(parts(messages, Frames)) == 1 and messages[-1] == End(3)


@pytest.mark.parametrize("waits", [(True, False), (False, True)])
def test_what_the_frames_do_decides_whether_a_scan_can_wait(waits):
    assert MergedSource(*(Scripted(can_wait=each) for each in waits)).can_wait is waits[0]
