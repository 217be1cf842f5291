"""Check the heaps of an HDF5 file that hold its texts of any length: the library reads a damaged one without end.

A global heap collection is a row of objects, each with its index and size; index 0 is the free space up to the end.
The library goes from object to object by their sizes, and stays for ever at free space of size 0. (HDF5 file format
specification, version 3.0, III.E.)
"""

from __future__ import annotations

import functools
import mmap
from pathlib import Path

from ptypinn.errors import InputError

SIGNATURE, HEADER_BYTES, OBJECT_BYTES = b"GCOL", 16, 16
MAX_FILE_BYTES = 2**28
"""Largest file that is searched: the search reads all of it."""
MAX_OBJECTS = 65536
"""Largest number of objects in a collection: their index has two bytes."""


def require_sane_heaps(path: Path) -> None:
    """Raise `InputError` where a heap of an HDF5 file would be read without end.

    Args:
        path: The file; larger ones than `MAX_FILE_BYTES` are taken as they are.
    """
    status = path.stat()
    if 0 < status.st_size <= MAX_FILE_BYTES and not _has_sane_heaps(path, status.st_mtime_ns, status.st_size):
        raise InputError(str(path), "file", "a damaged HDF5 file (a heap without an end)", "a complete one")


@functools.lru_cache(maxsize=64)
def _has_sane_heaps(path: Path, modified_ns: int, size: int) -> bool:
    """Search a file; the result is cached until the file changes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(SIGNATURE)
        while start >= 0:
            if not _ends(content, start):
                return False
            start = content.find(SIGNATURE, start + len(SIGNATURE))
    return True


def _ends(content: mmap.mmap, start: int) -> bool:
    """Return True if the row of objects of a collection comes to an end."""
    end = min(start + int.from_bytes(content[start + 8 : start + 16], "little"), len(content))
    place = start + HEADER_BYTES
    for _ in range(MAX_OBJECTS):
        if place + OBJECT_BYTES > end:
            return True
        index = int.from_bytes(content[place : place + 2], "little")
        size = int.from_bytes(content[place + 8 : place + 16], "little")
        if index == 0 and size == 0:
            return False
        place += size if index == 0 else OBJECT_BYTES + (size + 7) // 8 * 8
    return False
