"""Forms of the commands that pages start: their options, the values that a request gives, and the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from dataclasses import fields as config_fields
from pathlib import Path
from typing import Any

from ptypinn.config.fields import NUMBERS, ConfigField, group_title, parse_value
from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name, show_value
from ptypinn.errors import InputError
from ptypinn.utils.plain_values import to_plain
from ptypinn.viewer.inside import FILES, locate_file, locate_place
from ptypinn.viewer.source_address import ADDRESSES, locate_source

REFUSED = {"output_dir", "overwrite", "allow_external", "scheduler"}
"""Options that no form offers: the run folder is chosen apart, and nothing outside the folder of the viewer is read."""
READING = group_title(LoadConfig)
"""Group of the options that a look at a scan takes too."""
MAX_VALUES = 200
"""Maximum number of options in one request."""


@dataclass(frozen=True)
class JobCommand:
    """A command that pages start on a scan file, or on the source of a scan in progress."""

    name: str
    """Name of the command."""
    summary: str
    """Its purpose, in a sentence."""
    options: Sequence[ConfigField]
    """Its options, in the order of the help."""
    common: Sequence[str]
    """Names of the options that a form shows at once; the others are folded away."""
    checks: Sequence[type]
    """Configurations that check its options together."""
    takes_source: bool = False
    """True for a command on a scan in progress, whose address it takes in place of a file."""

    def locate_scan(self, text: str, root: Path) -> str:
        """Return what the command works on, with full paths.

        Args:
            text: Scan file, or address of a source, relative to the folder of the viewer.
            root: The folder.

        Raises:
            InputError: Where it is missing, of no kind that there is, or outside the folder.
        """
        if self.takes_source:
            return locate_source(text, root)
        path = locate_place(text, root)
        if path is None or not path.is_file():
            raise InputError("SCAN", "", repr(text[:200]), "a scan file in the folder of this viewer")
        return str(root / text)

    def describe(self) -> dict[str, Any]:
        """Return the form for a page: common options first, and the others by group."""
        groups: dict[str, list[dict[str, Any]]] = {}
        options = {option.name: option for option in self.options}
        for option in self.options:
            if option.name not in self.common:
                groups.setdefault(option.group or "Further options", []).append(_describe_option(option))
        return {
            "name": self.name,
            "summary": self.summary,
            "source": self.takes_source,
            "common": [_describe_option(options[name]) for name in self.common if name in options],
            "groups": [{"title": title, "options": members} for title, members in groups.items()],
        }

    def parse(self, values: Mapping[str, str | bool], root: Path) -> list[Setting]:
        """Return the options that differ from their defaults.

        Args:
            values: Texts by option, and True or False for switches.
            root: Folder of the viewer, in which the files must be that options name.

        Raises:
            InputError: Where there is no such option, a value is none of its type or out of its bounds, options
                contradict each other, or a file is missing or outside the folder.
        """
        options = {option.name: option for option in self.options}
        settings, parsed = list[Setting](), dict[str, Any]()
        for name, stated in values.items():
            if name not in options:
                raise InputError(option_name(name[:80]), "", "an unknown name", f"an option of `ptypinn {self.name}`")
            setting = _parse_setting(options[name], stated, root)
            if setting is not None:
                settings.append(setting)
                parsed[name] = setting.value
        for kind in self.checks:
            names = {field.name for field in config_fields(kind)}
            kind(**{name: value for name, value in parsed.items() if name in names})
        order = {name: number for number, name in enumerate(options)}
        return sorted(settings, key=lambda setting: order[setting.option.name])


@dataclass(frozen=True)
class Setting:
    """An option with a value other than its default."""

    option: ConfigField
    """The option."""
    value: Any
    """Its value."""
    text: str
    """The value as stated, files relative to the folder of the viewer."""
    argument: str
    """The value for a process, files by their full paths."""

    def word(self, argument: str) -> str:
        """Return the option and its value as a word of a command line."""
        if self.option.is_switch:
            return option_name(self.option.name) if self.value else "--no" + option_name(self.option.name)[1:]
        return f"{option_name(self.option.name)}={argument}"


def build_arguments(command: JobCommand, settings: Sequence[Setting], scan: str, output: Path) -> list[str]:
    """Return the words of a command line after the program's name, with full paths."""
    words = [setting.word(setting.argument) for setting in settings]
    return [command.name, scan, f"--output-dir={output}", *words]


def show_line(command: JobCommand, settings: Sequence[Setting], scan: str, output: Path, extra: Sequence[str]) -> str:
    """Return the command line for people, with paths relative to the folder of the viewer."""
    place = f"./{scan}" if scan.startswith("-") else scan
    words = [setting.word(setting.text) for setting in settings]
    return shlex.join(["ptypinn", command.name, place, f"--output-dir={output}", *words, *extra])


def _parse_setting(option: ConfigField, stated: str | bool, root: Path) -> Setting | None:
    """Return an option with its value; None where that is its default."""
    flag = option_name(option.name)
    if option.is_switch != isinstance(stated, bool):
        raise InputError(flag, "", repr(stated)[:80], "true or false" if option.is_switch else "a text")
    if isinstance(stated, bool):
        return None if stated == option.default else Setting(option, stated, show_value(stated), show_value(stated))
    text = stated.strip()
    text = "".join(text.split()) if NUMBERS.fullmatch(text) else text
    if not text:
        return None
    value = parse_value(option, text)
    if value == option.default:
        return None
    argument = text
    if option.name in FILES:
        argument = locate_file(option.name, text, root)
    elif option.name in ADDRESSES:
        argument = locate_source(text, root, flag)
    return Setting(option, argument if option.name in FILES | ADDRESSES else value, text, argument)


def _describe_option(option: ConfigField) -> dict[str, Any]:
    default = None if option.default is MISSING else option.default
    return {
        "name": option.name,
        "flag": option_name(option.name),
        "text": option.text,
        "switch": option.is_switch,
        "choices": list(option.choices),
        "default": default if option.is_switch else _show_default(default),
        "file": option.name in FILES,
        "reading": option.group == READING,
    }


def _show_default(value: Any) -> str:
    """Return a default as the text of a field; empty where the program chooses."""
    if value is None:
        return ""
    return ",".join(map(str, to_plain(value))) if isinstance(value, tuple | list) else str(value)
