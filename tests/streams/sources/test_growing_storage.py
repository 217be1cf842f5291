"""Files whose frames share their storage, that stay open, or that come after long pauses: nothing is lost or empty."""

import contextlib
import time

import h5py
import numpy as np
import pytest
from dectris_stream import make_frames
from hdf5_writer import PER_FILE, write_master, write_part
from stream_helpers import all_frames, collect, parts

from ptypinn.streams.messages import End, Frames, Rejected
from ptypinn.streams.sources import growing
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.registry import open_source

FRAMES = make_frames(9, 8) + 1
FRAMES[[4, 8]] = 0
QUICK = SourceOptions(idle_s=0.4)


@contextlib.contextmanager
def open_stack(path, frames, chunks, length=None, fill=0):
    """A stack of frames of a file in SWMR mode, of no frames at first or of a stated length."""
    shape = frames.shape[1:]
    form = {"fillvalue": fill} if chunks is None else {"fillvalue": fill, "chunks": chunks, "maxshape": (None, *shape)}
    with h5py.File(path, "w", libver="latest") as file:
        stack = file.create_dataset("entry/data/data", (length or 0, *shape), frames.dtype, **form)
        file.swmr_mode = True
        yield stack


def take_until_silent(stream, messages):
    """Add the messages of a stream up to its second silence to a list."""
    silent = 0
    while silent < 2:
        message = next(stream)
        silent += message is None
        messages += [] if message is None else [message]


def count_frames(messages):
    return sum(len(each.numbers) for each in parts(messages, Frames))


@pytest.mark.parametrize("fill", [0, 7])
@pytest.mark.parametrize(
    ("chunks", "length"),
    [((4, 8, 8), 9), ((4, 8, 8), None), ((4, 4, 8), 9), ((1, 4, 4), 9), ((1, 8, 8), 9), (None, 9)],
)
def test_frames_that_share_their_storage_are_taken_once_written(tmp_path, chunks, length, fill):
    frames, messages = np.where(FRAMES == 0, np.uint16(fill), FRAMES), []
    with open_stack(tmp_path / "scan.h5", frames, chunks, length, fill) as stack:
        stream = open_source(f"{tmp_path}/scan.h5?frames=9", QUICK).messages()
        for place in range(9):
            if not length:
                stack.resize(place + 1, axis=0)
            stack[place] = frames[place]
            stack.flush()
            if place in (0, 1, 3, 7):
                take_until_silent(stream, messages)
                assert count_frames(messages) >= place
        messages += [message for message in stream if message is not None]
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(9)) and np.array_equal(counts, frames)
    assert count_frames(messages) == 9 and messages[-1] == End(9)


def test_a_frame_of_several_chunks_waits_for_all_of_them(tmp_path):
    messages = []
    with open_stack(tmp_path / "scan.h5", FRAMES, (1, 4, 8), 2) as stack:
        stream = open_source(f"{tmp_path}/scan.h5?frames=2", QUICK).messages()
        for rows in (slice(0, 4), slice(4, 8)):
            stack[0, rows] = FRAMES[0, rows]
            stack.flush()
            take_until_silent(stream, messages)
        stack[1] = FRAMES[1]
        stack.flush()
        messages += [message for message in stream if message is not None]
    assert np.array_equal(all_frames(messages)[1], FRAMES[:2]) and count_frames(messages) == 2


@pytest.mark.parametrize("closes", [True, False])
def test_files_without_numbers_that_were_open_when_they_were_read(tmp_path, closes):
    messages = []
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(contextlib.ExitStack())
        for index, owner in ((1, first), (2, opened)):
            stack = owner.enter_context(open_stack(tmp_path / f"scan_{index:06d}.h5", FRAMES, (1, 8, 8), 3))
            stack[:] = FRAMES[3 * index - 3 : 3 * index]
            stack.flush()
        stream = open_source(str(tmp_path), SourceOptions(idle_s=1.5)).messages()
        take_until_silent(stream, messages)
        assert count_frames(messages) == 3
        if closes:
            first.close()
            stop = time.monotonic() + 1.3
            while count_frames(messages) < 6 and time.monotonic() < stop:
                take_until_silent(stream, messages)
            assert count_frames(messages) == 6
        messages += [message for message in stream if message is not None]
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(6)) and np.array_equal(counts, FRAMES[:6]) and count_frames(messages) == 6


def test_a_dark_end_of_a_file_comes_with_the_next_file(tmp_path):
    messages = []
    for index in (1, 2):
        with h5py.File(tmp_path / f"scan_{index:06d}.h5", "w") as file:
            file["entry/data/data"] = FRAMES if index == 1 else FRAMES[:4]
    take_until_silent(open_source(str(tmp_path), SourceOptions(idle_s=20.0)).messages(), messages)
    assert np.array_equal(all_frames(messages)[1], np.concatenate([FRAMES, FRAMES[:4]])) and len(messages) == 2


def test_frames_of_a_stated_number_are_waited_for_longer(tmp_path):
    frames, path = make_frames(2 * PER_FILE, 8), tmp_path / "scan_master.h5"
    write_master(path, frames)
    stream, messages = open_source(str(path), SourceOptions(idle_s=0.2)).messages(), []
    for place in (0, PER_FILE):
        for _ in range(3):
            take_until_silent(stream, messages)
        write_part(tmp_path / f"scan_data_{place // PER_FILE + 1:06d}.h5", frames[place:][:PER_FILE], place)
    messages += [message for message in stream if message is not None]
    assert np.array_equal(all_frames(messages)[1], frames) and messages[-1] == End(2 * PER_FILE)


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_scan_that_lost_frames_ends(tmp_path, monkeypatch, pause_s):
    monkeypatch.setattr(growing, "PATIENCE", 3.0)
    monkeypatch.setattr(growing, "PATIENCE_OF_PAUSES", 4.0)
    messages = []
    with open_stack(tmp_path / "scan.h5", FRAMES, (1, 8, 8), 9) as stack:
        stream = open_source(f"{tmp_path}/scan.h5?frames=9", SourceOptions(idle_s=0.2)).messages()
        for place in (0, 1, 3):
            stack[place] = FRAMES[place]
            stack.flush()
            start = time.monotonic()
            while count_frames(messages) < min(place, 2) + 1 or time.monotonic() < start + pause_s:
                messages += [message for message in [next(stream)] if message is not None]
        latest = time.monotonic() - pause_s
        messages += [message for message in stream if message is not None]
    assert messages[-1] == End(9) and max(0.6, 4 * pause_s) - 0.1 < time.monotonic() - latest < 5


def test_a_receiver_that_takes_long_does_not_end_a_scan(tmp_path):
    messages = []
    with open_stack(tmp_path / "scan.h5", FRAMES, (1, 8, 8), 9) as stack:
        stream = open_source(f"{tmp_path}/scan.h5", SourceOptions(idle_s=0.4)).messages()
        for place in range(3):
            stack[place] = FRAMES[place]
            stack.flush()
            messages.append(next(message for message in stream if isinstance(message, Frames)))
            time.sleep(0.5)
    assert [each.numbers.tolist() for each in messages] == [[0], [1], [2]]


def test_files_that_are_all_there_are_not_waited_for(tmp_path):
    path = tmp_path / "scan_master.h5"
    write_master(path, make_frames(PER_FILE, 8))
    (tmp_path / "scan_data_000001.h5").write_bytes(b"no HDF5")
    messages = collect(open_source(str(path), QUICK), limit_s=5)
    assert messages[-1] == End(PER_FILE) and len(parts(messages, Rejected)) == 1


def test_numbers_that_cannot_be_are_rejected(tmp_path):
    path = tmp_path / "scan_master.h5"
    write_master(path, make_frames(2 * PER_FILE, 8))
    for index, first in ((1, 0), (2, 2**33)):
        write_part(tmp_path / f"scan_data_{index:06d}.h5", make_frames(PER_FILE, 8), first)
    messages = collect(open_source(str(path), QUICK), limit_s=5)
    assert count_frames(messages) == PER_FILE and str(2**33 + PER_FILE - 1) in parts(messages, Rejected)[0].reason
