"""Checks of a dataset's storage before it is read: files it is made of, filters that unpack it, sizes of its chunks.

HDF5 returns the fill value, without a word, for parts of a virtual dataset whose source is missing.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5z

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_open import open_for_reading

MAX_CHUNK_BYTES = 2**30
CHUNK_SLACK = 1.02, 4096
"""Maximum ratio of a stored chunk to the chunk itself: filters without gain add headers."""
INFLATE_CHECK_BYTES = 2**22
"""Deflated chunks above this could grow beyond the largest array, so their true size is determined first."""
MAX_DEPTH = 8
"""Maximum number of virtual datasets made of each other."""


def require_readable(dataset: h5py.Dataset, source: str | Path, depth: int = 0) -> None:
    """Raise `InputError` where HDF5 would return anything but the stored values, or take too much memory.

    Args:
        dataset: The dataset.
        source: Name of its file for messages.
        depth: Virtual datasets on the way here.
    """
    created = dataset.id.get_create_plist()
    if created.get_layout() == h5d.VIRTUAL:
        _require_sources(dataset, created, source, depth)
    for place in range(created.get_external_count()):
        part = Path(_text(created.get_external(place)[0]))
        if not (Path(dataset.file.filename).parent / part).exists() and not part.exists():
            expected = f"the raw data of {dataset.name}, a part of {source}"
            raise InputError(str(part), "file", "nothing under this name", expected)
    _require_sound_chunks(dataset, created, source)


def _require_sources(dataset: h5py.Dataset, created: h5p.PropDCID, source: str | Path, depth: int) -> None:
    """Raise `InputError` where a part of a virtual dataset is missing."""
    names = [_text(created.get_virtual_filename(place)) for place in range(created.get_virtual_count())]
    files = list(dict.fromkeys(names))
    origin = f"one of {len(files)} that the virtual dataset {dataset.name} of {source} is made of"
    for name in files:
        inside = sorted({_text(created.get_virtual_dsetname(i)) for i, other in enumerate(names) if other == name})
        if any("%" in text.replace("%%", "") for text in (name, *inside)):
            continue  # numbered parts, which end at the first that is missing
        if name == ".":
            for part in inside:
                _require_part(dataset.file, part, name, origin, depth)
            continue
        path = next((place for place in _places(name, dataset) if place.is_file()), None)
        if path is None:
            raise InputError(name, "file", "no such file", f"the file, {origin}")
        with open_for_reading(path) as file:
            for part in inside:
                _require_part(file, part, name, origin, depth)


def _require_part(file: h5py.File, part: str, name: str, origin: str, depth: int) -> None:
    dataset = file.get(part)
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(name, part, "no such dataset", f"the dataset, {origin}")
    if depth >= MAX_DEPTH:
        raise InputError(name, part, f"more than {MAX_DEPTH} virtual datasets made of each other", "patterns")
    require_readable(dataset, name, depth + 1)


def _places(name: str, dataset: h5py.Dataset) -> Iterator[Path]:
    """Return the places where HDF5 looks for a source, in order."""
    folder = Path(dataset.file.filename).resolve().parent
    yield from (folder / name, Path.cwd() / name, folder / Path(name).name)


def _require_sound_chunks(dataset: h5py.Dataset, created: h5p.PropDCID, source: str | Path) -> None:
    """Raise `InputError` where a chunk is too large, its stored form larger than the chunk, or its filter missing.

    A compressed chunk may decompress to anything: HDF5 detects that only after it has done so.
    """
    if dataset.chunks is None:
        return
    whole = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
    name = str(dataset.name)
    if whole > MAX_CHUNK_BYTES:
        raise InputError(str(source), name, f"chunks of {human_size(whole)}", f"at most {human_size(MAX_CHUNK_BYTES)}")
    filters = [created.get_filter(place) for place in range(created.get_nfilters())]
    if not filters:
        return
    missing = {place: used for place, used in enumerate(filters) if not h5z.filter_avail(used[0])}
    bits = sum(1 << place for place in missing)
    deflated = filters[-1][0] == h5z.FILTER_DEFLATE
    limit = CHUNK_SLACK[0] * whole + CHUNK_SLACK[1]

    def at_chunk(chunk: h5d.StoreInfo) -> str | None:
        if bits & ~chunk.filter_mask:
            return "filter"
        inflate = deflated and chunk.size > INFLATE_CHECK_BYTES
        large = chunk.size > limit or (inflate and _inflates_beyond(dataset, chunk.chunk_offset, limit))
        return "size" if large else None

    fault = dataset.id.chunk_iter(at_chunk)
    if fault == "filter":
        number, _, _, title = next(iter(missing.values()))
        label = f" ({_text(title)})" if title else ""
        actual = f"data compressed by filter {number}{label}, which is not installed"
        raise InputError(str(source), name, actual, "its HDF5 plug-in, or data repacked without it (h5repack)")
    if fault == "size":
        actual = f"a chunk that decompresses to more than its {human_size(whole)}"
        raise InputError(str(source), name, actual, "its size")


def _inflates_beyond(dataset: h5py.Dataset, offset: tuple[int, ...], limit: float) -> bool:
    stream, total = zlib.decompressobj(), 0
    _, waiting = dataset.id.read_direct_chunk(offset)
    while waiting and not stream.eof:
        total += len(stream.decompress(waiting, 2**20))
        if total > limit:
            return True
        waiting = stream.unconsumed_tail
    return False


def _text(name: bytes | str) -> str:
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name


def human_size(size: float | int) -> str:
    """Format a number of bytes."""
    power = 0 if size < 1 else min(4, int(math.log(size, 1000)))
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
