"""Read HDF5 with one-line errors and within limits of memory, and JSON stored in it.

The storage of a dataset is checked before it is read: files it is made of, filters that unpack it, sizes of its chunks.
HDF5 returns the fill value, without a word, for parts of a virtual dataset whose source is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p

from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_chunks import read_part, require_sound_storage
from ptypinn.io.safe.hdf5_open import decode_name, list_source_places, open_for_reading
from ptypinn.utils.number_format import human_size

MAX_ARRAY_BYTES = 4.0 * 2**30
"""Maximum read in one piece; counts in HDF5 are read lazily long before."""
HARMLESS_BYTES = 2**26
"""Arrays below this size are exempt from the ratio of declared to stored size."""
MAX_RATIO = 2000
"""Declared over stored size; deflate reaches 1032, and what is stored nowhere reaches infinity."""
MAX_DEPTH = 8
"""Maximum number of virtual datasets made of each other."""


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
    require_readable(dataset, source)
    return read_part(dataset, (slice(None),) * dataset.ndim)


def limit_of(memory_budget_gib: float) -> float:
    """Return the maximum bytes of a file that is read whole; only a larger memory budget changes it."""
    return max(MAX_ARRAY_BYTES, memory_budget_gib * 2**30)


def _nbytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.shape or (1,), dtype=object)) * dataset.dtype.itemsize


def find_item(file: h5py.File, name: str) -> Any:
    """Return the dataset or group under a name; dangling and circular links count as absent."""
    try:
        return file.get(name)
    except RuntimeError:
        return None


def find_dataset(file: h5py.File, *names: str) -> h5py.Dataset | None:
    """Return the first of several datasets that exists; dangling and circular links count as absent."""
    return next((dataset for name in names if isinstance(dataset := find_item(file, name), h5py.Dataset)), None)


def require_dataset(file: h5py.File, source: str, *names: str) -> h5py.Dataset:
    """Return the first of several datasets that exists, or raise an `InputError` that names them."""
    dataset = find_dataset(file, *names)
    if dataset is None:
        raise InputError(
            source, names[0], "no such dataset", "a dataset here" + "".join(f" or at {n}" for n in names[1:])
        )
    return dataset


def require_array(file: h5py.File, source: str, *names: str) -> np.ndarray:
    """Read the first of several datasets that exists, or raise an `InputError` that names them; not for patterns."""
    return read_array(require_dataset(file, source, *names), source)


def read_scalar(file: h5py.File, source: str, name: str) -> float | None:
    """Read a number stored as a scalar or as an array of one value; None where absent.

    Raises:
        InputError: Where the dataset holds several different values or no number.
    """
    dataset = find_dataset(file, name)
    if dataset is None:
        return None
    values = read_array(dataset, source)
    if values.dtype.kind not in "uif" or values.size == 0 or not (values == values.flat[0]).all():
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "one number")
    return float(values.flat[0])


def add_group(parent: h5py.Group, name: str, nx_class: str, **attributes: object) -> h5py.Group:
    """Add a group with its NeXus class."""
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nx_class, **attributes})
    return group


def add_dataset(group: h5py.Group, name: str, value: object, unit: str) -> None:
    """Add a value with its unit."""
    group.create_dataset(name, data=value).attrs["units"] = unit


def write_json(group: h5py.Group, name: str, content: Any) -> None:
    """Store nested plain values as a JSON string of fixed length; NumPy numbers and arrays become plain ones."""
    text = json.dumps(content, default=_plain).encode()
    group.create_dataset(name, data=np.array(text, h5py.string_dtype("utf-8", len(text))))


def read_json(file: h5py.File, source: str, name: str) -> Any:
    """Parse a JSON string dataset."""
    dataset = require_dataset(file, source, name)
    try:
        return json.loads(bytes(read_array(dataset, source)[()]))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(source, name, "something else", "a JSON string") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


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
    elif _nbytes(dataset) > HARMLESS_BYTES and _holds_nothing(dataset, created):
        actual = f"{human_size(_nbytes(dataset))} declared and nothing stored"
        raise InputError(str(source), str(dataset.name), actual, "data that is really there")
    for place in range(created.get_external_count()):
        part = Path(decode_name(created.get_external(place)[0]))
        if not (Path(dataset.file.filename).parent / part).exists() and not part.exists():
            expected = f"the raw data of {dataset.name}, a part of {source}"
            raise InputError(str(part), "file", "nothing under this name", expected)
    require_sound_storage(dataset, source)


def _holds_nothing(dataset: h5py.Dataset, created: h5p.PropDCID) -> bool:
    """Return True where no value of a dataset is stored; one that is being written may get them yet."""
    stored = created.get_external_count() or dataset.id.get_storage_size()
    return not stored and not dataset.file.swmr_mode


def _require_sources(dataset: h5py.Dataset, created: h5p.PropDCID, source: str | Path, depth: int) -> None:
    """Raise `InputError` where a part of a virtual dataset is missing."""
    names = [decode_name(created.get_virtual_filename(place)) for place in range(created.get_virtual_count())]
    files = list(dict.fromkeys(names))
    origin = f"one of {len(files)} that the virtual dataset {dataset.name} of {source} is made of"
    for name in files:
        inside = sorted(
            {decode_name(created.get_virtual_dsetname(i)) for i, other in enumerate(names) if other == name}
        )
        if any("%" in text.replace("%%", "") for text in (name, *inside)):
            continue  # numbered parts, which end at the first that is missing
        if name == ".":
            for part in inside:
                _require_part(dataset.file, part, name, origin, depth)
            continue
        path = next((place for place in list_source_places(name, dataset) if place.is_file()), None)
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
