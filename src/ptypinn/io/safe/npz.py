"""Read NPY and NPZ files safely: nothing is unpickled, and damaged archives are not inflated."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import HARMLESS_BYTES
from ptypinn.utils.number_format import human_size

LOCAL_HEADER, LOCAL_SIGNATURE = struct.Struct("<4s5H3L2H"), b"PK\x03\x04"
"""Header before the name, extra field and content of a member."""
MAX_MEMBERS = 10_000
MAX_RATIO = 900
"""Maximum ratio of inflated to stored size; deflate reaches 1032 for constant data."""
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    SyntaxError,
    RuntimeError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of NumPy and zipfile for damaged files."""


class Archive:
    """Arrays of an NPZ file, each read on first use, so that damage to others does not matter.

    Args:
        path: The file.
        limit_bytes: Refuse to inflate arrays larger than this.

    Raises:
        InputError: Where the file is damaged, or declares more than it can hold; of an array, when it is asked for:
            where it is damaged, too large, or holds Python objects.
    """

    def __init__(self, path: Path, limit_bytes: float = math.inf) -> None:
        self._path, self._limit = path, limit_bytes
        with _one_line(path), zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        _require_sane(path, members)
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        self._read: dict[str, np.ndarray] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            self._read[name] = self._inflate(name, self._members[name])
        return self._read[name]

    def get(self, name: str) -> np.ndarray | None:
        """Return an array; None where there is none of this name."""
        member = self._members.get(name)
        return None if member is None else self[name]

    def describe(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any] | None]:
        """Return shape and type of an array from its header; no type where it holds Python objects or is damaged."""
        member = self._members[name]
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(member) as file:
                shape, _, dtype = _require_whole(file, member.file_size)
        except DAMAGE:
            return (0,), None
        return shape, dtype

    def mapped(self, name: str) -> np.ndarray | None:
        """Return an uncompressed array as a memory map; None where it is compressed."""
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with _one_line(self._path, name), self._path.open("rb") as file:
            file.seek(member.header_offset)
            header = file.read(LOCAL_HEADER.size)
            signature, *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
            if signature != LOCAL_SIGNATURE:
                raise ValueError("no member at the offset that the archive gives")
            first = file.tell() + name_bytes + extra_bytes
            file.seek(first)
            shape, fortran, dtype = _require_whole(file, first + member.file_size)
            order: Literal["C", "F"] = "F" if fortran else "C"
            return np.memmap(self._path, dtype, "r", file.tell(), shape, order)

    def _inflate(self, name: str, member: zipfile.ZipInfo) -> np.ndarray:
        if member.file_size > self._limit:
            expected = f"at most {human_size(self._limit)}; raise --memory-budget-gib, or convert to HDF5"
            raise InputError(str(self._path), name, f"an array of {human_size(member.file_size)}", expected)
        with _one_line(self._path, name), zipfile.ZipFile(self._path) as archive:
            with archive.open(member) as file:
                _require_whole(file, member.file_size)
            with archive.open(member) as file:
                array = npy.read_array(file, allow_pickle=False)
                file.read()  # checks the sum over the last bytes
        return array


def names_in_archive(path: Path) -> set[str]:
    """Return the names of the arrays in an NPZ archive; none for any other file."""
    try:
        return set(Archive(path))
    except InputError:
        return set()


def map_npy(path: Path, field: str = "file") -> np.ndarray:
    """Return the array of an NPY file as a memory map.

    Args:
        path: The file.
        field: What it holds, for messages.

    Raises:
        InputError: Where the file is no NPY file, is damaged, or holds Python objects.
    """
    with _one_line(path, field):
        with path.open("rb") as file:
            _require_whole(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)


@contextmanager
def _one_line(path: Path, field: str = "file") -> Iterator[list[str]]:
    """Convert any failure to an `InputError` that names what was being read."""
    at = [field]
    try:
        yield at
    except InputError:
        raise
    except DAMAGE as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise InputError(str(path), at[0], "pickled Python objects", "an array of numbers") from error
        actual = f"a truncated or damaged file ({error})"
        raise InputError(str(path), at[0], actual, "a complete NPZ or NPY file") from error


def _require_sane(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise InputError(str(path), "file", f"{len(members)} members", f"at most {MAX_MEMBERS}")
    total = sum(member.file_size for member in members)
    size = path.stat().st_size
    if total > HARMLESS_BYTES and total > MAX_RATIO * size:
        raise InputError(str(path), "file", f"{human_size(total)} declared in {human_size(size)}", "data really there")


def _require_whole(file: Any, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order (True: Fortran's) and type from an array's header, which must match `size` bytes."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Python objects")
    declared = math.prod(shape) * dtype.itemsize
    stored = size - file.tell()
    if min(shape, default=0) < 0 or declared != stored:
        raise ValueError(f"shape {shape} of {dtype} in {stored} bytes")
    return shape, fortran, dtype


BATCH_BYTES = 2**24


def write_npz(path: Path, arrays: Mapping[str, Any], patterns: tuple[str, ScanData] | None = None) -> None:
    """Write arrays, and the counts of a scan under a name, compressed; lazy counts are streamed.

    Args:
        path: Where; an existing file is replaced.
        arrays: Arrays, numbers and texts by name.
        patterns: Name of the counts, and the scan that they come from.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
        if patterns is not None:
            _write_counts(archive, *patterns)


def _write_counts(archive: zipfile.ZipFile, name: str, scan: ScanData) -> None:
    counts = scan.counts
    header = {"descr": np.lib.format.dtype_to_descr(counts.dtype), "fortran_order": False, "shape": tuple(counts.shape)}
    batch = max(1, BATCH_BYTES // (scan.size**2 * counts.dtype.itemsize))
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for _, part in scan.batches(batch):
            file.write(np.ascontiguousarray(part, counts.dtype).tobytes())
