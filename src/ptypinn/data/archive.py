"""Read NPY and NPZ files without unpickling anything, and without inflating what is no sound archive."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ptypinn.data.storage import HARMLESS_BYTES, human_size
from ptypinn.errors import InputError

MAX_MEMBERS = 10_000
MAX_RATIO = 900
"""Inflated over stored size; deflate reaches 1032 where all is alike, which no measurement is."""
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    SyntaxError,
    RuntimeError,
    OverflowError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise where the bytes of a file make no sense."""


def read_archive(path: Path, limit_bytes: float = math.inf) -> dict[str, np.ndarray]:
    """All arrays of an NPZ file.

    Args:
        path: The file.
        limit_bytes: Refuse archives that inflate to more.

    Raises:
        InputError: Where the file is damaged, holds Python objects, or declares more than it can hold.
    """
    with _one_line(path) as at, zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _require_sane(path, members, limit_bytes)
        arrays = {}
        for member in members:
            at[0] = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                _require_whole(file, member.file_size)
            with archive.open(member) as file:
                arrays[at[0]] = npy.read_array(file, allow_pickle=False)
                file.read()  # checks the sum over the last bytes
        return arrays


def map_npy(path: Path, field: str = "file") -> np.ndarray:
    """The array of an NPY file, mapped: read as it is used.

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
    """Turn any failure into an `InputError` that names what was being read."""
    at = [field]
    try:
        yield at
    except InputError:
        raise
    except DAMAGE as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise InputError(str(path), at[0], "pickled Python objects", "an array of numbers") from error
        found = f"a truncated or damaged file ({error})"
        raise InputError(str(path), at[0], found, "a complete NPZ or NPY file") from error


def _require_sane(path: Path, members: list[zipfile.ZipInfo], limit_bytes: float) -> None:
    if len(members) > MAX_MEMBERS:
        raise InputError(str(path), "file", f"{len(members)} members", f"at most {MAX_MEMBERS}")
    total = sum(member.file_size for member in members)
    size = path.stat().st_size
    if total > HARMLESS_BYTES and total > MAX_RATIO * size:
        raise InputError(str(path), "file", f"{human_size(total)} declared in {human_size(size)}", "data really there")
    if total > limit_bytes:
        expected = f"at most {human_size(limit_bytes)}; raise --memory_budget_MB, or convert to HDF5"
        raise InputError(str(path), "file", f"an archive of {human_size(total)}", expected)


def _require_whole(file: Any, size: int) -> None:
    """Raise where the header of an array declares another size than the bytes that follow it."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Python objects")
    declared = math.prod(shape) * dtype.itemsize
    stored = size - file.tell()
    if min(shape, default=0) < 0 or declared != stored:
        raise ValueError(f"shape {shape} of {dtype} in {stored} bytes")
