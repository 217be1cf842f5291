"""Addresses of scans in progress that requests state: streams of protocols that there are, and files in the folder."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

from ptypinn.errors import InputError
from ptypinn.streams.sources.options import split_query
from ptypinn.streams.sources.registry import KINDS, check_address
from ptypinn.viewer.inside import locate_place

SOURCE = "SOURCE"
"""Name of the argument in messages."""
ADDRESSES = {"positions_source"}
"""Options that are addresses of sources too."""
STREAMS = ("dectris", "zmq", "pva")
"""Protocols of streams over the network."""
REPLAY = "replay"
REPLAY_RATE_HZ = 200
"""Frames per second of the replay that a form proposes."""
HOST = re.compile(r"//[^\s/?#\\@]+")
"""Host and port, or the name of a PV: nothing that is a path."""
MAX_ADDRESS = 500
EXPECTED = f"one of {', '.join(KINDS)}, files in the folder of this viewer"


def locate_source(text: str, root: Path, name: str = SOURCE) -> str:
    """Return the address of a source, files by their full paths; nothing is opened.

    Args:
        text: Address, files relative to the folder of the viewer.
        root: The folder.
        name: Argument or option that it is the value of, for messages.

    Raises:
        InputError: Where there is no such kind of source, an option in its query is wrong, the package for it is not
            installed, or a file is missing or outside the folder.
    """
    if not text or len(text) > MAX_ADDRESS or not text.isprintable():
        raise InputError(name, "", repr(text[:MAX_ADDRESS]), EXPECTED)
    try:
        address = _fill_in(text, root, name)
        check_address(address)
    except InputError as error:
        raise InputError(name, error.field, error.actual, error.expected) from None
    return address


def propose_replay(place: Path) -> str:
    """Return the address of a scan file that is sent as if it were measured now.

    >>> propose_replay(Path("a/scan.h5"))
    'replay:a/scan.h5?rate=200'
    """
    return f"{REPLAY}:{place}?{urlencode({'rate': REPLAY_RATE_HZ})}"


def find_file(text: str, root: Path) -> Path | None:
    """Return the file or folder that an address names; None for a stream, or where it is refused."""
    try:
        address = locate_source(text, root)
    except InputError:
        return None
    kind, _, rest = address.partition(":")
    return None if kind in STREAMS else Path(split_query(rest if kind == REPLAY else address)[0])


def _fill_in(text: str, root: Path, name: str) -> str:
    """Return an address with full paths."""
    kind, colon, rest = text.partition(":")
    if colon and kind in STREAMS:
        if not HOST.fullmatch(split_query(rest)[0]):
            raise InputError(name, "", repr(text), f"{kind}://{'PV_NAME' if kind == 'pva' else 'HOST:PORT'}")
        return text
    if colon and kind == REPLAY:
        return f"{REPLAY}:{_locate(rest, root, name, with_folders=False)}"
    return _locate(text, root, name, with_folders=True)


def _locate(text: str, root: Path, name: str, *, with_folders: bool) -> str:
    """Return a path and the options behind it, by its full path."""
    place, mark, query = text.partition("?")
    path = None if "://" in place else locate_place(place, root)
    if path is None or "?" in str(path) or not (path.is_file() or (with_folders and path.is_dir())):
        raise InputError(name, "", repr(text), EXPECTED)
    return f"{path}{mark}{query}"
