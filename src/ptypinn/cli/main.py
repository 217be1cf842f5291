"""The command line: the table of commands, the options that `--help` shows, and the entry point."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from ptypinn._version import __version__
from ptypinn.cli.command import READING, Command
from ptypinn.cli.data import run_convert, run_info, run_simulate
from ptypinn.cli.evaluate import run_diagnose, run_evaluate
from ptypinn.cli.live import LIVE
from ptypinn.cli.options import command_parser, join_words, list_flags, normalise
from ptypinn.cli.ranks import find_companions, run_together
from ptypinn.cli.session import Session, report_errors
from ptypinn.cli.solve import RECONSTRUCT, REFINE, run_demo
from ptypinn.cli.study import run_dose, run_sim_lines, run_study_report
from ptypinn.cli.train import run_export, run_finetune, run_pretrain, run_train
from ptypinn.cli.view import run_view
from ptypinn.cli.watch import run_health, run_watch
from ptypinn.config.config_file import require_sane_configs
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig

DESCRIPTION = "Quantitative ptychography: from diffraction counts to the amplitude and phase of the sample."
EPILOG = "`ptypinn COMMAND --help` lists the main options. Start with `ptypinn demo --output-dir demo`."
FAMILIES = {"study": "Studies on simulated scans: where amplitude is preserved, and where it is lost."}
"""First words of the commands that have two."""
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
    "refine": REFINE,
    "train": Command(
        run_train,
        (
            *("model", "gridsize", "epochs", "learning_rate", "batch_size", "loss", "split_axis", "split_fraction"),
            *(*READING, "device", "seed", "resume"),
        ),
    ),
    "export": Command(run_export, ("output", "spread_px", "overwrite")),
    "reconstruct": RECONSTRUCT,
    "live": LIVE,
    "watch": Command(
        run_watch,
        (
            *("pattern", "keep_runs", "min_free_gib", "timeout_s", "notices", "model", "rounds", *READING),
            *("raster_shape", "positions_file", "memory_gib", "threads", "device"),
        ),
        choices=(ReconstructConfig, PatchNetworkConfig),
    ),
    "health": Command(run_health, ()),
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
    "view": Command(run_view, ("host", "port", "open_browser", "read_only", "jobs")),
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
    start = find_companions(command_name(words))
    if start is not None:
        return run_together(start, lambda: _run(words), "--debug" in words)
    return _run(words)


def _run(words: Sequence[str]) -> int:
    """Run a command in this process; return the exit code."""
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
