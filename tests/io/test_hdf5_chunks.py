"""Compressed chunks: sound ones of every filter are read, and damaged ones never reach a library that would crash."""

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import require_readable
from ptypinn.io.safe.hdf5_chunks import read_part
from ptypinn.io.safe.hdf5_open import DAMAGE

FILTERS = {
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle of small blocks": hdf5plugin.Bitshuffle(nelems=64, cname="lz4"),
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
    "blosc": hdf5plugin.Blosc(),
    "blosc2": hdf5plugin.Blosc2(),
    "bzip2": hdf5plugin.BZip2(),
}
UNSAFE = {32013: hdf5plugin.Zfp(accuracy=0.1), 32017: hdf5plugin.SZ(absolute=0.1), 4: {"compression": "szip"}}


def write(path, options, shape=(5, 16, 18), dtype="u2", chunks=(1, 16, 18)):
    values = np.random.default_rng(0).poisson(3, shape).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, chunks=chunks, **options)
    return values


def read(path):
    with h5py.File(path, "r") as file:
        require_readable(file["data"], path)
        return read_part(file["data"], (slice(None),) * file["data"].ndim)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f8", "c8"])
@pytest.mark.parametrize("chunks", [(1, 16, 18), (2, 7, 5), (5, 3, 1), (3, 64, 64)])
@pytest.mark.parametrize("checksum", [False, True])
def test_sound_chunks_of_any_shape_are_read(tmp_path, name, dtype, chunks, checksum):
    shape = tuple(max(pair) for pair in zip((5, 16, 18), chunks, strict=True))
    values = write(tmp_path / "a.h5", {**FILTERS[name], "fletcher32": checksum}, shape, dtype, chunks)
    np.testing.assert_array_equal(read(tmp_path / "a.h5"), values)


def test_chunks_that_are_stored_as_they_are_or_not_at_all_are_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (3, 8, 8), "u2", chunks=(1, 8, 8), **hdf5plugin.Bitshuffle())
        data.id.write_direct_chunk((1, 0, 0), np.full((8, 8), 7, "u2").tobytes(), filter_mask=1)
    assert read(tmp_path / "a.h5").mean((1, 2)).tolist() == [0, 7, 0]


@pytest.mark.parametrize("number", UNSAFE)
def test_filters_that_crash_on_damaged_data_are_refused(tmp_path, number):
    write(tmp_path / "a.h5", UNSAFE[number], dtype="f4")
    with pytest.raises(InputError, match=rf"filter {number} \(.*\), whose library .*h5repack -f GZIP=1"):
        read(tmp_path / "a.h5")


def test_data_compressed_twice_is_refused(tmp_path):
    write(tmp_path / "a.h5", {"compression": "gzip", "scaleoffset": 0})
    with pytest.raises(InputError, match="scaleoffset"):
        read(tmp_path / "a.h5")
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((2, 2))
    created.set_deflate(1)
    created.set_filter(32015, 0, (3,))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        data = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_INT16, h5py.h5s.create_simple((2, 2)), created)
        h5py.Dataset(data)[:] = 1
    with pytest.raises(InputError, match="compressed again by filter 32015"):
        read(tmp_path / "b.h5")


def find_chunk(path, number=2):
    with h5py.File(path, "r") as file:
        chunk = file["data"].id.get_chunk_info(number)
        values = file["data"].id.get_create_plist().get_filter(0)[2]
    return chunk.byte_offset, chunk.size, np.array(values, "<u4").tobytes()


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("bitshuffle lz4", 5, 255),
        ("bitshuffle lz4", 10, 1),
        ("bitshuffle zstd", 4, 1),
        ("lz4", 3, 255),
        ("zstd", 6, 255),
    ],
)
def test_heads_of_chunks_that_lie_are_refused(tmp_path, name, place, value):
    write(tmp_path / "a.h5", FILTERS[name])
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[find_chunk(tmp_path / "a.h5")[0] + place] = value
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"a damaged chunk at \(2, 0, 0\), expected one of filter"):
        read(tmp_path / "a.h5")


def test_an_element_size_of_zero_is_refused(tmp_path):
    write(tmp_path / "a.h5", FILTERS["bitshuffle"])
    content = bytearray((tmp_path / "a.h5").read_bytes())
    place = content.index(find_chunk(tmp_path / "a.h5")[2]) + 8
    content[place : place + 4] = bytes(4)
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged parameters \(0, \d, 0, .*\) of filter 32008 \(bitshuffle\)"):
        read(tmp_path / "a.h5")


def test_sources_of_virtual_datasets_are_checked(tmp_path):
    for number in range(2):
        write(tmp_path / f"part_{number}.h5", FILTERS["bitshuffle lz4"])
    layout = h5py.VirtualLayout((10, 16, 18), "u2")
    for number in range(2):
        layout[5 * number : 5 * number + 5] = h5py.VirtualSource(f"part_{number}.h5", "data", (5, 16, 18))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert read(tmp_path / "a.h5").shape == (10, 16, 18)
    content = bytearray((tmp_path / "part_1.h5").read_bytes())
    content[find_chunk(tmp_path / "part_1.h5")[0] + 5] = 255
    (tmp_path / "part_1.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"part_1.h5: /data: found a damaged chunk"):
        read(tmp_path / "a.h5")


@given(st.sampled_from(sorted(FILTERS)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4))
def test_bytes_of_a_chunk_changed_anywhere_do_no_harm(tmp_path_factory, name, changes):
    path = tmp_path_factory.mktemp("chunks") / "a.h5"
    write(path, FILTERS[name])
    content = bytearray(path.read_bytes())
    start, size, _ = find_chunk(path)
    for where, value in changes:
        content[start + min(int(where**3 * size), size - 1)] = value  # heads more often than the rest
    path.write_bytes(content)
    try:
        assert read(path).shape == (5, 16, 18)
    except DAMAGE:
        return
