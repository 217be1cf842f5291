"""Check the compressed chunks of HDF5 datasets before a library unpacks them.

The libraries of most filters believe what a file declares. Those of some crash on damaged data, and are not used;
Bitshuffle divides by the element size in its parameters, and reads as far as the sizes between its blocks say
(https://github.com/kiyo-masui/bitshuffle, `bshuf_h5filter.c`), so these are checked.
"""

from __future__ import annotations

import bz2
import functools
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5z

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_open import decode_name, list_source_places, open_for_reading
from ptypinn.utils.number_format import human_size

MAX_CHUNK_BYTES = 2**30
CHUNK_SLACK = 1.02, 4096
"""Maximum ratio of a stored chunk to the chunk itself: filters without gain add headers."""
EXPAND_CHECK_BYTES = {h5z.FILTER_DEFLATE: 2**22, 307: 0}
"""Chunks above this, of deflate and bzip2, could grow beyond the largest array: their true size is determined first."""
EXPANDERS: dict[int, Callable[[], Any]] = {h5z.FILTER_DEFLATE: zlib.decompressobj, 307: bz2.BZ2Decompressor}
LZF, BLOSC, LZ4, BITSHUFFLE, ZSTD, BLOSC2 = 32000, 32001, 32004, 32008, 32015, 32026
COMPRESSORS = {*EXPANDERS, LZF, BLOSC, LZ4, BITSHUFFLE, ZSTD, BLOSC2}
OTHERS = {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
PACKED_MODES = {(2,), (3,)}
"""Modes of Bitshuffle with headers: LZ4 and Zstd."""
NOT_STORED = "chunk storage is not allocated"
"""Part of HDF5's message for a chunk that is stored nowhere."""
CHECKED_SOURCES = 4096
"""Sources of virtual datasets that are remembered as sound."""

Filter = tuple[int, int, tuple[int, ...], bytes | str]


def require_sound_storage(dataset: h5py.Dataset, source: str | Path) -> None:
    """Raise `InputError` where a dataset cannot be unpacked safely, as far as can be seen without reading its chunks.

    Args:
        dataset: The dataset.
        source: Name of its file for messages.
    """
    if dataset.chunks is None:
        return
    whole = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if whole > MAX_CHUNK_BYTES:
        actual = f"chunks of {human_size(whole)}"
        raise InputError(str(source), str(dataset.name), actual, f"at most {human_size(MAX_CHUNK_BYTES)}")
    filters = _list_filters(dataset.id.get_create_plist())
    if not filters:
        return
    limit = CHUNK_SLACK[0] * whole + CHUNK_SLACK[1]
    faults = {place: _find_filter_fault(used, dataset.dtype.itemsize, limit) for place, used in enumerate(filters)}
    for place in [place for place, used in enumerate(filters) if used[0] in COMPRESSORS][1:]:
        faults[place] = (
            f"data compressed again by {_describe(filters[place])}",
            "data compressed once (h5repack)",
        )

    def at_chunk(chunk: h5d.StoreInfo) -> tuple[str, str] | None:
        for place, fault in faults.items():
            if fault is not None and not chunk.filter_mask >> place & 1:
                return fault
        expands = chunk.size > EXPAND_CHECK_BYTES.get(filters[-1][0], chunk.size)
        large = chunk.size > limit or (expands and _expands_beyond(dataset, filters[-1][0], chunk, limit))
        return (f"a chunk that decompresses to more than its {human_size(whole)}", "its size") if large else None

    fault = dataset.id.chunk_iter(at_chunk)
    if fault is not None:
        raise InputError(str(source), str(dataset.name), *fault)


def read_part(dataset: Any, key: tuple[Any, ...]) -> np.ndarray:
    """Read a part of a dataset; of HDF5, once the chunks that it lies in are sound.

    Args:
        dataset: HDF5 dataset, or an array or memory map.
        key: Index of every axis; that of the first is a slice or an integer where there are chunks.

    Raises:
        InputError: Where a chunk is damaged in a way that its library would not notice.
    """
    if isinstance(dataset, h5py.Dataset):
        _require_sound_chunks(dataset, key[0] if key else slice(None))
    return np.asarray(dataset[key])


def _list_filters(created: h5p.PropDCID) -> list[Filter]:
    return [created.get_filter(place) for place in range(created.get_nfilters())]


def _find_filter_fault(used: Filter, itemsize: int, limit: float) -> tuple[str, str] | None:
    """Return what is found and what is expected where a filter cannot be used, or not with its parameters."""
    code, _, values, _ = used
    name = _describe(used)
    if not h5z.filter_avail(code):
        actual = f"data compressed by {name}, which is not installed"
        return actual, "its HDF5 plug-in, or data repacked without it (h5repack)"
    if code not in COMPRESSORS | OTHERS:
        actual = f"data compressed by {name}, whose library is not safe with damaged files"
        return actual, "data repacked without it (h5repack -f GZIP=1)"
    sizes = {LZF: values[2:3], BLOSC: values[3:4], BLOSC2: values[3:4]}.get(code, ())
    wrong = code == BITSHUFFLE and (len(values) < 3 or values[2] != itemsize)
    if wrong or any(size > limit for size in sizes):
        return f"damaged parameters {tuple(values)} of {name}", "those of its values"
    return None


def _describe(used: Filter) -> str:
    name = used[3].decode(errors="replace") if isinstance(used[3], bytes) else used[3]
    return f"filter {used[0]} ({name.split(';')[0]})" if name else f"filter {used[0]}"


def _expands_beyond(dataset: h5py.Dataset, code: int, chunk: h5d.StoreInfo, limit: float) -> bool:
    """Return True if a chunk of deflate or bzip2 unpacks to more than a limit; it is unpacked piece by piece."""
    stream, total = EXPANDERS[code](), 0
    _, waiting = dataset.id.read_direct_chunk(chunk.chunk_offset)
    try:
        while not stream.eof and (waiting or total):
            piece = stream.decompress(waiting, 2**20)
            waiting = getattr(stream, "unconsumed_tail", b"")
            total += len(piece)
            if total > limit:
                return True
            if not piece and not waiting:
                break
    except (OSError, zlib.error, EOFError):  # reading it is an error as well
        return False
    return False


def _require_sound_chunks(dataset: h5py.Dataset, rows: slice | int) -> None:
    """Raise `InputError` where a chunk is damaged in a way that its library would not notice."""
    created = dataset.id.get_create_plist()
    if created.get_layout() == h5d.VIRTUAL:
        for path, name in _list_sources(dataset, created):
            status = path.stat()
            _require_sound_source(path, name, status.st_mtime_ns, status.st_size)
        return
    filters = _list_filters(created)
    place, is_sound = next(((n, SOUND[used[0]]) for n, used in enumerate(filters) if used[0] in SOUND), (0, None))
    if dataset.chunks is None or is_sound is None:
        return
    checksum = 4 * any(used[0] == h5z.FILTER_FLETCHER32 for used in filters)
    whole = math.prod(dataset.chunks) * dataset.dtype.itemsize
    for offset in _list_chunks(dataset, rows):
        if (stored := read_stored_chunk(dataset, offset)) is None:
            continue
        mask, content = stored
        if mask >> place & 1:
            continue  # stored as it is
        if not is_sound(content[: len(content) - checksum], whole, filters[place][2]):
            actual = f"a damaged chunk at {tuple(int(n) for n in offset)}"
            raise InputError(dataset.file.filename, str(dataset.name), actual, f"one of {_describe(filters[place])}")


def read_stored_chunk(dataset: h5py.Dataset, offset: tuple[int, ...]) -> tuple[int, bytes] | None:
    """Return the filters that a chunk was stored without, as bits, and its bytes; None where it is stored nowhere.

    To read it at once takes microseconds; to ask where it is takes HDF5 a look at every chunk of the dataset.
    """
    try:
        return dataset.id.read_direct_chunk(offset)
    except RuntimeError as error:
        if NOT_STORED in str(error) or dataset.id.get_chunk_info_by_coord(offset).byte_offset is None:
            return None
        raise


def _list_chunks(dataset: h5py.Dataset, rows: slice | int) -> Iterator[tuple[int, ...]]:
    """Return the places of the chunks that hold rows of the first axis."""
    first, stop = (rows, rows + 1) if isinstance(rows, int) else rows.indices(dataset.shape[0])[:2]
    edge = dataset.chunks[0]
    starts = [range(first // edge * edge, stop, edge)]
    starts += [range(0, length, step) for length, step in zip(dataset.shape[1:], dataset.chunks[1:], strict=True)]
    return itertools.product(*starts)


def _is_sound_bitshuffle(content: bytes, whole: int, values: tuple[int, ...]) -> bool:
    """Return True if a chunk of Bitshuffle declares its size and blocks that lie within it.

    Its head is the size of the data (8 bytes) and that of a block (4 bytes), big-endian; every block begins with its
    stored size (4 bytes). Elements beyond the last multiple of eight are stored as they are. Without LZ4 or Zstd there
    is nothing of all this.
    """
    itemsize = values[2] if len(values) > 2 else 0
    if itemsize == 0 or values[4:5] not in PACKED_MODES:
        return itemsize > 0
    block = int.from_bytes(content[8:12], "big") // itemsize
    if len(content) < 12 or int.from_bytes(content[:8], "big") != whole or block == 0 or block % 8:
        return False
    elements, place = whole // itemsize, 12
    for _ in range(elements // block + (elements % block >= 8)):
        if place + 4 > len(content):
            return False
        place += 4 + int.from_bytes(content[place : place + 4], "big")
    return place + elements % 8 * itemsize <= len(content)


def _is_sound_lz4(content: bytes, whole: int, values: tuple[int, ...]) -> bool:
    """Return True if a chunk declares its size: 8 bytes, big-endian."""
    return int.from_bytes(content[:8], "big") == whole


def _is_sound_zstd(content: bytes, whole: int, values: tuple[int, ...]) -> bool:
    """Return True if a frame of Zstandard declares the size of its content (RFC 8878, 3.1.1.1)."""
    if content[:4] != b"\x28\xb5\x2f\xfd" or len(content) < 6:
        return False
    flags = content[4]
    single = flags >> 5 & 1
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    length = (single, 2, 4, 8)[flags >> 6]
    return int.from_bytes(content[start : start + length], "little") + 256 * (length == 2) == whole


SOUND = {BITSHUFFLE: _is_sound_bitshuffle, LZ4: _is_sound_lz4, ZSTD: _is_sound_zstd}
"""Checks of stored chunks by filter, given the size of the whole chunk and the parameters of the filter."""


def _list_sources(dataset: h5py.Dataset, created: h5p.PropDCID) -> Iterator[tuple[Path, str]]:
    """Return the files and datasets that a virtual dataset is made of, where they exist."""
    own = Path(dataset.file.filename).resolve()
    for number in range(created.get_virtual_count()):
        name = decode_name(created.get_virtual_filename(number))
        inside = decode_name(created.get_virtual_dsetname(number))
        for count in itertools.count():
            part, place = name.replace("%b", str(count)), inside.replace("%b", str(count))
            places = [own] if part == "." else list_source_places(part, dataset)
            path = next((candidate for candidate in places if candidate.is_file()), None)
            if path is None or not _holds(path, place):
                break
            yield path, place
            if (part, place) == (name, inside):
                break


def _holds(path: Path, name: str) -> bool:
    with open_for_reading(path) as file:
        return isinstance(file.get(name), h5py.Dataset)


@functools.lru_cache(maxsize=CHECKED_SOURCES)
def _require_sound_source(path: Path, name: str, modified_ns: int, size: int) -> None:
    """Check all chunks of a source of a virtual dataset; remembered until its file changes."""
    with open_for_reading(path) as file:
        _require_sound_chunks(file[name], slice(None))
