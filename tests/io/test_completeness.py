"""A file that is cut off, or open for writing, is not complete; one that was closed is."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.io.completeness import OPEN, describe_incomplete

LIBRARIES = ("earliest", "latest", ("v110", "v110"))


def write(path, library, block, rows=7, **options):
    file = h5py.File(path, "w", libver=library, userblock_size=block, **options)
    file.create_dataset("frames", data=np.random.default_rng(0).random((rows, 8, 8)), maxshape=(None, 8, 8))
    return file


@given(
    library=st.sampled_from(LIBRARIES), block=st.sampled_from([0, 512, 4096]), part=st.floats(0, 1, exclude_max=True)
)
@settings(max_examples=25, deadline=None)
def test_hdf5_files_are_complete_when_they_are_closed_and_no_part_of_them_is(tmp_path_factory, library, block, part):
    path = tmp_path_factory.mktemp("hdf5") / "scan.h5"
    write(path, library, block).close()
    assert describe_incomplete(path) == ""
    content = path.read_bytes()
    length = int(part * len(content))
    path.write_bytes(content[:length])
    headless = 0 < length < block + 48  # nothing shows yet that it will be HDF5
    assert headless or describe_incomplete(path)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("locking", [True, False])
def test_a_file_that_is_open_for_writing_is_not_complete(tmp_path, library, locking):
    path = tmp_path / "scan.h5"
    with write(path, library, 0, locking=locking) as file:
        assert describe_incomplete(path)
        file.flush()
        if locking or library != "earliest":
            assert describe_incomplete(path) == OPEN
    assert describe_incomplete(path) == ""


def test_looking_is_not_in_the_way_of_a_writer(tmp_path):
    path = tmp_path / "scan.h5"
    write(path, "latest", 0).close()
    for _ in range(5):
        assert describe_incomplete(path) == ""
        with h5py.File(path, "a", locking=True) as file:
            file["frames"][0] = 1


def test_a_swmr_file_is_complete_when_its_writer_closes_it(tmp_path):
    path = tmp_path / "scan.h5"
    with write(path, "latest", 0) as file:
        file.swmr_mode = True
        assert describe_incomplete(path) == OPEN
    assert describe_incomplete(path) == ""


@given(part=st.floats(0.05, 0.99))
@settings(max_examples=15, deadline=None)
def test_an_archive_is_complete_when_its_directory_is_there(tmp_path_factory, part):
    path = tmp_path_factory.mktemp("npz") / "scan.npz"
    np.savez(path, frames=np.ones((9, 8, 8)))
    assert describe_incomplete(path) == ""
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert describe_incomplete(path)


@given(content=st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_looked_at(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "scan.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + content)
    assert isinstance(describe_incomplete(path), str)
