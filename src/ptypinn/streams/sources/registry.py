"""Sources by their addresses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ptypinn.errors import InputError
from ptypinn.streams.messages import Source
from ptypinn.streams.sources.options import SourceOptions, parse_options, split_query

Opener = Callable[[], Source]
"""Opens a source whose address has been read."""
Result = TypeVar("Result")
DEFAULTS = SourceOptions()
EXTRAS = {"zmq": "live", "cbor2": "live", "dectris": "live", "watchfiles": "live", "p4p": "epics"}
"""Extras that bring a package."""


def open_source(text: str, options: SourceOptions = DEFAULTS) -> Source:
    """Return the source of an address, with that of its positions where they come from somewhere else.

    Args:
        text: Address, such as `replay:scan.h5?rate=200`, or a path.
        options: Options of all sources.

    Raises:
        InputError: Where there is no such kind of source, an option is wrong, or its package is not installed.
    """
    source = _open(text, options)
    if not options.positions:
        return source
    from ptypinn.streams.sources.merged import MergedSource

    try:
        return MergedSource(source, _open_positions(options.positions, options), options.idle_s)
    except InputError:
        source.close()
        raise


def check_address(text: str) -> None:
    """Read the address of a source with its options, without opening it.

    Raises:
        InputError: As `open_source`.
    """
    _import_for(text, lambda: _read(text, DEFAULTS))


def _open(text: str, options: SourceOptions) -> Source:
    return _import_for(text, lambda: _read(text, options)())


def _read(text: str, options: SourceOptions) -> Opener:
    kind, separator, rest = text.partition(":")
    return (READERS.get(kind, _read_path) if separator else _read_path)(text, rest, options)


def _open_positions(text: str, options: SourceOptions) -> Source:
    """Return a source of positions: any, or a file of positions alone."""
    place, query = _split_path(text)
    if text.partition(":")[0] in READERS or not place.is_file():
        return _open(text, options)

    def open_file() -> Source:
        from ptypinn.streams.sources.hdf5_places import FileOptions
        from ptypinn.streams.sources.positions_file import PositionsFile

        return PositionsFile(place, parse_options(FileOptions, query, text), options)

    return _import_for(text, open_file)


def _import_for(text: str, open_it: Callable[[], Result]) -> Result:
    """Return a source or its opener; a package that is not installed becomes an `InputError` that names its extra."""
    try:
        return open_it()
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        expected = f"the package {package}: pip install 'ptypinn[{EXTRAS[package]}]'"
        raise InputError(text, "", f"no {package} installed", expected) from error


def _read_path(text: str, rest: str, options: SourceOptions) -> Opener:
    place, query = _split_path(text)
    if not place.exists():
        actual = "no file or folder of this name, nor a source of a kind that there is"
        raise InputError(text or "SOURCE", "", actual, f"one of {', '.join(KINDS)}")
    from ptypinn.streams.sources.growing import GrowingSource
    from ptypinn.streams.sources.hdf5_places import FileOptions

    return functools.partial(GrowingSource, place, parse_options(FileOptions, query, text), options)


def _split_path(text: str) -> tuple[Path, dict[str, str]]:
    """Return a path and the options behind it; a question mark may be part of a name."""
    if not text or Path(text).exists():
        return Path(text or "?"), {}
    place, query = split_query(text)
    return Path(place), query


def _read_replay(text: str, rest: str, options: SourceOptions) -> Opener:
    from ptypinn.streams.sources.replay import ReplaySource
    from ptypinn.streams.sources.replay_schedule import ReplayOptions

    place, query = split_query(rest)
    return functools.partial(ReplaySource, Path(place), parse_options(ReplayOptions, query, text))


def _read_zmq(text: str, rest: str, options: SourceOptions) -> Opener:
    from ptypinn.streams.sources.plain import parse_plain
    from ptypinn.streams.sources.zeromq import SocketOptions, ZmqSource

    place, query = split_query(rest)
    parse = functools.partial(parse_plain, unit=options.positions_unit)
    chosen = parse_options(SocketOptions, query, text)
    return functools.partial(ZmqSource, _endpoint(text, place), parse, chosen, options.idle_s)


def _read_dectris(text: str, rest: str, options: SourceOptions) -> Opener:
    from ptypinn.streams.sources.zeromq import SocketOptions, ZmqSource, parse_dectris

    place, query = split_query(rest)
    chosen = parse_options(SocketOptions, query, text)
    return functools.partial(ZmqSource, _endpoint(text, place), parse_dectris(chosen.channel), chosen, options.idle_s)


def _read_pva(text: str, rest: str, options: SourceOptions) -> Opener:
    from ptypinn.streams.sources.pva import PvaOptions, PvaSource

    place, query = split_query(rest)
    name = place.removeprefix("//")
    if not name or not place.startswith("//"):
        raise InputError(text, "address", repr(place), "//PV_NAME")
    return functools.partial(PvaSource, name, parse_options(PvaOptions, query, text), options)


def _endpoint(text: str, place: str) -> str:
    """Return the address of ZeroMQ for one of ours."""
    host, _, port = place.removeprefix("//").rpartition(":")
    if not place.startswith("//") or not host or not (port.isdecimal() and 0 < int(port[:6]) < 1 << 16):
        raise InputError(text, "address", repr(place), "//HOST:PORT")
    return f"tcp:{place}"


KINDS = ("a growing file or folder", "replay:FILE", "dectris://HOST:PORT", "zmq://HOST:PORT", "pva://PV_NAME")
"""Addresses of every kind, as messages list them."""
READERS: dict[str, Callable[[str, str, SourceOptions], Opener]] = {
    "replay": _read_replay,
    "dectris": _read_dectris,
    "zmq": _read_zmq,
    "pva": _read_pva,
}
