"""The parser of a command, made from the parameters of its function and the fields of its configurations."""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING
from itertools import groupby
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from ptypinn.config.fields import NUMBER, ConfigField, list_fields
from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ptypinn.cli.command import Command

WORDS = str | tuple[str, ...] | dict[str, Any]
"""Options of several words: on the command line all until the next option, in a file a list or a mapping."""
SHOWN = ("output_dir", "overwrite", "config", "quiet", "json", "debug", "help", "help_all")
"""Options that every `--help` shows."""


def command_parser(name: str, command: Command, *, full: bool = False) -> ArgumentParser:
    """Return the parser of one command.

    Args:
        name: Name of the command.
        command: The command.
        full: Show all options in the help, not the common ones only.
    """
    from jsonargparse import ArgumentParser

    positionals = [parameter for parameter in command.parameters() if parameter.positional]
    words = "".join(f" {_metavar(parameter.name, parameter.kind)}" for parameter in positionals)
    parser = ArgumentParser(
        prog=f"ptypinn {name}",
        description=command.summary,
        usage=f"ptypinn {name}{words} [options]",
        epilog="" if full else f"`ptypinn {name} --help-all` lists all options.",
        allow_abbrev=False,
        formatter_class=_formatter(),
    )
    for parameter in positionals:
        several: dict[str, Any] = {"nargs": "+"} if parameter.kind == list[str] else {}
        parser.add_argument(parameter.name, type=str, help=parameter.text, **several)
    shown = None if full else {*SHOWN, *command.common}
    parser.add_argument("--help-all", action=_HelpAll, name=name, command=command, help="Show all options and exit.")
    for parameter in command.parameters():
        if not parameter.positional:
            option = ConfigField(parameter.name, parameter.kind, parameter.default, parameter.text)
            _add_option(parser, option, shown)
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")
    parser.add_argument("--debug", action="store_true", help="Print the traceback of an error before its line.")
    _add_fields(parser, sorted(command.configs, key=lambda kind: kind is LoadConfig), shown)
    return parser


def _add_fields(parser: Any, kinds: Sequence[type], shown: set[str] | None) -> None:
    """Add the fields of configurations as options, a group for each class."""
    for title, members in groupby(list_fields(kinds), lambda field: field.group):
        group = parser.add_argument_group(title)
        for field in members:
            _add_option(group, field, shown)


def _add_option(group: Any, field: ConfigField, shown: set[str] | None) -> None:
    from jsonargparse import ActionYesNo

    hidden = shown is not None and field.name not in shown
    text, default = argparse.SUPPRESS if hidden else field.text.replace("%", "%%"), field.default
    if field.is_switch:
        action = ActionYesNo(yes_prefix="", no_prefix="no-")
        group.add_argument(option_name(field.name), action=action, default=default, help=text)
    else:
        required = {"required": True} if default is MISSING else {"default": default}
        words = {"type": WORDS, "metavar": field.name.upper()}
        several: dict[str, Any] = words if takes_words(field.kind) else {"type": field.kind}
        group.add_argument(option_name(field.name), help=text, **several, **required)


def _metavar(name: str, kind: Any) -> str:
    return f"{name.upper()}..." if kind == list[str] else name.upper()


def _formatter() -> Any:
    """Return the formatter of the help, with dashes also in names that the parser derives from fields."""
    from jsonargparse import DefaultHelpFormatter

    class DashedHelp(DefaultHelpFormatter):
        def _format_action_invocation(self, action: Any) -> str:
            text = super()._format_action_invocation(action)
            return re.sub(r"--[a-z]\w*", lambda name: name[0].replace("_", "-"), text)

        def _expand_help(self, action: Any) -> str:
            text = re.sub(r"type: .*, default: ", "default: ", super()._expand_help(action))
            return re.sub(r" \((default: (null|False|)|required, type: .*)\)$", _remark, text)

    return DashedHelp


def _remark(default: re.Match[str]) -> str:
    """Return what follows the sentence of an option without a default."""
    return " (required)" if default[1].startswith("required") else ""


class _HelpAll(argparse.Action):
    """Show the help with all options."""

    def __init__(self, option_strings: Sequence[str], dest: str, name: str, command: Command, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)
        self.parser = functools.partial(command_parser, name, command, full=True)

    def __call__(self, parser: Any, *_: object) -> None:
        self.parser().print_help()
        parser.exit(0)


def normalise(word: str) -> str:
    """Return a word with dashes in the name of an option, and a list of numbers such as `128,128` as `[128,128]`."""
    word = re.sub(r"^--[A-Za-z][\w-]*", lambda name: name[0].replace("_", "-"), word)
    word = re.sub(r"^--print-config", "--print_config", word)  # the one name that the parser's library fixes
    return re.sub(rf"^(--[\w-]+=)?({NUMBER}(,{NUMBER})+)$", r"\1[\2]", word)


def takes_words(kind: Any) -> bool:
    """Return True for the type of an option that takes several words."""
    return Sequence[str] in get_args(kind)


def join_words(words: Sequence[str], command: Command) -> list[str]:
    """Return a command line on which several words of one option are one list."""
    several = {
        option_name(name)
        for kind in command.configs
        for name, hint in get_type_hints(kind).items()
        if takes_words(hint)
    }
    joined: list[str] = []
    position = 0
    while position < len(words):
        joined.append(words[position])
        position += 1
        if joined[-1] in several:
            end = next((i for i in range(position, len(words)) if words[i].startswith("--")), len(words))
            joined += [json.dumps(list(words[position:end]))] if end > position + 1 else words[position:end]
            position = end
    return joined


def list_flags(words: Sequence[str]) -> Iterator[str]:
    """Yield the names of the options that stand on a command line."""
    for word in words:
        if word.startswith("--"):
            name = word[2:].split("=")[0].replace("-", "_")
            yield name
            yield name.removeprefix("no_")
