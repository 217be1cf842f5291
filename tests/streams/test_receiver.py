"""Laws of the receiver: every frame is spooled once or counted as lost, and nothing that arrives ends it."""

import json
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.streams.message_queue import MessageQueue
from ptypinn.streams.messages import Dropped, End, Frames, Metadata, Positions, Rejected
from ptypinn.streams.receiver import receive
from ptypinn.streams.reception import Receiver
from ptypinn.streams.spool import SpoolReader, read_dropped, read_metadata, read_state


def block(numbers, size=8, dtype=np.uint16):
    numbers = np.asarray(numbers, np.int64)
    return Frames(numbers, np.full((len(numbers), size, size), 3, dtype))


class ListSource:
    """A source that has its messages in a list."""

    can_wait = True

    def __init__(self, messages, pause_s=0.0):
        self._messages, self._pause_s, self.is_closed = messages, pause_s, False

    def messages(self):
        for message in self._messages:
            time.sleep(self._pause_s)
            if isinstance(message, Exception):
                raise message
            yield message

    def close(self):
        self.is_closed = True


def run(folder, messages, **options):
    receiver, source = Receiver(folder, **options), ListSource(messages)
    receive(source, receiver, threading.Event())
    assert source.is_closed
    return receiver


numbers = st.lists(st.integers(0, 20), min_size=1, max_size=5)
streams = st.lists(st.one_of(numbers.map(block), st.none(), st.just(Rejected("torn message"))), max_size=12)


@settings(max_examples=20)
@given(streams)
def test_every_number_is_spooled_once(tmp_path_factory, messages):
    folder = tmp_path_factory.mktemp("spool")
    receiver = run(folder, [*messages, End(21)])
    sent = [n for message in messages if isinstance(message, Frames) for n in message.numbers.tolist()]
    spooled = SpoolReader(folder).read_frames()[1]["numbers"].tolist()
    assert sorted(spooled) == sorted(set(sent))
    state = read_state(folder)
    assert state["state"] == "ended"
    assert state["received"] == len(sent) == state["spooled"] + state["repeated"]
    assert state["rejected"] == sum(isinstance(message, Rejected) for message in messages)
    assert state["n_frames"] == 21
    assert receiver.reasons == ["torn message"] * min(5, state["rejected"])


def test_frames_of_other_shapes_and_types_are_rejected_and_the_stream_goes_on(tmp_path):
    messages = [block([0]), block([1], size=9), block([2], dtype=np.float32), block([3]), End()]
    run(tmp_path, messages)
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == [0, 3]
    assert read_state(tmp_path)["rejected"] == 2


def test_a_second_receiver_leaves_aside_what_the_first_has_spooled(tmp_path):
    run(tmp_path, [block([0, 1]), End()])
    run(tmp_path, [block([1, 2]), End()])
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == [0, 1, 2]
    assert read_state(tmp_path)["repeated"] == 1


def test_frames_and_mask_are_cut_around_the_centre(tmp_path):
    counts = np.arange(200).reshape(2, 10, 10).astype(np.uint16)
    mask = counts[0] > 40
    frames = Frames(np.arange(2), counts)
    run(tmp_path, [Metadata({"mask": mask}), frames, End()], reading=LoadConfig(crop_px=4, centre_px=(6, 5)))
    reader = SpoolReader(tmp_path)
    assert np.array_equal(reader.read_counts(reader.read_frames()[0]), counts[:, 4:8, 3:7])
    assert np.array_equal(read_metadata(tmp_path)["mask"], mask[4:8, 3:7])


def test_a_full_disk_loses_frames_by_number_and_keeps_positions(tmp_path):
    messages = [block([4, 5]), Positions(np.zeros((1, 2)), numbers=np.array([4])), Dropped(np.array([7])), End()]
    run(tmp_path, messages, min_free_bytes=2**62)
    state = read_state(tmp_path)
    assert (state["spooled"], state["dropped"], state["dropped_numbers"]) == (0, 3, "4,5,7")
    assert SpoolReader(tmp_path).read_positions()["numbers"].tolist() == [4]


def test_a_source_that_fails_is_named_in_the_state(tmp_path):
    run(tmp_path, [block([0]), OSError("connection reset")])
    state = read_state(tmp_path)
    assert (state["state"], state["error"], state["spooled"]) == ("failed", "connection reset", 1)


def test_a_receiver_that_is_stopped_has_spooled_what_it_received(tmp_path):
    receiver, stop = Receiver(tmp_path), threading.Event()
    source = ListSource([block([k]) for k in range(1000)], pause_s=0.002)
    threading.Timer(0.3, stop.set).start()
    receive(source, receiver, stop)
    state = json.loads((tmp_path / "receiver.json").read_text())
    assert state["state"] == "stopped"
    assert 0 < state["spooled"] < 1000
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == list(range(state["spooled"]))


@pytest.mark.parametrize("can_wait", [True, False])
def test_a_queue_is_bounded_by_bytes(can_wait):
    queue, sent = MessageQueue(can_wait, max_bytes=1000), [block([k]) for k in range(20)]

    def put():
        for message in sent:
            queue.put(message)
        queue.close()

    thread = threading.Thread(target=put)
    thread.start()
    frames, lost, largest = [], [], 0
    while not queue.is_over:
        time.sleep(0.001)
        messages = [message for message, _ in queue.take(1.0)]
        frames += [message for message in messages if isinstance(message, Frames)]
        lost += [message for message in messages if isinstance(message, Dropped)]
        largest = max(largest, sum(m.counts.nbytes for m in messages if isinstance(m, Frames)))
    thread.join()
    assert largest <= 1000
    assert sorted(n for message in frames + lost for n in message.numbers.tolist()) == list(range(20))
    assert bool(lost) != can_wait


def test_a_stray_frame_in_front_does_not_decide_the_form_of_the_scan(tmp_path):
    run(tmp_path, [block([0], size=9), *(block(range(k, k + 3)) for k in range(1, 100, 3)), End()])
    state = read_state(tmp_path)
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == list(range(1, 100))
    assert (state["rejected"], state["rejected_numbers"], state["received"]) == (1, "0", 100)


def test_rejected_frames_are_counted_by_number(tmp_path):
    run(tmp_path, [block(range(20)), block(range(20, 50), size=9), Rejected("torn", 60), End()])
    state = read_state(tmp_path)
    assert (state["spooled"], state["rejected"], state["rejected_numbers"]) == (20, 31, "20-49,60")


def test_frames_of_several_sizes_are_not_cut_to_one(tmp_path):
    run(tmp_path, [block([0, 1], size=20), block([2], size=30), End()], reading=LoadConfig(crop_px=8))
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "rows"),
    [({"crop_px": 4}, slice(4, 8)), ({}, slice(2, 10)), ({"crop_px": 4, "centre_px": (5, 5)}, slice(3, 7))],
)
def test_the_centre_is_that_of_the_source_where_the_options_have_none(tmp_path, options, rows):
    counts = np.arange(300).reshape(3, 10, 10).astype(np.uint16)
    facts = Metadata({"mask": counts[0] > 40, "beam_centre_px": (5.8, 6.1)})
    run(tmp_path, [facts, Frames(np.arange(2), counts[:2]), End()], reading=LoadConfig(**options))
    run(tmp_path, [Frames(np.array([2]), counts[2:]), End()], reading=LoadConfig(**options))
    reader = SpoolReader(tmp_path)
    assert np.array_equal(reader.read_counts(reader.read_frames()[0]), counts[:, rows, rows])
    assert np.array_equal(read_metadata(tmp_path)["mask"], counts[0, rows, rows] > 40)


def test_a_centre_that_comes_late_moves_no_frame_and_one_that_does_not_fit_is_left_aside(tmp_path):
    counts = np.arange(2400).reshape(24, 10, 10).astype(np.uint16)
    early, late = Frames(np.arange(12), counts[:12]), Frames(np.arange(12, 24), counts[12:])
    wrong, right = Metadata({"beam_centre_px": (99.0, 6.0)}), Metadata({"beam_centre_px": (6.0, 6.0)})
    receiver = Receiver(tmp_path, LoadConfig(crop_px=4))
    for message in (wrong, early, right, late, End()):
        receiver.handle([(message, 0.0)])
    receiver.finish("stopped")
    reader = SpoolReader(tmp_path)
    assert np.array_equal(reader.read_counts(reader.read_frames()[0]), counts[:, 3:7, 3:7])
    assert "beam centre" in read_state(tmp_path)["reasons"][-1]


@pytest.mark.parametrize("shape", [(4, 4), (4,), (0, 0), (12, 12)])
def test_a_mask_that_does_not_fit_costs_no_frame(tmp_path, shape):
    messages = [Metadata({"mask": np.ones(shape, bool), "energy_eV": 8000.0}), block(range(12), size=10), End()]
    run(tmp_path, messages, reading=LoadConfig(crop_px=6))
    assert read_state(tmp_path)["spooled"] == 12
    values = read_metadata(tmp_path)
    assert values["energy_eV"] == 8000
    assert "mask" not in values


def test_two_scans_are_not_mixed(tmp_path):
    run(tmp_path, [Metadata({}, "series 7"), block([0, 1]), ConnectionError("the receiver is killed")])
    run(tmp_path, [Metadata({}, "series 8"), block([0, 1, 2, 3]), End()])
    state = read_state(tmp_path)
    assert state["state"] == "failed"
    assert "series 7" in state["error"] and "series 8" in state["error"] and "--overwrite" in state["error"]
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == [0, 1]
    assert read_metadata(tmp_path)["name"] == "series 7"


def test_counters_go_on_after_a_restart(tmp_path):
    messages = [Metadata({"n_frames": 10}), block([0, 1, 1]), Rejected("torn"), Dropped(np.array([5, 5, 6, -3]))]
    run(tmp_path, messages)
    assert read_dropped(tmp_path) == [5, 6]
    run(tmp_path, [block([1, 2, 5]), Rejected("torn"), End()])
    state = read_state(tmp_path)
    assert (state["n_frames"], state["received"], state["spooled"], state["repeated"]) == (10, 6, 4, 2)
    assert (state["rejected"], state["dropped"], read_dropped(tmp_path)) == (2, 1, [6])


@pytest.mark.parametrize("name", ["write_frames", "write_positions", "write_metadata", "flush"])
def test_a_disk_that_refuses_a_write_loses_that_and_no_more(tmp_path, monkeypatch, name):
    def step(k):
        positions = Positions(np.full((2, 2), float(k)), numbers=np.arange(2 * k, 2 * k + 2))
        return [(message, 0.0) for message in (Metadata({"energy_eV": 1.0 * k}), block([2 * k, 2 * k + 1]), positions)]

    receiver = Receiver(tmp_path)
    for k in range(6):
        receiver.handle(step(k))
    write, calls = getattr(receiver.writer, name), []

    def refuse(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(receiver.writer, name, refuse)
    for k in range(6, 12):
        receiver.handle(step(k))
    receiver.handle([(End(), 0.0)])
    receiver.finish("stopped")
    assert len(calls) > 1
    reader, lost = SpoolReader(tmp_path), read_dropped(tmp_path)
    frames = reader.read_frames()[1]["numbers"].tolist()
    assert lost == ([12, 13] if name == "write_frames" else [])
    assert sorted(frames + lost) == list(range(24))
    positions = reader.read_positions()
    assert dict(zip(positions["numbers"].tolist(), positions["positions_m"][:, 0].tolist(), strict=True)) == {
        n: n // 2 for n in range(24)
    }
    assert read_metadata(tmp_path)["energy_eV"] == (6 if name == "write_metadata" else 11)


def test_a_state_that_cannot_be_written_does_not_end_the_reception(tmp_path):
    (tmp_path / "receiver.json").mkdir()
    run(tmp_path, [block(range(20)), End()])
    assert len(SpoolReader(tmp_path).read_frames()[0]) == 20


def test_a_segment_that_is_lost_costs_its_frames_by_number_and_no_position(tmp_path, monkeypatch):
    receiver = Receiver(tmp_path)
    abandon, flush = receiver.writer.abandon, receiver.writer.flush

    def lose():
        abandon()
        for path in tmp_path.glob("*.h5"):
            path.unlink()

    def refuse():
        monkeypatch.setattr(receiver.writer, "flush", flush)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(receiver.writer, "abandon", lose)
    monkeypatch.setattr(receiver.writer, "flush", refuse)
    receiver.handle([(block(range(12)), 0.0), (Positions(np.ones((2, 2)), numbers=np.arange(2)), 0.0)])
    monkeypatch.setattr(receiver.writer, "abandon", abandon)
    receiver.handle([(block(range(10, 20)), 0.0), (End(), 0.0)])
    receiver.finish("stopped")
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == list(range(10, 20))
    assert SpoolReader(tmp_path).read_positions()["numbers"].tolist() == [0, 1]
    assert read_dropped(tmp_path) == list(range(10))
