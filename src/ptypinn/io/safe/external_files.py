"""Files that a scan file names, and whether those outside its folder may be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from ptypinn.errors import InputError

_allowed: ContextVar[bool] = ContextVar("external_files_allowed", default=False)


@contextlib.contextmanager
def external_files(allowed: bool) -> Iterator[None]:
    """Allow or forbid references of scan files out of their folder, within the context."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def are_external_files_allowed() -> bool:
    """Return True if scan files may refer to files outside their folder."""
    return _allowed.get()


def require_inside(path: Path, targets: Iterable[Path]) -> None:
    """Raise `InputError` where a file that is read with another lies, links followed, outside the folder of the other.

    What lies below the folder counts as inside. Files that do not exist are left alone: nothing can be read from them.

    Args:
        path: The scan file; a symbolic link counts as the file it leads to.
        targets: Files that are read with it.
    """
    folder = path.resolve().parent
    for target in () if are_external_files_allowed() else targets:
        if target.exists() and not (place := target.resolve()).is_relative_to(folder):
            where = f"a link to {place}, outside the folder of the file"
            raise InputError(str(path), target.name, where, "files in it, or --allow-external")
