"""The command line: the function behind each command, the options that `--help` shows, and the entry point.

A command is a function. Its docstring and its parameters make the command line: strings are positional arguments,
keyword arguments are options, and every field of a configuration is an option too.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, get_type_hints

from ptypinn._version import __version__
from ptypinn.cli.data import run_convert, run_info, run_simulate
from ptypinn.cli.evaluate import run_diagnose, run_evaluate
from ptypinn.cli.options import command_parser, join_words, list_flags, normalise
from ptypinn.cli.session import Session, report_errors
from ptypinn.cli.solve import run_demo, run_reconstruct, run_refine
from ptypinn.cli.study import run_dose, run_sim_lines, run_study_report
from ptypinn.cli.train import run_finetune, run_pretrain, run_train
from ptypinn.cli.view import run_view
from ptypinn.config.config_file import require_sane_configs
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig

DESCRIPTION = "Quantitative ptychography: from diffraction counts to the amplitude and phase of the sample."
EPILOG = "`ptypinn COMMAND --help` lists the main options. Start with `ptypinn demo --output-dir demo`."
FAMILIES = {"study": "Studies on simulated scans: where amplitude is preserved, and where it is lost."}
"""First words of the commands that have two."""
READING = ("domain", "probe", "photons")
"""Options of reading that most scans from other programs need."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command that is no configuration."""

    name: str
    """Its name."""
    kind: Any
    """Its type."""
    positional: bool
    """True for an argument without a dash."""
    default: Any
    """Its default; None for a positional argument."""


@dataclass(frozen=True)
class Command:
    """One command.

    >>> COMMANDS["refine"].summary
    'Solve a scan iteratively for object, probe and positions.'
    """

    run: Callable[..., None]
    """Function behind it."""
    common: tuple[str, ...]
    """Options that `--help` shows; `--help-all` shows all."""
    choices: tuple[type, ...] = ()
    """Configurations that the function chooses between, depending on its other arguments."""

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    @property
    def configs(self) -> list[type]:
        """Dataclasses whose fields are options."""
        return [kind for kind in self._hints().values() if is_dataclass(kind) and isinstance(kind, type)] + [
            *self.choices
        ]

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters that are no configurations; the first parameter, the session, is left out."""
        hints = self._hints()
        for parameter in list(inspect.signature(self.run).parameters.values())[1:]:
            if not is_dataclass(hints[parameter.name]):
                positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                default = None if parameter.default is parameter.empty else parameter.default
                yield Parameter(parameter.name, hints[parameter.name], positional, default)

    def arguments(self, session: Any) -> dict[str, Any]:
        """Return the arguments of the function: plain values, and configurations made of them."""
        arguments: dict[str, Any] = {parameter.name: session.options[parameter.name] for parameter in self.parameters()}
        for name, kind in self._hints().items():
            if is_dataclass(kind) and isinstance(kind, type):
                arguments[name] = session.config(kind)
        return arguments

    def _hints(self) -> dict[str, Any]:
        """Return the types of the function's parameters after the session."""
        names = list(inspect.signature(self.run).parameters)[1:]
        hints = get_type_hints(self.run)
        return {name: hints[name] for name in names}


COMMANDS: dict[str, Command] = {
    "demo": Command(run_demo, ("object_size", "photons", "overlap", "rounds", "device", "threads", "seed")),
    "simulate": Command(
        run_simulate,
        (
            *("object", "object_size", "amplitude_range", "phase_range", "probe", "size", "photons", "scan", "overlap"),
            *("n_patterns", "faults", "seed"),
        ),
    ),
    "info": Command(run_info, ("plot", "orient", "format", "domain", "memory_budget_gib")),
    "convert": Command(run_convert, ("to", "format", *READING, "energy_eV", "detector_distance_m", "detector_pixel_m")),
    "refine": Command(
        run_refine,
        (
            *("iterations", "probe_modes", "refine_probe", "refine_positions", "loss", "initial", "split_half"),
            *(*READING, "device", "seed"),
        ),
    ),
    "train": Command(
        run_train,
        (
            *("model", "gridsize", "epochs", "learning_rate", "batch_size", "loss", "split_axis", "split_fraction"),
            *(*READING, "device", "seed", "resume"),
        ),
    ),
    "reconstruct": Command(
        run_reconstruct,
        (
            *("model", "rounds", "refine_probe", "probe_rounds", "probe_modes", "polish", "refine_positions", "subset"),
            *(*READING, "memory_gib", "workers", "device"),
        ),
        choices=(ReconstructConfig, PatchNetworkConfig),
    ),
    "pretrain": Command(
        run_pretrain,
        (
            *("init_weights", "epochs", "scans_per_epoch", "photons_log10", "learning_rate", "precision", "workers"),
            *("device", "seed", "resume", "export"),
        ),
    ),
    "finetune": Command(
        run_finetune,
        (
            *("init_weights", "refine_probe", "patterns", "epochs", "patience", "learning_rate"),
            *(*READING, "device", "seed", "resume"),
        ),
    ),
    "evaluate": Command(
        run_evaluate, ("scan", "reference", "output_dir", "remove_ramp", "remove_shift", *READING, "device")
    ),
    "view": Command(run_view, ("host", "port", "open_browser")),
    "diagnose": Command(run_diagnose, ("stats", "plot", "output_dir", "tolerance", *READING)),
    "study sim-lines": Command(
        run_sim_lines,
        (
            *("scenario", "prediction_scale_source", "photons", "epochs", "base_patterns", "object_size"),
            *("probe_scale", "reason", "device", "threads", "resume"),
        ),
    ),
    "study dose": Command(
        run_dose, ("scenarios", "solver", "photons", "seeds", "iterations", "epochs", "workers", "scheduler")
    ),
    "study report": Command(run_study_report, ("title", "illumination_threshold")),
}
"""Commands by name, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `ptypinn`.

    Exit codes: 0 done, 1 failed with a one-line reason on standard error, 2 bad usage.

    Args:
        argv: Arguments after the program's name; those of the process by default.

    Returns:
        The exit code, 0 or 1; help, version and bad usage leave through `SystemExit` with 0 or 2.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    with report_errors(debug) as outcome:
        require_sane_configs(words)
    if outcome.code:
        return outcome.code
    command, session = parse(words)
    with report_errors(debug) as outcome:
        command.run(session, **command.arguments(session))
    return outcome.code


def parse(argv: Sequence[str]) -> tuple[Command, Session]:
    """Parse a command line.

    Args:
        argv: Words after the program's name.

    Returns:
        The command and its session.

    Raises:
        SystemExit: With 0 after help and version, with 2 after bad usage.
    """
    name = command_name(argv)
    if name is None:
        _overview(argv).parse_args(argv)
        raise SystemExit(2)  # unreachable: without a command, the overview ends in help, version or an error
    words = join_words([normalise(word) for word in argv[len(name.split()) :]], COMMANDS[name])
    parser = command_parser(name, COMMANDS[name])
    options = parser.parse_args(words)
    set_options = parser.parse_args(words, defaults=False)
    session = Session(
        {action.dest: options.get(action.dest) for action in parser._actions},
        ["ptypinn", *argv],
        frozenset(set_options.keys()),
        frozenset(list_flags(words)),
    )
    return COMMANDS[name], session


def command_name(argv: Sequence[str]) -> str | None:
    """Return the name of the command that begins a command line, one word or two; None for help, version or an error.

    >>> command_name(["study", "dose", "--output-dir", "d"]), command_name(["--help"])
    ('study dose', None)
    """
    return next((name for name in (" ".join(argv[:length]) for length in (2, 1)) if name in COMMANDS), None)


def _overview(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser that lists the commands, all of them or those of a family."""
    family = argv[0] if argv and argv[0] in FAMILIES else None
    program = "ptypinn" if family is None else f"ptypinn {family}"
    parser = argparse.ArgumentParser(
        prog=program,
        description=DESCRIPTION if family is None else FAMILIES[family],
        epilog=EPILOG,
        usage=f"{program} COMMAND ... [options]",
        allow_abbrev=False,
    )
    if family is None:
        parser.add_argument("--version", action="version", version=f"ptypinn {__version__}")
        commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for name, summary in _entries():
            commands.add_parser(name, help=summary.replace("%", "%%"))
        return parser
    parser.add_argument("family", choices=[family], help=argparse.SUPPRESS)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        if name.startswith(f"{family} "):
            commands.add_parser(name.split()[1], help=command.summary)
    return parser


def _entries() -> Iterator[tuple[str, str]]:
    """Yield the lines of the overview: commands of one word, and families."""
    yield from ((name, command.summary) for name, command in COMMANDS.items() if " " not in name)
    yield from FAMILIES.items()
