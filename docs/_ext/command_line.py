"""The command-line reference, written from the parser itself so that it cannot be stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser
from sphinx.application import Sphinx

from ptypinn.cli.options import stage_parser
from ptypinn.cli.stages import STAGES

PAGE = "reference/command-line"
MARKER = "<!-- every command and option -->"
OWN_GROUPS = ("positional arguments", "options")
WORDS = {"int": "N", "float": "X", "str": "TEXT", "bool": "true|false"}


def commands() -> str:
    """Markdown with every command and option: a section for each command, and one for each shared group of options."""
    parsers = {name: stage_parser(name) for name in STAGES}
    uses = Counter(group.title for parser in parsers.values() for group in _config_groups(parser))
    shared = {title for title, count in uses.items() if count > 1}
    lines: list[str] = []
    for name, parser in parsers.items():
        lines += _command(name, parser, shared)
    groups = {group.title: group for parser in parsers.values() for group in _config_groups(parser)}
    for title in sorted(shared):
        lines += [f"## {title}", "", "```{program} ptypinn", "```", ""]
        lines += _options(groups[title])
    return "\n".join(lines)


def _config_groups(parser: ArgumentParser) -> list[Any]:
    return [group for group in parser._action_groups if group.title not in OWN_GROUPS and group._group_actions]


def _command(name: str, parser: ArgumentParser, shared: set[str]) -> Iterator[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    yield from (f"## ptypinn {name}", "", STAGES[name].summary, "", "```text", usage, "```", "")
    yield from (f"```{{program}} ptypinn {name}", "```", "")
    for group in parser._action_groups:
        if group.title in OWN_GROUPS:
            yield from _options(group)
        elif group.title in shared:
            yield from (f"and the options under [{group.title}](#{_anchor(group.title)}).", "")
        elif group._group_actions:
            yield from (f"### {group.title}", "")
            yield from _options(group)


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _options(group: Any) -> Iterator[str]:
    for action in group._group_actions:
        if action.dest == "help":
            continue
        flags = [flag.replace("_", "-") for flag in action.option_strings] or [action.dest.upper()]
        kind = getattr(action, "_typehint", None)
        value = f" {_value(kind)}" if action.option_strings and kind is not None else ""
        yield from ("```{option} " + ", ".join(flags) + value, str(action.help).replace("%%", "%"), "")
        yield from (_about(action, kind), "```", "")


def _value(kind: Any) -> str:
    """What is written after an option."""
    arguments = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is Literal:
        return "|".join(map(str, arguments))
    if get_origin(kind) is tuple:
        return ",".join(_value(one) for one in arguments if one is not Ellipsis) + (
            ",..." if Ellipsis in arguments else ""
        )
    if get_origin(kind) in (list, None) or not arguments:
        return WORDS.get(getattr(kind, "__name__", ""), "TEXT")
    return _value(arguments[0])


def _about(action: Any, kind: Any) -> str:
    if getattr(action, "required", False) and action.option_strings:
        return "Required."
    default = action.default
    if kind is None or default in (None, "") or not action.option_strings:
        return ""
    plain = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
    return f"Default: `{plain.lower() if isinstance(default, bool) else plain}`."


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Write the commands where the page has the marker."""
    if name == PAGE:
        before, after = source[0].split(MARKER)
        source[0] = before + commands() + after


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of pages."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
