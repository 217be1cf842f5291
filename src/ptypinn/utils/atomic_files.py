"""Write files atomically: a file never exists half-written under its final name.

A temporary file in the same folder bears the process that writes it in its name. Those of processes that have died are
deleted when a file of the same name is written again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Numbers of the errors that a full disk, a quota and a limit on the size of files raise."""
MAX_NAME = 100
"""Characters of a file's name that its temporary file bears."""
MAX_AGE_S = 7 * 24 * 3600.0
"""Time since its last change after which a temporary file of another computer counts as left behind."""
OWNER = re.compile(r"\.(?P<pid>\d+)@(?P<host>[^@]*)@")


@contextlib.contextmanager
def atomic_path(path: Path, need_bytes: int = 0) -> Iterator[Path]:
    """Yield a temporary path in the same folder; move it to `path` on success, delete it on any failure.

    The file is flushed to disk before it is moved.

    Args:
        path: The file.
        need_bytes: Bytes that will be written, where that is certain beforehand.

    Raises:
        OSError: Where it cannot be written; a full disk is named with the folder, the need and the space.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    delete_leftovers(path.parent, path.name)
    prefix = f".{path.name[:MAX_NAME]}.{os.getpid()}@{platform.node()}@"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix[:MAX_NAME], dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        require_space(path.parent, need_bytes)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_current_umask())
        os.replace(temporary, path)
    except BaseException as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_full(error):
            raise _describe_full(error, path, getattr(error, "need_bytes", need_bytes), written) from error
        raise


class NoSpaceError(OSError):
    """A file that cannot fit, as is known before it is written or from a part of it.

    Args:
        need_bytes: Bytes of the whole file, at least.
    """

    def __init__(self, need_bytes: int) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.need_bytes = need_bytes


def require_space(folder: Path, need_bytes: int) -> None:
    """Raise `NoSpaceError` where a folder has less space than a file needs."""
    if need_bytes and shutil.disk_usage(folder).free < need_bytes:
        raise NoSpaceError(need_bytes)


def write_text(path: Path, text: str) -> Path:
    """Write text atomically, as UTF-8; return the path."""
    content = text.encode()
    with atomic_path(path, len(content)) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_json(path: Path, content: Any) -> Path:
    """Write indented JSON atomically; return the path.

    Raises:
        ValueError: For NaN and infinity.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     print(write_json(Path(folder) / "metrics.json", {"frc": 0.5}).read_text().strip())
        {
          "frc": 0.5
        }
    """
    return write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def delete_leftovers(folder: Path, name: str = "") -> None:
    """Delete temporary files of processes of this computer that have died, and of others that are a week old.

    Args:
        folder: The folder they are in.
        name: Name of the file that they would have become; empty for any.
    """
    start = f".{name[:MAX_NAME]}." if name else "."
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            owner = OWNER.search(entry.name) if entry.name.startswith(start) else None
            with contextlib.suppress(OSError):
                if owner is not None and _is_dead(owner, entry):
                    Path(entry.path).unlink()


def _is_dead(owner: re.Match[str], entry: os.DirEntry[str]) -> bool:
    """Return True if the process that a temporary file names has died, as far as this computer can tell."""
    if owner["host"] == platform.node():
        return not is_running(int(owner["pid"]))
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > MAX_AGE_S


def is_running(pid: int) -> bool:
    """Return True if a process of this computer runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_full(error: OSError) -> bool:
    """Return True for the errors of a full disk; that of NumPy, "5 requested and 3 written", has no number."""
    return error.errno in FULL or (error.errno is None and str(error).endswith(" written"))


def _describe_full(error: OSError, path: Path, need_bytes: int, written: int = 0) -> OSError:
    """Return the error of a full disk with the folder, the need and the space."""
    free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
    limit = " in one file, which a limit of this process forbids" if error.errno == errno.EFBIG else ""
    size = f"at least {need_bytes / 1e6:.3g}" if need_bytes > written else f"more than {written / 1e6:.3g}"
    need = f"{size} MB are needed for {path.name}{limit}"
    return OSError(
        error.errno or errno.ENOSPC, f"no space left: {need}, {free / 1e6:.3g} MB are free", str(path.parent)
    )


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
