"""Options of sources, and addresses with options in their query."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

from ptypinn.errors import InputError

PositionsUnit = Literal["m", "mm", "um", "nm"]
"""Units of lengths that stages report."""
PATIENCE = 30.0
"""Time without anything new that ends a scan of which stated frames are still to come, in units of `idle_s`."""
Options = TypeVar("Options")


@dataclass(frozen=True)
class SourceOptions:
    """Options of all sources: where positions come from, and when a scan is over.

    >>> SourceOptions(positions="zmq://stage:5556", positions_unit="um").idle_s
    10.0
    """

    positions: str = ""
    """Address of the positions where they do not come with the frames: another stream, a PV or a file."""
    positions_unit: PositionsUnit = "m"
    """Unit of positions whose source does not state one."""
    idle_s: float = 10.0
    """Time without anything new, seconds, after which a scan is complete that announces no end: a growing file or
    folder (30 times as long while frames of a stated number are to come), images of PV Access after the first, and
    messages of ZeroMQ after the last frame of a stated number: without that number they go on until they announce an
    end. After the end of the frames, positions of another source are waited for as long."""

    def __post_init__(self) -> None:
        units = get_args(PositionsUnit)
        if self.positions_unit not in units:
            raise InputError("--positions-unit", "", repr(self.positions_unit), f"one of {', '.join(units)}")
        if not 0 < self.idle_s < float("inf"):
            raise InputError("--idle-s", "", str(self.idle_s), "seconds, above 0")


def split_query(address: str) -> tuple[str, dict[str, str]]:
    """Return an address without its query, and the options in that.

    >>> split_query("replay:scan.h5?rate=200&lost=0.01")
    ('replay:scan.h5', {'rate': '200', 'lost': '0.01'})

    Raises:
        InputError: Where the query is no list of NAME=VALUE, or has a name twice.
    """
    place, _, query = address.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise InputError(address, "options", repr(query), "NAME=VALUE, joined by &") from error
    options = dict(pairs)
    if len(options) < len(pairs):
        raise InputError(address, "options", "one of them twice", "each once")
    return place, options


def parse_options(kind: type[Options], query: dict[str, str], address: str) -> Options:
    """Return the options of a dataclass from the texts of a query.

    Args:
        kind: The dataclass; its fields are texts, numbers, booleans or choices.
        query: Texts by name.
        address: Address that they come from, for messages.

    Raises:
        InputError: Where a name is unknown, or a text is no value of the field.
    """
    types = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in query:
        if name not in names:
            raise InputError(address, "options", repr(name), f"one of {', '.join(names)}")
    return kind(**{name: _convert(types[name], text, name, address) for name, text in query.items()})


def _convert(kind: Any, text: str, name: str, address: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise InputError(address, name, repr(text), f"one of {', '.join(get_args(kind))}")
        return text
    if NoneType in get_args(kind):
        kind = next(each for each in get_args(kind) if each is not NoneType)
    if kind is bool:
        return _convert(Literal["true", "false"], text, name, address) == "true"
    try:
        return kind(text)
    except ValueError as error:
        expected = {int: "a whole number", float: "a number"}.get(kind, "a value")
        raise InputError(address, name, repr(text), expected) from error
