"""Files of a folder that may be a stranger's: regular files in it alone are read, and no more of them than is needed.

A link leads anywhere, a pipe waits for ever, a device never ends. All of them count as files that cannot be read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

MAX_RECORD_BYTES = 2**26
"""Longest record that is read."""
MAX_REPORT_BYTES = 2**28
"""Longest report that is served."""


def is_regular(path: Path) -> bool:
    """Return True for a regular file, which no link leads to."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def read_start(path: Path, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
    """Return the first bytes of a regular file.

    Raises:
        OSError: Where it cannot be read, or is something else.
    """
    with open_regular(path) as file:
        return file.read(max_bytes)


def read_end(path: Path, max_bytes: int) -> bytes:
    """Return the last bytes of a regular file.

    Raises:
        OSError: Where it cannot be read, or is something else.
    """
    with open_regular(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
        return file.read(max_bytes)


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Return a regular file.

    Raises:
        OSError: Where it cannot be read, is something else, or is longer than `max_bytes`.
    """
    content = read_start(path, max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"{path} is longer than {max_bytes} bytes")
    return content


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: Where it cannot be read, or is something else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(handle, "rb")


def lies_in(path: Path, folders: Iterable[Path]) -> bool:
    """Return True if a path, links followed, is in one of some folders or below."""
    try:
        resolved = path.resolve()
        return any(resolved.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError):
        return False
