"""Fields of configurations as options of a command line or a form: name, type, default, and the sentence on each."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ptypinn.config.shared import option_name
from ptypinn.errors import InputError

NUMBER = r"[-+]?[\d.]+(?:[eE][-+]?\d+)?"
NUMBERS = re.compile(rf"{NUMBER}(,\s*{NUMBER})+")
MAX_TEXT = 1000
"""Longest text of a value."""
NOUNS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class ConfigField:
    """One option: a field of a configuration, or a parameter of a command."""

    name: str
    """Name of the field."""
    kind: Any
    """Type of its values."""
    default: Any
    """Its default; `MISSING` where it has none."""
    text: str
    """The sentence that documents it."""
    group: str = ""
    """Title of the options that it is one of: the first line of its configuration's docstring."""

    @property
    def is_switch(self) -> bool:
        """True for an option that is on or off, without a value."""
        return self.kind is bool or set(get_args(self.kind)) == {bool, type(None)}

    @property
    def choices(self) -> tuple[str, ...]:
        """Values to choose from, where there are no others."""
        return tuple(map(str, get_args(self.kind))) if get_origin(self.kind) is Literal else ()


def list_fields(kinds: Iterable[type]) -> Iterator[ConfigField]:
    """Yield the fields of configurations, each name once: of every class its own ones first, then the inherited ones.

    >>> from ptypinn.config.refine import RefineConfig
    >>> next(list_fields([RefineConfig])).name
    'iterations'
    """
    names: set[str] = set()
    for kind in kinds:
        group = group_title(kind)
        hints, texts, own = get_type_hints(kind), field_help(kind), vars(kind).get("__annotations__", {})
        for field in sorted(fields(kind), key=lambda field: field.name not in own):
            if field.name not in names:
                names.add(field.name)
                default = field.default if field.default_factory is MISSING else field.default_factory()
                yield ConfigField(field.name, hints[field.name], default, texts[field.name], group)


def group_title(kind: type) -> str:
    """Return the title of the options of a configuration, the first line of its docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0].rstrip(".:")


def field_help(kind: type) -> dict[str, str]:
    """Return the sentences that document the fields of a configuration, inherited ones included.

    >>> from ptypinn.config.refine import RefineConfig
    >>> field_help(RefineConfig)["device"]
    'cpu, cuda, or auto.'
    """
    from docstring_parser import parse_from_object

    sentences: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if "__dataclass_fields__" in vars(parent):
            documented = parse_from_object(parent).params
            sentences |= {each.arg_name: " ".join((each.description or "").split()) for each in documented}
    return sentences


def parse_value(field: ConfigField, text: str) -> Any:
    """Return the value that a text means, as on the command line.

    Args:
        field: The option.
        text: The text, such as `3`, `128,128` or `auto`.

    Raises:
        InputError: Where it is no value of the option's type.

    >>> [parse_value(ConfigField("x", tuple[int, int] | None, None, ""), text) for text in ("1,2", "null")]
    [(1, 2), None]
    """
    from argparse import ArgumentError

    from jsonargparse import ArgumentParser

    option, parser = option_name(field.name), ArgumentParser(exit_on_error=False)
    parser.add_argument(option, type=field.kind)
    stated = f"[{text}]" if NUMBERS.fullmatch(text) else text
    try:
        if len(text) > MAX_TEXT or "\0" in text:
            raise ValueError
        return parser.parse_args([f"{option}={stated}"])[field.name]
    except (ArgumentError, ValueError, RecursionError):
        raise InputError(option, "", repr(text[:80]), describe_kind(field.kind)) from None


def describe_kind(kind: Any) -> str:
    """Return the values of a type in words.

    >>> describe_kind(int | Literal["auto"]), describe_kind(tuple[float, float] | None)
    ('a whole number, or auto', '2 numbers')
    """
    if get_origin(kind) is Literal:
        names = [str(value) for value in get_args(kind) if value != ""]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if get_origin(kind) in (Union, types.UnionType):
        words = dict.fromkeys(describe_kind(each) for each in get_args(kind) if each is not type(None))
        return ", or ".join(words)
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        unit = "whole numbers" if set(get_args(kind)) == {int} else "numbers"
        return f"{len(get_args(kind))} {unit}"
    return NOUNS.get(kind, "numbers with commas between them")
