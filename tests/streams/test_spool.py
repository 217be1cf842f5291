"""Laws of the spool: what was flushed is read once, in order, whatever becomes of the writer."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ptypinn.errors import InputError
from ptypinn.streams.messages import Frames, Metadata, Positions
from ptypinn.streams.spool import NO_NUMBER, SpoolReader, list_segments, read_metadata
from ptypinn.streams.spool_writer import SpoolWriter


def frames(numbers, size=8, dtype=np.uint16):
    numbers = np.asarray(numbers, np.int64)
    counts = (numbers[:, None, None] + np.arange(size * size).reshape(size, size)).astype(dtype)
    return Frames(numbers, counts, numbers / 10.0)


def write(writer, numbers, dtype=np.uint16):
    assert writer.write_frames(frames(numbers, dtype=dtype), np.zeros(len(numbers)))
    writer.flush()


def test_a_reader_gets_every_frame_once_while_the_spool_grows(tmp_path):
    writer, reader = SpoolWriter(tmp_path), SpoolReader(tmp_path)
    assert len(reader.read_frames()[0]) == 0
    places = []
    for numbers in ([0, 1, 2], [5], [3, 9, 4]):
        write(writer, numbers)
        new, columns = reader.read_frames()
        assert columns["numbers"].tolist() == numbers
        assert np.allclose(columns["times_s"], np.array(numbers) / 10)
        places.append(new)
    counts = reader.read_counts(np.concatenate(places)[::-1])
    assert np.array_equal(counts, frames([4, 9, 3, 5, 2, 1, 0]).counts)
    assert np.array_equal(reader.pick_counts(np.concatenate(places))[2:5], frames([2, 5, 3]).counts)
    writer.close()
    reader.close()


def test_positions_before_the_first_frame_and_by_time(tmp_path):
    writer, reader = SpoolWriter(tmp_path), SpoolReader(tmp_path)
    writer.write_positions(Positions(np.ones((2, 2)), numbers=np.array([4, 5])), np.full(2, 7.0))
    write(writer, [4])
    writer.write_positions(Positions(np.zeros((1, 2)), times_s=np.array([0.5])), np.full(1, 8.0))
    writer.flush()
    positions = reader.read_positions()
    assert positions["numbers"].tolist() == [4, 5, NO_NUMBER]
    assert positions["times_s"][2] == 0.5
    assert positions["arrivals_s"].tolist() == [7, 7, 8]
    assert reader.read_frames()[1]["numbers"].tolist() == [4]
    writer.close()


def test_a_second_writer_goes_on_in_a_segment_of_its_own(tmp_path):
    first = SpoolWriter(tmp_path)
    write(first, [0, 1])
    second = SpoolWriter(tmp_path)
    write(second, [2])
    assert len(list_segments(tmp_path)) == 2
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == [0, 1, 2]
    first.close()
    second.close()


def test_facts_about_the_scan_are_merged(tmp_path):
    writer = SpoolWriter(tmp_path)
    mask = np.eye(3, dtype=bool)
    writer.write_metadata(Metadata({"energy_eV": 6200.0, "mask": mask}, "series 7"))
    writer.write_metadata(Metadata({"n_frames": np.int64(12)}))
    values = read_metadata(tmp_path)
    assert values.pop("mask").tolist() == mask.tolist()
    assert values == {"energy_eV": 6200.0, "name": "series 7", "n_frames": 12}
    SpoolWriter(tmp_path).write_metadata(Metadata({"energy_eV": 6300.0}))
    assert read_metadata(tmp_path)["n_frames"] == 12


def test_frames_of_another_shape_are_refused(tmp_path):
    writer = SpoolWriter(tmp_path)
    write(writer, [0])
    with pytest.raises(InputError, match="9 x 9 pixels of uint16, expected 8 x 8"):
        writer.write_frames(frames([1], size=9), np.zeros(1))
    assert SpoolReader(tmp_path).read_frames()[1]["numbers"].tolist() == [0]


def test_space_on_the_disk_is_left_free(tmp_path):
    assert not SpoolWriter(tmp_path, min_free_bytes=2**62).write_frames(frames([0]), np.zeros(1))


WRITER = """
import sys
import numpy as np
from ptypinn.streams.messages import Frames
from ptypinn.streams.spool_writer import SpoolWriter
from pathlib import Path

writer = SpoolWriter(Path(sys.argv[1]))
for start in range(0, 10**9, 7):
    numbers = np.arange(start, start + 7)
    counts = (numbers[:, None, None] + np.arange(64).reshape(8, 8)).astype(np.uint32)
    writer.write_frames(Frames(numbers, counts), np.zeros(7))
    writer.flush()
    print(start + 7, flush=True)
"""


@pytest.mark.parametrize("moment", range(3))
def test_a_writer_that_is_killed_leaves_all_that_it_flushed(tmp_path, moment):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(3 + 11 * moment)]
        time.sleep(0.003 * moment)
        os.kill(process.pid, signal.SIGKILL)
        flushed = int((lines + process.stdout.readlines())[-1])
    reader = SpoolReader(tmp_path)
    places, columns = reader.read_frames()
    assert columns["numbers"].tolist() == list(range(len(places)))
    assert len(places) >= flushed
    assert np.array_equal(reader.read_counts(places)[:, 0, 0], np.arange(len(places)))
    writer = SpoolWriter(tmp_path)
    write(writer, [10**9], np.uint32)
    assert reader.read_frames()[1]["numbers"].tolist() == [10**9]


def test_a_process_that_only_reads_opens_a_compressed_spool(tmp_path):
    writer = SpoolWriter(tmp_path)
    write(writer, [3, 4])
    writer.close()
    code = """
import sys
from pathlib import Path
from ptypinn.streams.spool import SpoolReader

reader = SpoolReader(Path(sys.argv[1]))
print(reader.read_counts(reader.read_frames()[0]).sum())
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) == frames([3, 4]).counts.sum()
