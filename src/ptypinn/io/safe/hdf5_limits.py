"""Read HDF5 datasets within limits of memory: declared values must be stored."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5z

from ptypinn.errors import InputError

MAX_ARRAY_BYTES = 4.0 * 2**30
"""Maximum read in one piece; counts in HDF5 are read lazily long before."""
MAX_CHUNK_BYTES = 2**30
HARMLESS_BYTES = 2**26
"""Arrays below this size are exempt from the ratio of declared to stored size."""
MAX_RATIO = 2000
"""Declared over stored size; deflate reaches 1032, and what is stored nowhere reaches infinity."""
CHUNK_SLACK = 1.02, 4096
"""Maximum ratio of a stored chunk to the chunk itself: filters without gain add headers."""
INFLATE_CHECK_BYTES = 2**22
"""Deflated chunks above this could grow beyond the largest array, so their true size is found first."""


def read_array(dataset: h5py.Dataset, source: str = "") -> np.ndarray:
    """Read a whole dataset that is no stack of patterns.

    Args:
        dataset: The dataset.
        source: Name of its file for the message; that of the dataset itself where not given.

    Raises:
        InputError: Where it declares far more than it stores, or more than anybody needs.
    """
    source, size = source or dataset.file.filename, _nbytes(dataset)
    if size > HARMLESS_BYTES and not size <= MAX_RATIO * dataset.id.get_storage_size():
        actual = f"{human_size(size)} declared in {human_size(dataset.id.get_storage_size())} of file"
        raise InputError(source, str(dataset.name), actual, "data that is really there")
    if size > MAX_ARRAY_BYTES:
        raise InputError(source, str(dataset.name), human_size(size), f"at most {human_size(MAX_ARRAY_BYTES)}")
    require_sound_chunks(dataset, source)
    return np.asarray(dataset[()])


def limit_of(memory_budget_gib: float) -> float:
    """Return the maximum bytes of a file that is read whole; only a larger memory budget changes it."""
    return max(MAX_ARRAY_BYTES, memory_budget_gib * 2**30)


def require_sound_chunks(dataset: h5py.Dataset, source: str | Path) -> None:
    """Raise `InputError` where a chunk is too large, or its stored form larger than the chunk itself.

    A compressed chunk may decompress to anything: HDF5 finds that out only after it has done so.
    """
    if dataset.chunks is None:
        return
    whole = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
    name = str(dataset.name)
    if whole > MAX_CHUNK_BYTES:
        raise InputError(str(source), name, f"chunks of {human_size(whole)}", f"at most {human_size(MAX_CHUNK_BYTES)}")
    filters = dataset.id.get_create_plist()
    if not filters.get_nfilters():
        return
    deflated = filters.get_filter(filters.get_nfilters() - 1)[0] == h5z.FILTER_DEFLATE
    limit = CHUNK_SLACK[0] * whole + CHUNK_SLACK[1]

    def at_chunk(chunk: h5d.StoreInfo) -> bool | None:
        if chunk.size > limit:
            return True
        inflate = deflated and chunk.size > INFLATE_CHECK_BYTES
        return True if inflate and _inflates_beyond(dataset, chunk.chunk_offset, limit) else None

    if dataset.id.chunk_iter(at_chunk):
        raise InputError(
            str(source), name, f"a chunk that decompresses to more than its {human_size(whole)}", "its size"
        )


def _inflates_beyond(dataset: h5py.Dataset, offset: tuple[int, ...], limit: float) -> bool:
    stream, total = zlib.decompressobj(), 0
    _, waiting = dataset.id.read_direct_chunk(offset)
    while waiting and not stream.eof:
        total += len(stream.decompress(waiting, 2**20))
        if total > limit:
            return True
        waiting = stream.unconsumed_tail
    return False


def _nbytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.shape or (1,), dtype=object)) * dataset.dtype.itemsize


def human_size(size: float | int) -> str:
    """Format a number of bytes."""
    power = 0 if size < 1 else min(4, int(math.log(size, 1000)))
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
