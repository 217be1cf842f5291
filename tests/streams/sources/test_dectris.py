"""DECTRIS streams, both versions: what a detector sends arrives, what is damaged is rejected, and nothing breaks."""

import json

import cbor2
import numpy as np
import pytest
from dectris_stream import (
    end_v1,
    end_v2,
    header_v1,
    image_v1,
    image_v2,
    make_frames,
    start_v2,
    tagged,
)
from hypothesis import given
from hypothesis import strategies as st
from stream_helpers import all_frames, collect, parts, publisher

from ptypinn.streams.messages import End, Frames, Metadata, Rejected
from ptypinn.streams.sources.cbor_items import MAX_ITEMS
from ptypinn.streams.sources.decode import MalformedError, understand
from ptypinn.streams.sources.registry import open_source
from ptypinn.streams.sources.series import InSeries
from ptypinn.streams.sources.zeromq import parse_dectris

parse = parse_dectris()
SHAPED = np.arange(6 * 4, dtype=np.uint16).reshape(6, 4)


def reject(message):
    """Reason why a message is rejected; fails where it is not."""
    with pytest.raises(MalformedError) as error:
        parse(message)
    return str(error.value)


@pytest.mark.parametrize("encoding", ["none", "lz4", "bslz4"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("image", [image_v1, image_v2])
def test_frames_are_what_was_sent(image, dtype, encoding):
    counts = make_frames(1, 48, dtype=dtype)[0]
    counts[3, 5] = np.iinfo(dtype).max
    (frames,) = parse(image(12, counts, series=3, encoding=encoding)).messages
    assert frames.counts.dtype == dtype and np.array_equal(frames.counts, counts[np.newaxis])
    assert frames.numbers.tolist() == [12] and frames.times_s.tolist() == [0.0]


@pytest.mark.parametrize("image", [image_v1, image_v2])
def test_rows_and_columns_are_told_apart(image):
    (frames,) = parse(image(0, SHAPED, encoding="none")).messages
    assert np.array_equal(frames.counts[0], SHAPED)


def test_times_are_the_middle_of_the_exposure():
    first = parse(image_v1(0, SHAPED, start_ns=1_000_000_000, stop_ns=1_500_000_000)).messages[0]
    second = parse(image_v2(0, SHAPED, start=(100, 100), stop=(75, 50))).messages[0]
    assert first.times_s.tolist() == pytest.approx([1.25]) and second.times_s.tolist() == [1.25]


def test_big_endian_data_are_numbers_of_this_machine():
    message = image_v1(0, SHAPED.astype(">u2"), encoding="none")
    form = {**json.loads(message[1]), "encoding": ">", "type": "uint16"}
    (frames,) = parse([message[0], json.dumps(form).encode(), *message[2:]]).messages
    assert frames.counts.dtype.isnative and np.array_equal(frames.counts[0], SHAPED)


def test_headers_state_the_experiment():
    mask = np.ones((6, 4), bool)
    mask[2, 3] = False
    fields = {"photon_energy": 8000.5, "detector_distance": 2.5, "x_pixel_size": 75e-6, "nimages": 20, "ntrigger": 3}
    centre = {"beam_center_x": 1.75, "beam_center_y": 2.5}
    named = {"incident_energy": 8000.5, "detector_translation": [0.0, 0.0, 2.5], "pixel_size_x": 75e-6}
    first = parse(header_v1(7, "all", mask, **fields, **centre)).messages[0]
    second = parse(start_v2(7, mask, number_of_images=60, **named, **centre)).messages[0]
    for message in (first, second):
        values = dict(message.values)
        assert np.array_equal(values.pop("mask"), mask) and message.name == "series 7"
        expected = {"energy_eV": 8000.5, "detector_distance_m": 2.5, "detector_pixel_m": 75e-6, "n_frames": 60}
        assert values == {**expected, "beam_centre_px": (2.5, 1.75)}
    assert parse(header_v1(7, "none")).messages[0] == Metadata({}, "series 7")
    assert parse(header_v1(1, wavelength=1.0, photon_energy=0)).messages[0].values["energy_eV"] == pytest.approx(
        12398.42, rel=1e-6
    )


def test_the_channel_is_the_first_or_the_one_that_is_named():
    message = image_v2(0, SHAPED, channels=("threshold_1", "threshold_2"))
    assert parse(message).messages[0].counts[0, 0, 0] == 0
    assert parse_dectris("threshold_2")(message).messages[0].counts[0, 0, 0] == 1
    with pytest.raises(MalformedError, match="no channel 'difference'"):
        parse_dectris("difference")(message)


def changed(part, **changes):
    """A JSON part of an image with other values; those of None are left out."""
    content = {**json.loads(part), **changes}
    return json.dumps({name: value for name, value in content.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("place", "changes", "reason"),
    [
        (0, {"htype": "dimage-1.0", "frame": -1}, "frame -1"),
        (0, {"frame": 1.5}, "frame 1.5"),
        (0, {"frame": True}, "frame True"),
        (0, {"frame": 10**40}, "frame a huge number"),
        (0, {"series": None}, "series None"),
        (0, {"htype": "dmovie-1.0"}, "htype 'dmovie-1.0'"),
        (1, {"shape": [1 << 30, 1 << 30]}, "more than 256 MiB"),
        (1, {"shape": [64]}, "shape"),
        (1, {"shape": [63, 64]}, "bytes"),
        (1, {"shape": [64, -64]}, "shape"),
        (1, {"shape": "64x64"}, "shape '64x64'"),
        (1, {"type": "object"}, "dtype 'object'"),
        (1, {"type": "uint32"}, "encoding 'bs16-lz4<' of uint32"),
        (1, {"encoding": "jpeg"}, "unknown compression 'jpeg'"),
        (1, {"encoding": "lz4<"}, "damaged lz4"),
        (1, {"encoding": "<"}, "bytes"),
        (3, {"start_time": "now"}, "start_time 'now'"),
        (3, {"start_time": float("nan")}, "start_time nan"),
    ],
)
def test_wrong_headers_are_named(place, changes, reason):
    message = image_v1(5, make_frames(1)[0])
    message[place] = changed(message[place], **changes)
    assert reason in reject(message)
    if place:
        assert understand(lambda content: parse(content).messages, message)[0].number == 5


@pytest.mark.parametrize("encoding", ["lz4", "bslz4"])
@pytest.mark.parametrize("image", [image_v1, image_v2])
def test_truncated_data_are_rejected(image, encoding):
    message = image(5, make_frames(1)[0], encoding=encoding)
    for cut in (0, 1, 11, 13, 100):
        broken = list(message)
        place = 2 if len(message) > 1 else 0
        broken[place] = message[place][:cut]
        assert reject(broken)


@pytest.mark.parametrize("image", [image_v1, image_v2])
def test_sizes_that_compressed_data_declare_are_not_believed(image):
    message = image(5, make_frames(1)[0])
    declared = (64 * 64 * 2).to_bytes(8, "big")
    place = 2 if len(message) > 1 else 0
    assert message[place].count(declared) == 1
    message[place] = message[place].replace(declared, (1 << 40).to_bytes(8, "big"))
    assert "bslz4 of 1099511627776 bytes for 8192" in reject(message)


def test_parts_that_are_missing_are_named():
    message = image_v1(5, SHAPED)
    assert "an image of 2 parts" in reject(message[:2])
    assert "an image of 1 parts" in reject(message[:1])
    assert parse(message[:3]).messages[0].times_s is None
    assert reject([]) and reject([b""])


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"htype": ' + b"9" * 1_000_000 + b"}",
        b'{"x": "' + b"y" * 5_000_000 + b'"}',
        b"\x81" * 1_000_000,
        b"\xa1\x61a" * 300_000,
        b"\xbf\x61a" * 300_000,
        b"\xa1\x61a\x9b" + b"\x0f" * 8 + b"\x80" * 1_000_000,
        b"\xa1\x61a\x5b\x0f" + b"\x00" * 7,
        b"\xa1\x61a\xbb\x0f" + b"\x00" * 7,
        b"\xa1\x61a\xc5\x82\x1b\x7f" + b"\xff" * 7 + b"\x03",
        b"\xd9\xd9\xf7" * 1000,
    ],
    ids=range(12),
)
def test_bombs_do_no_harm(bomb):
    assert len(reject([bomb])) < 200


def test_large_messages_of_many_items_are_not_decoded():
    content = {"type": "start", "series_id": 1, "user_data": [[]] * (MAX_ITEMS + 1)}
    assert "items" in reject([cbor2.dumps({**content, "padding": b"x" * 70_000})])
    few = {**content, "user_data": [[]] * 100, "flatfield": b"x" * 200_000, "nested": {"a": [1.5, -3, None, "text"]}}
    assert isinstance(parse([cbor2.dumps(few)]).messages[0], Metadata)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image_id": -3}, "image_id -3"),
        ({"series_id": "one"}, "series_id 'one'"),
        ({"type": 3}, "type 3"),
        ({"type": "movie"}, "type 'movie'"),
        ({"data": {}}, "no map of channels"),
        ({"data": {"a": b"bytes"}}, "no value of the tag 40"),
        ({"data": {"a": cbor2.CBORTag(40, [[2, 2], b"bytes"])}}, "values of the tag None"),
        ({"data": {"a": cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(99, b"bytes")])}}, "values of the tag 99"),
        ({"data": {"a": cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(69, b"bytes")])}}, "5 bytes for shape [2, 2]"),
        ({"data": {"a": cbor2.CBORTag(40, [[1 << 40, 2], cbor2.CBORTag(69, b"")])}}, "more than 256 MiB"),
        ({"data": {"a": cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(69, "text")])}}, "an array without bytes"),
        (
            {
                "data": {
                    "a": cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(69, cbor2.CBORTag(56500, ["zip", 2, b"x" * 20]))])
                }
            },
            "unknown compression 'zip'",
        ),
        ({"start_time": [1, 0]}, "no rational number"),
        ({"start_time": 1.5}, "no rational number"),
        ({"start_time": [1 << 80, 1]}, ""),
    ],
)
def test_wrong_values_in_cbor_are_named(changes, reason):
    content = {"type": "image", "series_id": 1, "image_id": 3, "data": {"a": tagged(SHAPED)}}
    assert len(parse([cbor2.dumps(content)]).messages) == 1
    if reason:
        assert reason in reject([cbor2.dumps({**content, **changes})])
    else:
        assert parse([cbor2.dumps({**content, **changes})]).messages


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_are_rejected(message):
    outcome = understand(lambda content: parse(content).messages, message)
    assert all(isinstance(each, Rejected) and each.reason and "\n" not in each.reason for each in outcome)


VALID = [
    image_v1(3, make_frames(1, 16)[0]),
    image_v1(3, make_frames(1, 16)[0], encoding="lz4"),
    image_v2(3, make_frames(1, 16)[0]),
    header_v1(1, "all", np.ones((4, 4), bool), nimages=3),
    start_v2(1, np.ones((4, 4), bool), number_of_images=3),
]


@given(st.sampled_from(VALID), st.randoms(use_true_random=False), st.integers(1, 6))
def test_damaged_messages_are_rejected_or_read(message, random, changes):
    broken = [bytearray(part) for part in message]
    for _ in range(changes):
        part = random.choice(broken)
        if part and random.random() < 0.2:
            del part[random.randrange(len(part)) :]
        elif part:
            part[random.randrange(len(part))] = random.randrange(256)
    for outcome in understand(lambda content: parse(content).messages, [bytes(part) for part in broken]):
        assert isinstance(outcome, Frames | Metadata | Rejected | End)
        if isinstance(outcome, Frames):
            assert outcome.counts.ndim == 3 and len(outcome.numbers) == len(outcome.counts)


@pytest.mark.parametrize("version", [1, 2])
def test_a_detector_over_loopback(version):
    with publisher("dectris_stream.py", "--version", version, "--frames", 300, "--size", 16, "--series", 4) as port:
        source = open_source(f"dectris://127.0.0.1:{port}")
        messages = collect(source)
        source.close()
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(300)) and np.array_equal(counts, make_frames(300, 16))
    expected = {"energy_eV": 8000.0, "detector_distance_m": 2.0, "detector_pixel_m": 75e-6, "n_frames": 300}
    assert messages[0] == Metadata(expected, "series 4") and messages[-1] == End()
    assert parts(messages, Rejected) == [] and len(parts(messages, Frames)) < 150


@pytest.mark.parametrize("version", [1, 2])
def test_a_thousand_damaged_messages_do_no_harm(version):
    options = ("--version", version, "--frames", 200, "--size", 16, "--junk", 1000)
    with publisher("dectris_stream.py", *options) as port:
        source = open_source(f"dectris://127.0.0.1:{port}")
        messages = collect(source)
        source.close()
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(200)) and np.array_equal(counts, make_frames(200, 16))
    assert len(parts(messages, Rejected)) > 900


@pytest.mark.parametrize(
    ("header", "image", "end"), [(header_v1, image_v1, end_v1), (start_v2, image_v2, end_v2)], ids=["v1", "v2"]
)
def test_every_series_is_a_scan(header, image, end):
    zmq = pytest.importorskip("zmq")
    messages = [
        end(1),
        header(2),
        image(0, SHAPED, 2),
        header(3),
        image(1, SHAPED, 2),
        image(0, SHAPED, 3),
        end(3),
        image(0, SHAPED, 4),
        end(4),
        header(2),
        image(0, SHAPED, 2),
        end(2),
    ]
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        source = open_source(f"dectris://127.0.0.1:{port}")
        for message in messages:
            socket.send_multipart(message)
        scans = [collect(source) for _ in range(4)]
        source.close()
    kinds = [[type(message).__name__ for message in scan] for scan in scans]
    assert kinds[0] == ["Metadata", "Frames", "End"]
    assert kinds[1] == ["Metadata", "Rejected", "Frames", "End"]
    assert kinds[2] == kinds[3] == ["Metadata", "Frames", "End"]
    assert [scan[0].name for scan in scans] == ["series 2", "series 3", "series 4", "series 2"]
    assert scans[1][1] == Rejected("a message of series 2, which is over", 1)


def test_a_series_has_what_belongs_to_it():
    assert parse(end_v1(3)) == InSeries("series 3", [End()])
    assert parse(end_v2(3)) == InSeries("series 3", [End()])
