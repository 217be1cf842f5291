"""The record of the file that a scan came from, and of the arrays in it that its format does not read.

Nothing is dropped in silence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
from h5py import h5o

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.io.crop import CUT_FROM, LEFT_OUT
from ptypinn.io.format import Format
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.matlab import names_in
from ptypinn.io.safe.matlab5 import is_mat5
from ptypinn.io.safe.npz import Archive

PARTS = "parts"
"""Key of the hashes of further files of a scan, by their names."""
EARLIER = (
    "file",
    "format",
    "sha256",
    PARTS,
    "options",
    "ignored",
    "unread",
    "survey",
    "mask_file",
    "mask_array",
    "selected",
    "doubts",
    CUT_FROM,
    LEFT_OUT,
    "converted_from",
)
"""Records of the file that a scan was read from, not of the scan."""
HASH_WHOLE_BYTES = 10**9
HASH_HEAD_BYTES = 2**24
OWN_MONITOR = "monitor_at"
"""Key of the dataset that a format defines as the monitor, until it is read; files of our own hold none."""
UNREAD = "unread"
"""Key of the list in the provenance of a scan."""
MAX_LISTED = 50
"""Maximum number of arrays to list; the rest is counted."""
NUMERIC = "buifc"
"""Kinds of NumPy types that hold numbers."""


def describe_source(
    path: Path, format_name: str, config: LoadConfig, *, left_out: Sequence[str] = (), **notes: Any
) -> dict[str, Any]:
    """Provenance of what is read from `path`.

    Args:
        path: The file.
        format_name: Name of its format.
        config: Reading options.
        left_out: What the file holds that is not read, a few words each.
        notes: Further records.

    Returns:
        `file`, `format`, `sha256`, the `options` that differ from their defaults, and the notes.
    """
    options = {
        f.name: getattr(config, f.name) for f in dataclasses.fields(config) if getattr(config, f.name) != f.default
    }
    content = {LEFT_OUT: list(left_out), **notes} if left_out else notes
    return {"file": path.name, "format": format_name, "sha256": file_hash(path), "options": options, **content}


def succeed(stored: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of a scan read from a file that carries the provenance of the scan written to it.

    The file that the earlier scan came from moves to `converted_from`.
    """
    earlier = {key: stored[key] for key in EARLIER if key in stored}
    new = {key: value for key, value in stored.items() if key not in earlier and key != OWN_MONITOR}
    return {**new, **current, **({"converted_from": earlier} if earlier else {})}


def hash_parts(parts: Sequence[Path]) -> dict[str, Any]:
    """Return the record of further files of a scan, in its folder: their hashes by their names; none for no file."""
    return {PARTS: {part.name: file_hash(part) for part in parts}} if parts else {}


def has_content(path: Path, digest: str | None, parts: Mapping[str, str]) -> bool:
    """Return True if a file, and further ones in its folder, have the content on record.

    Args:
        path: The file.
        digest: Its SHA-256 by `file_hash`; None where none is on record.
        parts: Those of further files by their names.
    """
    folder = path.resolve().parent
    files = {path: digest} if digest is not None else {}
    files |= {folder / Path(name).name: value for name, value in parts.items()}
    return path.is_file() and all(file.is_file() and file_hash(file) == value for file, value in files.items())


def file_hash(path: Path) -> str:
    """SHA-256 of a file; of its first 16 MiB and its size where it is larger than 1 GB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= HASH_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        head = hashlib.sha256(file.read(HASH_HEAD_BYTES))
    head.update(str(size).encode())
    return f"head+size:{head.hexdigest()}"


def optics_record(recon: Reconstruction) -> Mapping[str, Any]:
    """Energy, distance and detector pixel that go with a reconstruction, as its provenance has them.

    They lie under `optics`, or in the record of the scan; a number that neither has is absent.
    """
    records = [recon.provenance.get("optics"), recon.provenance.get("scan")]
    optics: dict[str, Any] = {}
    for record in records:
        if isinstance(record, Mapping):
            optics = {**record, **optics}
    return {key: value for key, value in optics.items() if value is not None}


def list_unread_arrays(path: Path, file_format: Format, config: LoadConfig, others: Collection[str] = ()) -> list[str]:
    """List the arrays of more than one number in a file that its format does not declare, with their shapes and types.

    Args:
        path: The file, HDF5, NPZ or MATLAB; other containers hold a single array.
        file_format: Format that read it.
        config: Reading options, which may name further arrays.
        others: Names of further arrays that are read.

    Returns:
        Descriptions with name, type and shape, at most `MAX_LISTED` of them and a count of the others.
    """
    declared = declared_names(file_format, config, others)
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


def declared_names(file_format: Format, config: LoadConfig, others: Collection[str] = ()) -> set[str]:
    """Return patterns of the names that a format and the options declare, as regular expressions.

    Entries name paths such as `dp or cbed`, `chunks/K/data` or `p.fmag`: alternatives, placeholders in capitals, and
    levels separated by a slash or a dot.
    """
    names = {config.truth, *others} - {""}
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
