"""Arrays of a scan file that its format does not read, so that nothing is dropped in silence."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import h5py
from h5py import h5o

from ptypinn.config.load import LoadConfig
from ptypinn.io.format import Format
from ptypinn.io.safe.hdf5 import open_hdf5
from ptypinn.io.safe.matlab import names_in
from ptypinn.io.safe.matlab5 import is_mat5
from ptypinn.io.safe.npz import Archive

UNREAD = "unread"
"""Key of the list in the provenance of a scan."""
MAX_LISTED = 50
"""Maximum number of arrays to list; the rest is counted."""
NUMERIC = "buifc"
"""Kinds of NumPy types that hold numbers."""


def list_unread_arrays(path: Path, file_format: Format, config: LoadConfig) -> list[str]:
    """List the arrays of more than one number in a file that its format does not declare, with their shapes and types.

    Args:
        path: The file, HDF5, NPZ or MATLAB; other containers hold a single array.
        file_format: Format that read it.
        config: Reading options, which may name further arrays.

    Returns:
        Descriptions with name, type and shape, at most `MAX_LISTED` of them and a count of the others.
    """
    declared = declared_names(file_format, config)
    if h5py.is_hdf5(path):
        unread = list(_unread_in_hdf5(path, declared))
    elif zipfile.is_zipfile(path):
        unread = list(_unread_in_npz(path, declared))
    elif is_mat5(path):
        top_level = {name.split("[./]")[0] for name in declared}
        unread = sorted(name for name in names_in(path) if not _matches(name, top_level))
    else:
        unread = []
    more = len(unread) - MAX_LISTED
    return unread if more <= 0 else [*unread[:MAX_LISTED], f"and {more} more"]


def declared_names(file_format: Format, config: LoadConfig) -> set[str]:
    """Return patterns of the names that a format and the options declare, as regular expressions.

    Entries name paths such as `dp or cbed`, `chunks/K/data` or `p.fmag`: alternatives, placeholders in capitals, and
    levels separated by a slash or a dot.
    """
    names = {config.truth} - {""}
    undeclared = {"mask"} if not config.mask_convention or config.mask else set()
    for entry in file_format.entries:
        for name in re.split(r",| or ", entry.path):
            names.add(name.split("@")[0].strip().removesuffix("...").strip())
    return {_pattern(name) for name in names - undeclared if name}


def _pattern(name: str) -> str:
    levels = [r"[^/]+" if re.fullmatch(r"[A-Z]{1,2}", level) else re.escape(level) for level in re.split(r"[./]", name)]
    return re.sub(r"\d{3,}$", r"\\d+", r"[./]".join(levels))


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _unread_in_hdf5(path: Path, declared: Collection[str]) -> Iterator[str]:
    with open_hdf5(path) as file:
        items: dict[str, h5py.Dataset | h5py.Group] = {}
        file.visititems(items.__setitem__)
        places = {_address(item) for item in _declared_items(file, declared)}
        for name, array in items.items():
            if not (isinstance(array, h5py.Dataset) and array.dtype.kind in NUMERIC and array.size > 1):
                continue
            internal = name.startswith("#")  # where MATLAB keeps the elements of cells
            if not internal and not _matches(name, declared) and _address(array) not in places:
                yield f"{name}: {array.dtype} {array.shape}"


def _declared_items(file: h5py.File, declared: Collection[str]) -> Iterator[h5py.Dataset | h5py.Group]:
    """Iterate over what a file has under declared names without placeholders; dangling links are skipped."""
    for pattern in declared:
        name = pattern.replace(r"[./]", "/").replace("\\", "")
        item = None if "[" in name else file.get(name)
        if item is not None:
            yield item


def _address(item: h5py.Dataset | h5py.Group) -> int:
    return int(h5o.get_info(item.id).addr)


def _unread_in_npz(path: Path, declared: Collection[str]) -> Iterator[str]:
    archive = Archive(path)
    for name in archive:
        if not _matches(name, declared):
            shape, dtype = archive.describe(name)
            if shape != () and (dtype is None or dtype.kind in NUMERIC):
                yield f"{name}: {'Python objects' if dtype is None else f'{dtype} {shape}'}"
