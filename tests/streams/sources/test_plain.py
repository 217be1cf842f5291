"""Plain ZeroMQ messages, and positions from a second stream beside the frames."""

import json

import numpy as np
import pytest
from dectris_stream import make_frames
from hypothesis import given
from hypothesis import strategies as st
from plain_stream import frame, make_path, message
from stream_helpers import all_frames, all_positions, collect, parts, publisher

from ptypinn.errors import InputError
from ptypinn.streams.messages import End, Frames, Metadata, Positions, Rejected
from ptypinn.streams.sources import merged
from ptypinn.streams.sources.decode import MalformedError, understand
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.plain import parse_plain
from ptypinn.streams.sources.registry import open_source

COUNTS = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", "float32", "float64"])
@pytest.mark.parametrize("compression", ["none", "lz4", "bslz4"])
def test_frames_are_what_was_sent(dtype, compression):
    counts = np.tile(COUNTS[0].astype(dtype), (8, 8))
    (frames,) = parse_plain(frame(3, counts, compression, time_s=1.5)).messages
    assert frames.counts.dtype == dtype and np.array_equal(frames.counts[0], counts)
    assert frames.numbers.tolist() == [3] and frames.times_s.tolist() == [1.5]


def test_a_block_has_numbers_times_and_positions():
    extra = {"positions": [[0, 1], [2, 3], [4, 5]], "unit": "um", "times_s": [0, 1, 2.5]}
    frames, positions = parse_plain(frame(7, COUNTS, **extra)).messages
    assert np.array_equal(frames.counts, COUNTS) and frames.numbers.tolist() == [7, 8, 9]
    assert frames.times_s.tolist() == [0, 1, 2.5] and positions.numbers.tolist() == [7, 8, 9]
    assert np.allclose(positions.positions_m, np.arange(6).reshape(3, 2) * 1e-6, rtol=1e-12)
    (frames,) = parse_plain(message("frame", COUNTS.tobytes(), numbers=[4, 1, 9], **form(COUNTS))).messages
    assert frames.numbers.tolist() == [4, 1, 9]


def form(counts):
    return {"shape": list(counts.shape), "dtype": str(counts.dtype)}


def test_positions_come_as_a_list_or_as_bytes():
    path = make_path(25)
    listed = parse_plain(message("positions", numbers=list(range(25)), positions_m=path.tolist())).messages[0]
    packed = parse_plain(message("positions", path.tobytes(), number=0, shape=[25, 2])).messages[0]
    timed = parse_plain(message("positions", times_s=[0.5], positions=[[1, 2]]), unit="nm").messages[0]
    assert np.array_equal(listed.positions_m, path) and listed.numbers.tolist() == list(range(25))
    assert np.allclose(packed.positions_m, path) and packed.numbers.tolist() == list(range(25))
    assert np.allclose(timed.positions_m, [[1e-9, 2e-9]], rtol=1e-12) and timed.times_s.tolist() == [0.5]
    assert timed.numbers is None


def test_starts_and_ends():
    mask = np.array([[1, 0], [1, 1]], np.uint8)
    fields = {
        "name": "scan 12",
        "n_frames": 7,
        "energy_eV": 8000,
        "particle": "electron",
        "series": 3,
        "beam_centre_px": [3, 4.5],
    }
    part = parse_plain(message("start", mask.tobytes(), shape=[2, 2], **fields))
    values = dict(part.messages[0].values)
    assert np.array_equal(values.pop("mask"), mask == 1) and part.messages[0].name == "scan 12"
    assert (
        values == {"n_frames": 7, "energy_eV": 8000.0, "particle": "electron", "beam_centre_px": (3.0, 4.5)}
        and part.series == "series 3"
    )
    assert parse_plain(message("end", n_frames=7)).messages == [End(7)]
    assert parse_plain(message("end")).messages == [End()]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "htype None"),
        ([b"text"], "no JSON"),
        ([b"[1]"], "no JSON object"),
        ([b"[" * 100000], "nested too deeply"),
        (message("film"), "htype 'film'"),
        (message("frame", number=1, **form(COUNTS)), "3 frames in 1 parts"),
        (message("frame", b"", number=1, shape=[1 << 60, 4, 4], dtype="uint8"), "frames in 2 parts"),
        (message("frame", b"", number=1, shape=[1 << 40, 1 << 40], dtype="uint8"), "more than 256 MiB"),
        (message("frame", b"abc", number=1, shape=[2, 2], dtype="uint8"), "3 bytes for shape [2, 2]"),
        (message("frame", b"abcd", shape=[2, 2], dtype="uint8"), "neither number nor numbers"),
        (message("frame", b"abcd", number=1, shape=[2, 2], dtype="O"), "dtype 'O'"),
        (message("frame", b"abcd", number=1, shape=[2, 2], dtype="uint8", compression="zip"), "'zip'"),
        (message("frame", b"abcd", number=1, shape=[2, 2], dtype="uint8", compression="lz4-block"), "lz4-block"),
        (message("frame", b"abcd", number=1, shape=[2, 2], dtype="uint8", time_s=float("inf")), "time_s inf"),
        (message("frame", b"abcd", number=1, shape=[2, 2], dtype="uint8", positions_m=[1, float("nan")]), "finite"),
        (message("frame", b"abcd", number=1, shape=[2, 2], dtype="uint8", positions_m=[[1, 2], [3, 4]]), "(2, 2)"),
        (message("frame", b"abcd", number=1, shape=[1, 2, 2], dtype="uint8", numbers=[1, 2]), "2 numbers of 1"),
        (message("frame", b"abcd", number=1, shape=[1, 2, 2], dtype="uint8", times_s=[1, 2]), "2 times of 1"),
        (message("frame", b"abcd", number=True, shape=[2, 2], dtype="uint8"), "number True"),
        (message("positions", numbers=[1], positions_m=[[1, 2, 3]]), "positions_m"),
        (message("positions", numbers=[1.5], positions_m=[[1, 2]]), "numbers"),
        (message("positions", numbers=[-1], positions_m=[[1, 2]]), "numbers"),
        (message("positions", numbers=[1, 2], positions_m=[[1, 2]]), "2 numbers of 1"),
        (message("positions", numbers=[1], positions_m=[["a", "b"]]), "positions_m"),
        (message("positions", numbers=[1], positions_m=[[1, 2], [3]]), "positions_m"),
        (message("positions", numbers=[1], positions_m=[[10**400, 2]]), "positions_m"),
        (message("positions", positions_m=[[1, 2]]), "without numbers or times"),
        (message("positions", numbers=[1], positions=[[1, 2]], unit="furlong"), "unit 'furlong'"),
        (message("positions", b"12345678" * 3, number=1, shape=[2, 2]), "24 bytes"),
        (message("start", energy_eV=-1), "not positive"),
        (message("start", n_frames=1.5), "n_frames 1.5"),
        (message("start", particle="muon"), "'muon'"),
        (message("start", beam_centre_px=[1]), "beam_centre_px"),
        (message("start", beam_centre_px="middle"), "beam_centre_px"),
        (message("start", b"12", shape=[3, 3]), "2 bytes"),
        (message("end", n_frames="all"), "n_frames 'all'"),
        (message("end", series=[1]), "series [1]"),
    ],
)
def test_wrong_messages_are_named(parts, reason):
    with pytest.raises(MalformedError) as error:
        parse_plain(parts)
    assert reason.replace("(2, 2)", "[2, 2]") in str(error.value) and len(str(error.value)) < 160


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = ("number", "numbers", "shape", "dtype", "compression", "time_s", "times_s", "positions_m", "positions", "unit")


@given(
    st.sampled_from(["frame", "positions", "start", "end", "other"]),
    st.dictionaries(st.sampled_from([*NAMES, "n_frames", "name", "series", "energy_eV"]), JSON),
    st.lists(st.binary(max_size=64), max_size=3),
)
def test_any_json_is_read_or_rejected(htype, fields, blobs):
    content = [json.dumps({"htype": htype, **fields}).encode(), *blobs]
    for outcome in understand(lambda parts: parse_plain(parts).messages, content):
        assert isinstance(outcome, Frames | Positions | Metadata | End | Rejected)
        if isinstance(outcome, Rejected):
            assert len(outcome.reason) <= 160 and outcome.reason.isprintable()


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_are_rejected(content):
    assert isinstance(understand(lambda parts: parse_plain(parts).messages, content)[0], Rejected)


@pytest.mark.parametrize(
    ("options", "query"),
    [(("--socket", "push"), ""), (("--socket", "pub", "--topic", "frames"), "?socket=sub&topic=frames")],
)
def test_frames_and_positions_over_loopback(options, query):
    with publisher("plain_stream.py", "--frames", 200, "--size", 16, "--compression", "bslz4", *options) as port:
        source = open_source(f"zmq://127.0.0.1:{port}{query}")
        messages = collect(source)
        source.close()
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(200)) and np.array_equal(counts, make_frames(200, 16))
    numbers, places = all_positions(messages)
    assert numbers.tolist() == list(range(200)) and np.allclose(places, make_path(200))
    assert messages[0].name == "test" and messages[0].values["n_frames"] == 200 and messages[-1] == End(200)


@pytest.mark.parametrize("delay_s", [0.0, 0.4])
def test_positions_come_from_a_second_stream(delay_s):
    detector = publisher("dectris_stream.py", "--frames", 200, "--size", 16, "--rate", 1000)
    stage = publisher("plain_stream.py", "--frames", 200, "--what", "positions", "--rate", 1000, "--delay-s", delay_s)
    with detector as frames_port, stage as positions_port:
        options = SourceOptions(positions=f"zmq://127.0.0.1:{positions_port}")
        source = open_source(f"dectris://127.0.0.1:{frames_port}", options)
        messages = collect(source)
        source.close()
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(200)) and np.array_equal(counts, make_frames(200, 16))
    numbers, places = all_positions(messages)
    assert numbers.tolist() == list(range(200)) and np.allclose(places, make_path(200))
    assert messages[-1] == End() and len(parts(messages, End)) == 1 and parts(messages, Rejected) == []


def test_a_publisher_that_is_killed_and_started_again():
    options = ("--frames", 100, "--size", 16)
    messages = []
    with publisher("plain_stream.py", *options, "--rate", 20, interactive=True) as (process, port):
        source = open_source(f"zmq://127.0.0.1:{port}")
        stream = source.messages()
        while not parts(messages, Frames):
            messages += [message for message in [next(stream)] if message is not None]
        process.kill()
    with publisher("plain_stream.py", *options, "--port", port):
        messages += [message for message in stream if message is not None]
    source.close()
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(100)) and np.array_equal(counts, make_frames(100, 16))
    assert len(parts(messages, Metadata)) == 2 and messages[-1] == End(100)


def test_a_stage_that_never_stops_does_not_keep_a_scan_open(monkeypatch):
    monkeypatch.setattr(merged, "MAX_GRACE_S", 0.3)

    class Stage:
        can_wait = False

        def messages(self):
            while True:
                yield Positions(np.zeros((1, 2)), None, np.zeros(1))

        def close(self):
            pass

    class Detector(Stage):
        def messages(self):
            yield Frames(np.arange(1), np.zeros((1, 2, 2)))
            yield End(1)

    messages = collect(merged.MergedSource(Detector(), Stage(), idle_s=0.3), limit_s=5)
    assert messages[-1] == End(1) and len(parts(messages, Frames)) == 1


def test_what_the_user_gave_wrong_is_raised_by_both(tmp_path):
    (tmp_path / "scan.h5").write_bytes(b"no HDF5")
    source = open_source(f"{tmp_path}/scan.h5", SourceOptions(positions="zmq://127.0.0.1:1", idle_s=0.3))
    with pytest.raises(InputError, match="HDF5"):
        collect(source)
    source.close()


def test_a_source_that_is_closed_ends():
    source = open_source("zmq://127.0.0.1:1", SourceOptions(positions="zmq://127.0.0.1:2"))
    messages = source.messages()
    assert next(messages) is None
    messages.close()
    source.close()


@pytest.mark.parametrize(
    "address", ["zmq://nowhere", "zmq:host:1", "zmq://host:99999999", "dectris://", "zmq://h:1?socket=x"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(InputError) as error:
        open_source(address)
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zmq", None)
    monkeypatch.delitem(__import__("sys").modules, "ptypinn.streams.sources.zeromq", raising=False)
    with pytest.raises(InputError, match=r"pip install 'ptypinn\[live\]'"):
        open_source("zmq://127.0.0.1:1")
