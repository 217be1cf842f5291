"""Lock of a run folder: one process at a time writes to it.

The lock is one of the operating system, which ends with the process that holds it, however that ends. Its file names
the process for others.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from ptypinn.errors import InputError

LOCK = ".lock"
"""Name of the file in the run folder."""
MAX_RECORD_BYTES = 4096


class RunLock:
    """The lock of a run folder.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock; a file that a dead process has left counts for nothing.

        Raises:
            InputError: Where another process holds it.
        """
        while self._handle is None:
            handle = self._open()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _describe_owner(handle)
                os.close(handle)
                actual = f"{self._path.parent}, in use by {owner}"
                raise InputError("--output-dir", "", actual, "another folder, or the end of that run") from None
            except OSError:  # file systems without locks
                pass
            if self._is_at_path(handle):
                self._handle = handle
            else:  # the holder before has deleted the file meanwhile
                os.close(handle)
        record = {"host": platform.node(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        with contextlib.suppress(OSError):  # a file of another user cannot name this process, and keeps others out
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, json.dumps(record).encode(), 0)

    @property
    def is_held(self) -> bool:
        """True while the folder and the lock in it are those of `acquire`."""
        return self._handle is not None and self._is_at_path(self._handle)

    def release(self) -> None:
        """Give the lock back, and delete its file."""
        if self._handle is None:
            return
        if self.is_held:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._handle)
        self._handle = None

    def _open(self) -> int:
        """Open the file; that of another user only for reading, which is enough to lock it."""
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags | os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            if not self._path.exists():
                raise
            return os.open(self._path, flags | os.O_RDONLY)

    def _is_at_path(self, handle: int) -> bool:
        try:
            there, here = os.stat(self._path, follow_symlinks=False), os.fstat(handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _describe_owner(handle: int) -> str:
    """Return the process that a lock names."""
    try:
        record = json.loads(os.pread(handle, MAX_RECORD_BYTES, 0))
        return f"process {int(record['pid'])} on {str(record['host'])[:100]} since {str(record['since'])[:30]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
