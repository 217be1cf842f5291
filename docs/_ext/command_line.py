"""The command-line reference, written from the parser itself so that it cannot be stale."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser

from ptypinn.cli.main import COMMANDS
from ptypinn.cli.options import command_parser

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGE = "reference/command-line"
MARKER = "<!-- every command and option -->"
OWN_GROUPS = ("positional arguments", "options")
WORDS = {"int": "N", "float": "X", "str": "TEXT", "dict": "{NAME: VALUE}"}
VALUES = {"config": "FILE", "print_config": "[=FLAGS]"}
"""Values of options without a type."""


def commands() -> str:
    """Return Markdown with every command and option; options that all or several commands have are listed once."""
    parsers = {name: command_parser(name, command, full=True) for name, command in COMMANDS.items()}
    named = [{action.dest: action for action in _own(parser)} for parser in parsers.values()]
    common = [action for dest, action in named[0].items() if all(dest in one for one in named)]
    groups: dict[str, dict[str, Any]] = {}
    for parser in parsers.values():  # a command that has an option in one group lacks it in another
        for group in _groups(parser):
            groups.setdefault(group.title, {}).update({action.dest: action for action in group._group_actions})
    uses = Counter(group.title for parser in parsers.values() for group in _groups(parser))
    shared = {title for title in groups if uses[title] > 1}
    lines = ["## Options of every command", "", *_program("ptypinn"), *_options(common)]
    for name, parser in parsers.items():
        lines += _command(name, parser, {action.dest for action in common}, shared)
    for title in sorted(shared):
        lines += [f"## {title}", "", *_program("ptypinn"), *_options([*groups[title].values()])]
    return "\n".join(lines)


def _own(parser: ArgumentParser) -> list[Any]:
    """Return the arguments and options of a command that are no fields of a configuration."""
    groups = [group for group in parser._action_groups if group.title in OWN_GROUPS]
    return [action for group in groups for action in group._group_actions]


def _groups(parser: ArgumentParser) -> list[Any]:
    """Return the options of a command by configuration."""
    return [group for group in parser._action_groups if group.title not in OWN_GROUPS and group._group_actions]


def _command(name: str, parser: ArgumentParser, common: Collection[str], shared: Collection[str]) -> Iterator[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    yield from (f"## ptypinn {name}", "", COMMANDS[name].summary, "", "```text", usage, "```", "")
    yield from _program(f"ptypinn {name}")
    yield from _options([action for action in _own(parser) if action.dest not in common])
    for group in _groups(parser):
        if group.title in shared:
            anchor = re.sub(r"[^\w -]", "", group.title.lower()).replace(" ", "-")
            yield from (f"Also takes the options under [{group.title}](#{anchor}).", "")
        else:
            yield from (f"### {group.title}", "", *_options(group._group_actions))


def _program(name: str) -> list[str]:
    return [f"```{{program}} {name}", "```", ""]


def _options(actions: list[Any]) -> Iterator[str]:
    for action in actions:
        flags = ", ".join(flag.replace("_", "-") for flag in action.option_strings) or action.dest.upper()
        help_text = " ".join(str(action.help).replace("%%", "%").split())
        yield from (f"```{{option}} {flags}{_value(action)}", f"{help_text}{_default(action)}", "```", "")


def _value(action: Any) -> str:
    kind = getattr(action, "_typehint", None)
    if action.dest in VALUES:
        return f" {VALUES[action.dest]}"
    return f" {_word(kind)}" if action.option_strings and kind is not None else ""


def _word(kind: Any) -> str:
    """Return a type as it is written after an option."""
    arguments = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is Literal:
        return "|".join(map(str, arguments))
    if get_origin(kind) is tuple:
        return ",".join("..." if one is Ellipsis else _word(one) for one in arguments)
    if get_origin(kind) is dict:
        return WORDS["dict"]
    return _word(arguments[0]) if arguments else WORDS[kind.__name__]


def _default(action: Any) -> str:
    default = action.default
    if len(action.option_strings) == 2 and isinstance(default, bool):
        return f" Default: `{action.option_strings[0 if default else 1]}`."
    if not action.option_strings or getattr(action, "_typehint", None) is None:
        return ""
    if action.required:
        return " Required."
    plain = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
    return "" if default in (None, "", {}) else f" Default: `{plain}`."


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Write the commands where the page has the marker."""
    if name == PAGE:
        before, after = source[0].split(MARKER)
        source[0] = before + commands() + after


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of pages."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
