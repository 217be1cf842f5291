"""EPICS PV Access: images with positions of a second PV or of attributes, from a server on the loopback device."""

import os
import threading
import time

import numpy as np
import pytest
from dectris_stream import make_frames
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_stream import make_path
from pva_server import IMAGES, STAGE, image
from stream_helpers import TIMEOUT_S, all_frames, all_positions, parts, publisher

from ptypinn.errors import InputError
from ptypinn.streams.messages import Dropped, End, Frames, Metadata, Positions, Rejected
from ptypinn.streams.sources.decode import MalformedError, understand
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.pva_values import parse_image, parse_positions
from ptypinn.streams.sources.registry import open_source

pytest.importorskip("p4p")
COUNTS = make_frames(1, 48)[0][:32]
LOOPBACK = {"EPICS_PVA_ADDR_LIST": "127.0.0.1", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("codec", ["", "lz4", "bslz4"])
def test_images_are_what_was_sent(codec, dtype):
    counts = COUNTS.astype(dtype)
    frames, positions = parse_image(image(7, counts, codec, {"b": 2.0, "a": -1.5}, 12.25), 3, ["a", "b"], 1e-6)
    assert frames.counts.dtype == dtype and np.array_equal(frames.counts, counts[np.newaxis])
    assert frames.numbers.tolist() == [4] == positions.numbers.tolist() and frames.times_s.tolist() == [12.25]
    assert np.allclose(positions.positions_m, [[-1.5e-6, 2e-6]], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uniqueId": -5}, "uniqueId -5"),
        ({"uniqueId": "a"}, "uniqueId 'a'"),
        ({"uniqueId": 2}, "from 3 on"),
        ({"value": None}, "without numbers"),
        ({"value": np.array(["a"])}, "without numbers"),
        ({"dimension": []}, "shape []"),
        ({"dimension": [{"size": 2}] * 3}, "shape [2, 2, 2]"),
        ({"dimension": [{"size": 10}, {"size": 10}]}, "1536 values for shape [10, 10]"),
        ({"dimension": [{"size": 1 << 40}, {"size": 1 << 40}]}, "1536 values for shape"),
        ({"codec": {"name": "jpeg"}}, "unsupported codec 'jpeg'"),
        ({"codec": {"name": "blosc"}}, "unsupported codec 'blosc'"),
        ({"codec": {"name": "lz4", "parameters": 99}}, "dtype None"),
        ({"codec": {"name": "lz4", "parameters": 6}}, "lz4 of 3072 bytes for as many"),
        ({"attribute": [{"name": "a", "value": 1}]}, "no attribute 'b'"),
        ({"attribute": [{"name": "a", "value": 1}, {"name": "b", "value": np.nan}]}, "finite numbers"),
        ({"attribute": [{"name": "a", "value": 1}, {"name": "b", "value": "x"}]}, "finite numbers"),
    ],
)
def test_wrong_images_are_named(changes, reason):
    fields = {**image(5, COUNTS, attributes={"a": 1.0, "b": 2.0}), **changes}
    with pytest.raises(MalformedError) as error:
        parse_image(fields, 3, ["a", "b"])
    assert reason in str(error.value)


def test_positions_of_every_kind():
    table = {"y": [1.0, 2], "x": np.array([3, 4.0])}
    assert parse_positions({"value": table}).positions_m.tolist() == [[1, 3], [2, 4]]
    assert parse_positions({"value": {**table, "uniqueId": [12, 11]}}, first=10).numbers.tolist() == [2, 1]
    assert parse_positions({"value": {**table, "number": [4, 5]}}, first=10).numbers.tolist() == [4, 5]
    listed = parse_positions({"value": np.arange(6.0)}, factor=1e-3)
    assert np.allclose(listed.positions_m, np.arange(6).reshape(3, 2) * 1e-3) and listed.numbers.tolist() == [0, 1, 2]
    stamp = {"secondsPastEpoch": 3, "nanoseconds": 500_000_000}
    assert parse_positions({"value": np.ones(2), "timeStamp": stamp}).times_s.tolist() == [3.5]
    assert parse_positions({"value": np.ones(2), "uniqueId": 4}).numbers.tolist() == [4]


@pytest.mark.parametrize(
    "value",
    [
        {"value": np.ones(3)},
        {"value": np.ones(2)},
        {"value": np.array([1, np.nan])},
        {"value": "text"},
        {"value": {"y": [1.0]}},
        {"value": {"y": [1.0], "x": [1.0, 2]}},
        {"value": {"y": [1.0], "x": [1.0], "uniqueId": [1]}},
        {"value": {"y": [1.0], "x": [1.0], "number": [0.5]}},
        {},
    ],
)
def test_wrong_positions_are_rejected(value):
    with pytest.raises(MalformedError):
        parse_positions(value, first=2)


ANY = st.none() | st.integers() | st.floats() | st.text(max_size=5) | arrays(np.uint8, st.integers(0, 20))
FIELDS = st.dictionaries(st.sampled_from(["name", "value", "size", "parameters", "secondsPastEpoch"]), ANY)


@given(
    st.fixed_dictionaries(
        {"value": ANY, "uniqueId": ANY, "dimension": st.lists(FIELDS, max_size=3)},
        optional={"codec": FIELDS, "attribute": st.lists(FIELDS, max_size=3), "timeStamp": FIELDS},
    )
)
def test_any_value_is_read_or_rejected(value):
    for parse in (lambda each: parse_image(each, 0, ["y", "x"]), lambda each: [parse_positions(each)]):
        for outcome in understand(parse, value):
            assert isinstance(outcome, Frames | Positions | Rejected)


def receive(monkeypatch, query, *options):
    """All messages of a server's images."""
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    environment = {**os.environ, **LOOPBACK}
    with publisher("pva_server.py", *options, env=environment, interactive=True) as (process, line):
        assert line == "ready"
        source = open_source(f"pva://{IMAGES}?{query}", SourceOptions(idle_s=1.0))
        messages = []
        started = False
        for silent, message in enumerate(source.messages()):
            messages += [] if message is None else [message]
            assert silent < 100 * TIMEOUT_S
            if message is None and not started and silent > 3:
                process.stdin.write("\n")
                process.stdin.flush()
                started = True
        source.close()
    return messages


@pytest.mark.parametrize("codec", ["", "bslz4"])
def test_images_over_loopback(monkeypatch, codec):
    query = "positions=" + STAGE + "&frames=150"
    messages = receive(monkeypatch, query, "--frames", 150, "--positions", "table", "--size", 16, "--codec", codec)
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(150)) and np.array_equal(counts, make_frames(150, 16))
    numbers, places = all_positions(messages)
    assert numbers.tolist() == list(range(150)) and np.allclose(places, make_path(150))
    assert messages[0] == Metadata({"n_frames": 150}, IMAGES) and messages[-1] == End(150)
    assert parts(messages, Rejected) == []


def test_positions_in_attributes_and_a_frame_of_an_earlier_scan(monkeypatch):
    options = ("--frames", 60, "--positions", "attributes", "--size", 16, "--stale", 999)
    messages = receive(monkeypatch, "y=MotorY&x=MotorX", *options)
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(60)) and np.array_equal(counts, make_frames(60, 16))
    numbers, places = all_positions(messages)
    assert numbers.tolist() == list(range(60)) and np.allclose(places, make_path(60))
    assert messages[-1] == End(None)


class Server:
    """The context of a server that sends nothing of its own."""

    def __init__(self, *args, **options):
        self.receivers = []

    def monitor(self, name, receive, request):
        self.receivers.append(receive)
        return self

    def close(self):
        pass


def test_what_there_is_no_space_for_is_counted_by_number(monkeypatch):
    pva = pytest.importorskip("ptypinn.streams.sources.pva")
    monkeypatch.setattr(pva, "Context", Server)
    monkeypatch.setattr(pva, "INBOX_BYTES", 1)
    source = open_source(f"pva://{IMAGES}?first=10&frames=1&positions={STAGE}", SourceOptions(idle_s=0.1))
    image_of, position_of = source._context.receivers
    for number in (3, 10, 12, None, "a"):
        image_of({"value": COUNTS.ravel(), "uniqueId": number})
    position_of({"value": np.ones(2), "uniqueId": 11})
    messages = [message for message in source.messages() if message is not None]
    source.close()
    assert [message.numbers.tolist() for message in parts(messages, Dropped)] == [[0, 2]]
    reasons = [message.reason for message in parts(messages, Rejected)]
    assert len(reasons) == 4 and ["uniqueId" in reason for reason in reasons] == [True, True, True, False]


def follow(monkeypatch, sent, query, idle_s=0.2, pause_s=0.5, patience=30.0):
    """Messages of a source whose server sends numbers, a pause at every None."""
    pva = pytest.importorskip("ptypinn.streams.sources.pva")
    monkeypatch.setattr(pva, "Context", Server)
    monkeypatch.setattr(pva, "PATIENCE", patience)
    source = open_source(f"pva://{IMAGES}?{query}", SourceOptions(idle_s=idle_s))

    def send():
        for number in sent:
            if number is None:
                time.sleep(pause_s)
            else:
                source._context.receivers[0](image(number, COUNTS))

    sender = threading.Thread(target=send)
    sender.start()
    start_s = time.monotonic()
    messages = [message for message in source.messages() if message is not None]
    duration_s = time.monotonic() - start_s
    sender.join()
    source.close()
    return all_frames(messages)[0].tolist(), messages[-1], duration_s


@pytest.mark.parametrize("sent", [[0, 1, 1, 1, None, 2, None, 3], [0, None, 1, None, 3, 2], [0, 1, 2, 3]])
def test_a_stated_number_ends_the_scan_exactly_when_its_frames_have_come(monkeypatch, sent):
    numbers, end, duration_s = follow(monkeypatch, sent, "frames=4", idle_s=0.2)
    assert sorted(set(numbers)) == [0, 1, 2, 3] and end == End(4)
    assert duration_s < 0.5 * sent.count(None) + 3.0


@pytest.mark.parametrize(
    ("sent", "query", "patience", "end", "least_s"),
    [
        ([0, 1, 2], "frames=5", 4.0, End(5), 0.8),  # the last is still to come
        ([0, 1, 4], "frames=5", 40.0, End(5), 0.2),  # others are lost
        ([0, 1, 2], "", 40.0, End(None), 0.2),
    ],
)
def test_a_scan_whose_frames_do_not_come_ends_nevertheless(monkeypatch, sent, query, patience, end, least_s):
    numbers, last, duration_s = follow(monkeypatch, sent, query, 0.2, patience=patience)
    assert numbers == sent and last == end  # what is missing of the stated number follows from the end
    assert least_s <= duration_s < least_s + 4.0


@pytest.mark.parametrize("address", ["pva:", "pva:NAME", "pva://NAME?y=a", "pva://NAME?frames=x"])
def test_addresses_that_are_none(address):
    with pytest.raises(InputError):
        open_source(address)
