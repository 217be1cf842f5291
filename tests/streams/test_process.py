"""Laws of the receiver's process: one per spool, found again, and never at the cost of what was received."""

import json
import shutil
import time

import numpy as np
import pytest

from ptypinn.errors import InputError
from ptypinn.streams.messages import Dropped, Frames
from ptypinn.streams.process import ReceiverProcess
from ptypinn.streams.receiver import REQUEST
from ptypinn.streams.reception import Receiver
from ptypinn.streams.spool import holds_frames, read_dropped, read_state
from ptypinn.utils.atomic_files import write_json

REQUESTED = {
    "source": "zmq://127.0.0.1:59399",
    "options": {"positions": "", "idle_s": 10.0},
    "crop_px": None,
    "centre_px": None,
    "min_free_bytes": 0,
}
TROUBLE = REQUESTED | {"options": {"no_such_option": 1}}
"""A request that ends every receiver before it has begun."""


@pytest.fixture
def spool(tmp_path):
    """Folder of a spool."""
    return tmp_path / "spool"


@pytest.fixture
def open_receiver():
    """Make receivers, which are ended with the test."""
    receivers = []

    def make(folder, request=REQUESTED):
        receivers.append(ReceiverProcess(folder, request))
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.stop()


def fill(folder, request=REQUESTED, width=8):
    """Leave 50 frames as a receiver does that was interrupted."""
    receiver = Receiver(folder)
    frames = Frames(np.arange(50), np.ones((50, 8, width), np.uint16))
    receiver.handle([(frames, 0.0), (Dropped(np.array([70, 71])), 0.0)])
    receiver.finish("stopped")
    write_json(folder / REQUEST, request)


def wait_until(condition, timeout_s=20):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def is_receiving(folder):
    return read_state(folder).get("state") == "receiving"


def test_a_receiver_that_keeps_dying_costs_neither_frames_nor_counters(spool, open_receiver):
    fill(spool)
    receiver = open_receiver(spool, TROUBLE)
    assert receiver.attach()
    wait_until(lambda: not receiver.ensure(), 60)
    assert holds_frames(spool)
    state = read_state(spool)
    assert (state["spooled"], read_dropped(spool)) == (50, [70, 71])


def test_a_spool_has_one_receiver(spool, open_receiver):
    first, second = open_receiver(spool), open_receiver(spool)
    first.attach()
    second.attach()  # at once: the first has said nothing yet
    second._start()  # as if it had not found the first
    wait_until(lambda: None not in (first._process.poll(), second._process.poll()) or is_receiving(spool))
    winner, other = (first, second) if read_state(spool)["pid"] == first._process.pid else (second, first)
    wait_until(lambda: other._process.poll() is not None)
    assert other._process.returncode == 0
    assert winner._process.poll() is None and is_receiving(spool)
    assert read_state(spool)["pid"] == winner._process.pid
    assert first.is_alive and second.is_alive
    second.stop()
    wait_until(lambda: not first.is_alive)  # its arguments are gone a moment before it can be waited for


@pytest.mark.parametrize("change", [{"options": {"positions": "", "idle_s": 3.0}}, {"min_free_bytes": 7}])
def test_another_request_restarts_a_receiver_that_runs(spool, open_receiver, change):
    fill(spool)
    first = open_receiver(spool)
    first.attach()
    wait_until(lambda: is_receiving(spool))
    again = open_receiver(spool)
    assert again.attach() and first.is_alive
    changed = open_receiver(spool, REQUESTED | change)
    assert changed.attach()
    assert not first.is_alive or first._process.poll() is not None
    wait_until(lambda: is_receiving(spool) and read_state(spool)["pid"] == changed._process.pid)
    assert read_state(spool)["spooled"] == 50


@pytest.mark.parametrize(("name", "value"), [("crop_px", 6), ("centre_px", (4, 3)), ("source", "zmq://other:5555")])
def test_frames_of_another_source_or_square_are_not_mixed(spool, open_receiver, name, value):
    fill(spool)
    option = "--output-dir" if name == "source" else f"--{name.replace('_', '-')}"
    receiver = open_receiver(spool, REQUESTED | {name: value})
    with pytest.raises(InputError, match=f"{option}: .*--overwrite"):
        receiver.attach()
    assert not receiver.is_alive
    assert holds_frames(spool)


def test_whole_oblong_frames_go_on_whole_whatever_square_is_solved(spool, open_receiver):
    fill(spool, width=12)
    first = open_receiver(spool)
    assert first.attach() and first.holds_oblong_frames
    wait_until(lambda: is_receiving(spool))
    for change in ({"crop_px": 6}, {"crop_px": 8, "centre_px": (4, 6)}):
        again = open_receiver(spool, REQUESTED | change)
        assert again.attach()
        assert first.is_alive and read_state(spool)["pid"] == first._process.pid
    first.stop()
    again = open_receiver(spool, REQUESTED | {"crop_px": 6})
    assert again.attach() and again.is_alive
    assert json.loads((spool / REQUEST).read_text())["crop_px"] is None


def test_another_square_is_taken_before_the_first_frame(spool, open_receiver):
    spool.mkdir()
    write_json(spool / REQUEST, REQUESTED)
    receiver = open_receiver(spool, REQUESTED | {"centre_px": (4, 3)})
    assert not receiver.attach()
    assert open_receiver(spool, REQUESTED | {"centre_px": (4, 3)}).is_alive


def test_the_receiver_of_another_spool_is_left_alone(spool, open_receiver, tmp_path):
    first = open_receiver(spool)
    first.attach()
    copy = tmp_path / "copy"
    shutil.copytree(spool, copy)
    other = open_receiver(copy, {})
    assert not other.is_alive
    other.stop()
    assert first.is_alive


def test_an_ended_scan_needs_no_receiver(spool, open_receiver):
    fill(spool)
    write_json(spool / "receiver.json", read_state(spool) | {"state": "ended"})
    receiver = open_receiver(spool)
    assert receiver.attach() and receiver.is_over and not receiver.is_alive


def test_a_spool_with_a_file_that_cannot_be_read_counts_as_holding_frames(spool):
    spool.mkdir()
    assert not holds_frames(spool)
    (spool / "0001.h5").write_bytes(b"torn")
    assert holds_frames(spool)
