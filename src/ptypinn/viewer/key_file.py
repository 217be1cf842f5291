"""The key of a viewer in files for its owner alone: one that outlives the viewer, and one that opens the browser.

Whoever is on a machine sees the arguments of every process, those of a browser as well.
"""

from __future__ import annotations

import contextlib
import html
import os
import re
import secrets
import stat
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.runs.untrusted import open_regular

OPTION = "--key-file"
KEY = re.compile(r"[\w-]{16,200}", re.ASCII)
MAX_BYTES = 256
REDIRECT_S = 60.0
"""Time after which the file that leads a browser to the viewer is deleted."""
REDIRECT = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>ptypinn view</title>'
    '<meta http-equiv="refresh" content="0; url={0}"><a href="{0}">ptypinn view</a>\n'
)
EXPECTED = "a key of 16 to 200 letters, digits, - and _, or no file: then one is written"


def create_key() -> str:
    """Return a new key."""
    return secrets.token_urlsafe(16)


def read_key(path: Path) -> str:
    """Return the key in a file; where there is none, write a new one that its owner alone can read.

    Raises:
        InputError: Where the file belongs to or can be read by others, holds something else, or cannot be written.
    """
    try:
        with contextlib.suppress(FileExistsError):
            _write_key(path)
        with open_regular(path) as file:
            status, content = os.fstat(file.fileno()), file.read(MAX_BYTES)
    except OSError as error:
        reason = error.strerror or "a link or no regular file"
        raise InputError(OPTION, "", f"{path} ({reason})", "a file in a folder of this user") from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise InputError(OPTION, "", f"{path} with mode {mode:o}", "a file that nobody else can read: chmod 600")
    if status.st_uid not in (os.geteuid(), 0):
        raise InputError(OPTION, "", f"{path} of another user", "a file of this user")
    key = content.decode("ascii", "replace").strip()
    if not KEY.fullmatch(key):
        raise InputError(OPTION, "", f"{path} with something else", EXPECTED)
    return key


@contextlib.contextmanager
def page_in_browser(address: str) -> Iterator[Path]:
    """Open the browser at an address with the key, and not show the key among its arguments; yield a file.

    The browser gets a file that nobody else can read and that leads to the address, as Jupyter's does. It is deleted
    after a while, and when the context ends.

    Args:
        address: The address.
    """
    handle, name = tempfile.mkstemp(prefix="ptypinn-view-", suffix=".html")  # of mode 600
    path = Path(name)
    timer = threading.Timer(REDIRECT_S, path.unlink, kwargs={"missing_ok": True})
    timer.daemon = True
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(REDIRECT.format(html.escape(address)))
        timer.start()
        webbrowser.open(path.as_uri())
        yield path
    finally:
        timer.cancel()
        path.unlink(missing_ok=True)


def _write_key(path: Path) -> None:
    """Write a new key to a new file.

    Raises:
        OSError: Where the file exists, or cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, f"{create_key()}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)
