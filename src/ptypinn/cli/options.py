"""Command-line options, made from the configuration dataclasses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from ptypinn._version import __version__
from ptypinn.cli.commands import FAMILIES, STAGES, Stage

DESCRIPTION = "Quantitative ptychography: from diffraction counts to the amplitude and phase of the sample."
EPILOG = "`ptypinn STAGE --help` lists the options of a stage. Start with `ptypinn demo --output-dir demo`."
MEMBER = "which"
NUMBER = r"[-+]?[\d.]+(?:[eE][-+]?\d+)?"


class DashedHelp(DefaultHelpFormatter):
    """Help that shows options with dashes, although fields are named with underscores."""

    def _format_action_invocation(self, action: Any) -> str:
        return re.sub(r"--[a-z]\w*", lambda name: name[0].replace("_", "-"), super()._format_action_invocation(action))


def parse(argv: Sequence[str]) -> tuple[Stage, Namespace]:
    """The stage that a command line names, and its options.

    Raises:
        SystemExit: With 0 after help and version, with 2 after bad usage.
    """
    words = [word for word in argv if not word.startswith("-")]
    chosen = " ".join(words[: 2 if words[:1] and words[0] in FAMILIES else 1])
    parser = ArgumentParser(
        prog="ptypinn",
        description=DESCRIPTION,
        epilog=EPILOG,
        usage="ptypinn STAGE ... [options]",
        version=__version__,
        allow_abbrev=False,
        formatter_class=DashedHelp,
    )
    stages = parser.add_subcommands(title="stages", description=None, metavar="STAGE", dest="stage", prog="ptypinn")
    for name, stage in STAGES.items():
        if " " not in name:
            _offer(stages, name, stage, chosen)
    for family, summary in FAMILIES.items():
        _offer_family(stages, family, summary, chosen)
    options = parser.parse_args([_normalised(word) for word in argv])
    name, options = options.stage, options[options.stage]
    if name in FAMILIES:
        name, options = f"{name} {options[MEMBER]}", options[options[MEMBER]]
    return STAGES[name], options


def given(command: Sequence[str]) -> set[str]:
    """Names of the options that a command line gives, itself or in the file of `--config`; not those left alone.

    Args:
        command: The command line of a stage of one word, beginning with the program's name.
    """
    _, *words = (_normalised(word) for word in command)
    stage = next(word for word in words if word in STAGES)
    words.remove(stage)
    return set(stage_parser(stage).parse_args(words, defaults=False).keys())


def _offer(stages: Any, name: str, stage: Stage, chosen: str) -> None:
    """Add one stage; only the chosen one needs its options, and the modules that define them."""
    parser = stage_parser(name) if name == chosen else ArgumentParser()
    stages.add_subcommand(name.split()[-1], parser, help=stage.summary)


def _offer_family(stages: Any, family: str, summary: str, chosen: str) -> None:
    """Add stages of two words under their first."""
    parser = ArgumentParser(description=summary, usage=f"ptypinn {family} WHICH ... [options]", allow_abbrev=False)
    stages.add_subcommand(family, parser, help=summary)
    members = parser.add_subcommands(title=family, description=None, metavar="WHICH", dest=MEMBER, prog="ptypinn")
    for name, stage in STAGES.items():
        if name.startswith(f"{family} "):
            _offer(members, name, stage, chosen)


def stage_parser(name: str) -> ArgumentParser:
    """Parser of one stage: its positional argument, its own options, and one option per configuration field."""
    stage = STAGES[name]
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    positionals = "".join(f" {argument.name.upper()}" for argument in stage.arguments if argument.positional)
    parser = ArgumentParser(
        description=stage.summary,
        usage=f"ptypinn {name}{positionals} [options]",
        allow_abbrev=False,
        formatter_class=DashedHelp,
    )
    for argument in stage.arguments:
        argument.add_to(parser)
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")
    for config in stage.configs():
        parser.add_class_arguments(config, nested_key=None)
    return parser


def _normalised(word: str) -> str:
    """`--probe-modes=3` as `--probe_modes=3`, and a list of numbers such as `128,128` as `[128,128]`."""
    word = re.sub(r"^--[A-Za-z][\w-]*", lambda name: "--" + name[0][2:].replace("-", "_"), word)
    return re.sub(rf"^(--\w+=)?({NUMBER}(,{NUMBER})+)$", r"\1[\2]", word)
