"""Files that grow: everything arrives once it is there, parts appear one by one, damaged ones are named."""

import h5py
import numpy as np
import pytest
from dectris_stream import make_frames
from hdf5_writer import PER_FILE, write_master, write_part
from plain_stream import make_path
from stream_helpers import all_frames, all_positions, collect, parts, publisher

from ptypinn.errors import InputError
from ptypinn.io.load_save import save
from ptypinn.streams.messages import End, Frames, Metadata, Rejected
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.registry import open_source

FRAMES = make_frames(90, 8)
PATH = make_path(90)
QUICK = SourceOptions(idle_s=0.2)
FACTS = {"energy_eV": 8000.0, "detector_distance_m": 2.0, "detector_pixel_m": 75e-6}


def check_facts(messages):
    facts = parts(messages, Metadata)[-1].values
    assert {name: pytest.approx(facts[name]) for name in FACTS} == FACTS
    return facts


def check_frames(messages, count=90):
    numbers, counts = all_frames(messages)
    assert numbers.tolist() == list(range(count)) and np.array_equal(counts, FRAMES[:count])
    assert sum(len(each.numbers) for each in parts(messages, Frames)) == count
    assert isinstance(messages[-1], End) and len(parts(messages, End)) == 1


@pytest.mark.parametrize("full", [False, True])
def test_frames_come_as_they_are_written(tmp_path, full):
    path = tmp_path / "scan.h5"
    path.write_bytes(b"")
    source = open_source(str(path), SourceOptions(idle_s=5.0))
    kind = "preallocated" if full else "swmr"
    with publisher("hdf5_writer.py", path, "--kind", kind, "--frames", 90, "--size", 8, "--rate", 250, silent=True):
        messages = collect(source)
    check_frames(messages)
    assert len(parts(messages, Frames)) > 3
    numbers, places = all_positions(messages)
    assert numbers.tolist() == list(range(90)) and np.allclose(places, PATH)
    assert not check_facts(messages)["mask"][1, 2] and parts(messages, Rejected) == []


def test_a_finished_scan_is_a_stream_that_ends(make_scan, tmp_path):
    scan = make_scan(20, truth=None)
    messages = collect(open_source(str(save(scan, tmp_path / "scan.h5")), QUICK))
    numbers, counts = all_frames(messages)
    assert np.array_equal(counts, scan.counts) and numbers.tolist() == list(range(20))
    assert np.allclose(all_positions(messages)[1], scan.positions_px * scan.pixel_size_m)
    assert np.array_equal(messages[0].values["mask"], scan.mask)


def test_data_files_that_appear_one_by_one(tmp_path):
    path = tmp_path / "scan_master.h5"
    write_master(path, FRAMES)
    source = open_source(str(path), SourceOptions(idle_s=10.0))
    with publisher("hdf5_writer.py", path, "--kind", "eiger", "--frames", 90, "--size", 8, "--rate", 200, silent=True):
        messages = collect(source)
    check_frames(messages)
    assert messages[-1] == End(90) and check_facts(messages)["n_frames"] == 90
    assert parts(messages, Rejected) == [] and len(parts(messages, Frames)) >= 3


@pytest.mark.parametrize("numbered", [True, False])
def test_a_folder_is_its_files_in_order(tmp_path, numbered):
    for place in (0, 40, 20):
        write_part(tmp_path / f"scan_data_{place // PER_FILE + 1:06d}.h5", FRAMES[place:][:PER_FILE], place, numbered)
    (tmp_path / "notes.txt").write_text("no part")
    check_frames(collect(open_source(str(tmp_path), QUICK)), 60)


def test_a_folder_whose_first_file_comes_last(tmp_path):
    source = open_source(str(tmp_path), SourceOptions(idle_s=1.5))
    messages = []
    for message in source.messages():
        messages += [] if message is None else [message]
        files = len(list(tmp_path.glob("*.h5")))
        if message is None and files < 3:
            place = (20, 40, 0)[files]
            write_part(tmp_path / f"scan_data_{place // PER_FILE + 1:06d}.h5", FRAMES[place:][:PER_FILE], place, False)
            write_part(tmp_path / "other.h5", FRAMES[:3], 0, False) if files == 2 else None
    check_frames(messages, 60)
    assert ["other.h5" in message.reason for message in parts(messages, Rejected)] == [True]


def test_a_damaged_part_is_named_and_the_others_arrive(tmp_path):
    path = tmp_path / "scan_master.h5"
    write_master(path, FRAMES)
    for place in range(0, 90, PER_FILE):
        write_part(tmp_path / f"scan_data_{place // PER_FILE + 1:06d}.h5", FRAMES[place:][:PER_FILE], place)
    broken = tmp_path / "scan_data_000002.h5"
    broken.write_bytes(broken.read_bytes()[:500])
    (tmp_path / "scan_data_000004.h5").unlink()
    messages = collect(open_source(str(path), SourceOptions(idle_s=0.05)))
    numbers, counts = all_frames(messages)
    expected = [*range(20), *range(40, 60), *range(80, 90)]
    assert numbers.tolist() == expected and np.array_equal(counts, FRAMES[expected])
    reasons = [message.reason for message in parts(messages, Rejected)]
    assert len(reasons) == 2 and "scan_data_000002.h5" in reasons[0] and "scan_data_000004.h5: no frames" in reasons[1]


def test_no_link_leads_out_of_the_folder(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    write_part(outside / "secret.h5", FRAMES[:20], 0)
    path = inside / "scan_master.h5"
    write_master(path, FRAMES[:20])
    (inside / "scan_data_000001.h5").symlink_to(outside / "secret.h5")
    with pytest.raises(InputError, match="outside the folder"):
        collect(open_source(str(path), QUICK))
    messages = []
    path.unlink()
    write_master(path, FRAMES[:20])
    (inside / "scan_data_000001.h5").unlink()
    source = open_source(str(path), QUICK)
    for message in source.messages():
        if message is None and not (inside / "scan_data_000001.h5").is_symlink():
            (inside / "scan_data_000001.h5").symlink_to(outside / "secret.h5")
        messages.append(message)
    assert parts(messages, Frames) == [] and "outside the folder" in parts(messages, Rejected)[0].reason


@pytest.mark.parametrize("query", ["", "?positions=stage/yx"])
def test_positions_of_another_file(tmp_path, query):
    path, stage = tmp_path / "scan_master.h5", tmp_path / ("stage.h5" if query else "stage.csv")
    write_master(path, FRAMES)
    for place in range(0, 90, PER_FILE):
        write_part(tmp_path / f"scan_data_{place // PER_FILE + 1:06d}.h5", FRAMES[place:][:PER_FILE], place)
    if query:
        with h5py.File(stage, "w") as file:
            file["stage/yx"] = PATH * 1e6
        messages = collect(open_source(str(path), SourceOptions(f"{stage}{query}", "um", 0.2)))
    else:
        stage.write_text("")
        with publisher("hdf5_writer.py", stage, "--kind", "table", "--frames", 90, "--rate", 400, silent=True):
            messages = collect(open_source(str(path), SourceOptions(str(stage), idle_s=5.0)))
    check_frames(messages)
    numbers, places = all_positions(messages)
    assert numbers.tolist() == list(range(90)) and np.allclose(places, PATH)


def test_named_datasets_and_a_stated_number(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["my/frames"], file["my/yx"] = FRAMES, PATH * 1e3
        file["my/yx"].attrs["units"] = "mm"
    source = open_source(f"{tmp_path}/scan.h5?data=my/frames&positions=my/yx&frames=90")
    messages = collect(source, limit_s=5)
    check_frames(messages)
    assert np.allclose(all_positions(messages)[1], PATH) and messages[-1] == End(90)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no HDF5", "something else, expected an HDF5 file"), (None, "no frames, expected a stack of frames")],
)
def test_a_file_that_is_no_scan(tmp_path, content, message):
    path = tmp_path / "scan.h5"
    if content is None:
        h5py.File(path, "w").close()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        collect(open_source(str(path), SourceOptions(idle_s=0.2)))
    assert "\n" not in str(error.value)


def test_huge_declared_frames_are_not_read(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("entry/data/data", (4, 1 << 20, 1 << 20), "u4", chunks=(1, 64, 64))
    messages = collect(open_source(f"{tmp_path}/scan.h5", SourceOptions(idle_s=0.2)))
    assert parts(messages, Frames) == [] and "shape (4, 1048576, 1048576)" in parts(messages, Rejected)[0].reason
