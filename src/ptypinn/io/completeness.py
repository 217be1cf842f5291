"""Completeness of scan files, by their first and last bytes: nothing of them is parsed, and no library opens them.

An HDF5 file states where its data end, and since version 3 of its superblock whether a writer has it open
(HDF5 File Format Specification 3.0, section II.A). A ZIP archive, such as NPZ, ends in its directory.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

HDF5_SIGNATURE, ZIP_SIGNATURE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
FIRST_USER_BLOCK, MAX_USER_BLOCK = 512, 2**20
"""Sizes that the block of a user before the superblock may have: powers of 2 from the first on."""
HEAD_BYTES = 96
"""Bytes of a superblock that matter."""
EOF_FIELDS = {0: (13, 24, 2), 1: (13, 28, 2), 2: (9, 12, 2), 3: (9, 12, 2)}
"""By version of the superblock: place of the size of addresses, place of the first address, number of addresses before
that of the end of the file."""
FLAGS_AT, OPEN_FLAGS = 11, 0b101
"""Place and bits of the flags of version 3 that a writer sets while it has the file open."""
LOCKS = Path("/proc/locks")
OPEN = "it is open for writing"


def describe_incomplete(path: Path) -> str:
    """Return the reason why a file is not complete, or an empty text where nothing shows that it is not.

    Args:
        path: A regular file.

    Raises:
        OSError: Where it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = stack.enter_context(os.fdopen(handle, "rb"))
        status = os.fstat(handle)
        size = status.st_size
        if not size:
            return "it is empty"
        if _is_locked(status):
            return OPEN
        if (start := _find_superblock(file, size)) is not None:
            file.seek(start)
            return _describe_hdf5(file.read(HEAD_BYTES), size)
        file.seek(0)
        if file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE and not zipfile.is_zipfile(file):
            return "its archive has no directory yet"
    return ""


def _is_locked(status: os.stat_result) -> bool:
    """Return True where a process has locked a file for itself, as HDF5 does while it writes.

    The list of the system is read: a lock of our own would be in the way of a writer.
    """
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return False
    return any(words[3:4] == ["WRITE"] and name in words for words in map(str.split, lines))


def _find_superblock(file: BinaryIO, size: int) -> int | None:
    """Return the place of the superblock of an HDF5 file; None for other files."""
    place = 0
    while place < min(size, MAX_USER_BLOCK + 1):
        file.seek(place)
        if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
            return place
        place = 2 * place or FIRST_USER_BLOCK
    return None


def _describe_hdf5(head: bytes, size: int) -> str:
    version = head[len(HDF5_SIGNATURE)] if len(head) > len(HDF5_SIGNATURE) else -1
    if version not in EOF_FIELDS or len(head) < HEAD_BYTES // 2:
        return ""  # reading it tells what is wrong
    if version == 3 and head[FLAGS_AT] & OPEN_FLAGS:
        return OPEN
    width_at, first, before = EOF_FIELDS[version]
    width = head[width_at]
    end = int.from_bytes(head[first + before * width : first + (before + 1) * width], "little")
    if end > size:
        return f"{size} of its {end} bytes are there"
    return "" if end == size else "its end is not written yet"
