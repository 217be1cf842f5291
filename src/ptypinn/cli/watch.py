"""The commands `watch`, a service that solves every new scan, and `health`, which shows how it is."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptypinn.cli.session import OutputOptions, Session
from ptypinn.config.live import LiveConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.shared import format_option
from ptypinn.config.watch import WatchConfig
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from ptypinn.runs.service.child import Function
    from ptypinn.runs.service.journal import Journal
    from ptypinn.runs.service.log import ScanLog
    from ptypinn.stages.watch_queues import Queue

JOBS = "ptypinn.cli.watch_jobs"
"""Module that the process which forks the jobs imports."""
FOR_FOLDERS = ("pattern", "settle_s", "patience_s", "notices", "poll_s", "timeout_s")
"""Options that streams do not need."""


def run_watch(
    session: Session,
    source: str,
    output: OutputOptions,
    config: WatchConfig,
    loading: LoadConfig,
    live: LiveConfig,
    *,
    model: str | None = None,
    figures: bool = False,
) -> None:
    """Run as a service: solve every new scan file of a folder, or every series of a stream, one after the other.

    Args:
        session: The call.
        source: Folder whose new scan files are solved as by `reconstruct`, or an address whose series are followed as
            by `live`, such as dectris://HOST:PORT.
        output: Folder of all runs, each in a folder named after its scan.
        config: Options of the service.
        loading: Reading of the scans.
        live: Options of receiving, for streams.
        model: Run folder of a training, or its model file; the weights of the package by default.
        figures: Write figures for publications too.
    """
    from ptypinn.runs.service.child import prepare
    from ptypinn.runs.service.health import STATE_FOLDER
    from ptypinn.runs.service.log import ScanLog
    from ptypinn.stages.watch import WatchService, open_service_folder

    output_dir = Path(output.output_dir).absolute()
    is_stream = _check_options(session, source, output_dir, model)
    log = ScanLog(output_dir / STATE_FOLDER, functools.partial(_emit, as_json=session.options["json"]))
    job_session = Session(dict(session.options), _repeat_options(session), session.set_options, session.flags)
    with _stop_on_signals() as stopped, open_service_folder(output_dir, log.say) as journal:
        prepare([JOBS])
        queue, solve = (_stream if is_stream else _folder)(job_session, source, output_dir, config, journal, log)
        log.say(f"watching {source} for {output_dir}")
        WatchService(output_dir, queue, journal, solve, config, log).run(stopped)
        log.say("stopped")


def run_health(session: Session, runs: str) -> None:
    """Show the health of a service that `watch` runs; exit code 1 where it is dead, failed, stopped or paused.

    Args:
        session: The call.
        runs: Its folder of runs.
    """
    from ptypinn.runs.service.health import describe_health, is_healthy, read_health

    record, now = read_health(Path(runs)), datetime.now(UTC)
    healthy = is_healthy(record, now)
    session.print_result({**record, "healthy": healthy}, describe_health(record, now))
    if not healthy:
        raise InputError(runs, "service", describe_health(record, now)[0], "one that is watching or solving")


def _folder(
    session: Session, source: str, output_dir: Path, config: WatchConfig, journal: Journal, log: ScanLog
) -> tuple[Queue, Function]:
    """Return the queue of a folder, and the function that solves its scans."""
    from ptypinn.runs.service.arrivals import Selection
    from ptypinn.stages.watch_queues import FolderQueue

    patterns = [config.pattern.lower()] if config.pattern else [f"*{suffix}" for suffix in _list_suffixes(output_dir)]
    allow_external = bool(session.options["allow_external"])
    selection = Selection(Path(source).resolve(), output_dir.resolve(), patterns, allow_external)
    return FolderQueue(selection, config, journal, log.say), Job("solve_scan", (session, config.settle_s))


def _stream(
    session: Session, source: str, output_dir: Path, config: WatchConfig, journal: Journal, log: ScanLog
) -> tuple[Queue, Function]:
    """Return the queue of a stream, and the function that follows its series."""
    from ptypinn.stages.watch_queues import SeriesQueue

    return SeriesQueue(source, journal), Job("follow_series", (session, source))


@dataclass(frozen=True)
class Job:
    """A function of the module of jobs, which only the processes that run it import: it takes seconds and memory."""

    name: str
    """Name of the function."""
    arguments: tuple[Any, ...] = ()
    """Its first arguments."""

    def __call__(self, *arguments: Any) -> Mapping[str, Any]:
        """Call the function."""
        return getattr(importlib.import_module(JOBS), self.name)(*self.arguments, *arguments)


def _list_suffixes(output_dir: Path) -> list[str]:
    """Return the ends of the names of scan files, which a child lists: the formats are costly to import.

    Raises:
        InputError: Where the child fails.
    """
    from ptypinn.runs.service.child import Child
    from ptypinn.runs.service.health import STATE_FOLDER
    from ptypinn.stages.watch import CHILD_LOG

    child = Child(Job("list_suffixes"), (), output_dir / STATE_FOLDER / CHILD_LOG)
    while (result := child.poll()) is None:
        time.sleep(0.02)
    if "suffixes" not in result:
        raise InputError("ptypinn watch", "", f"no formats: {result.get('error')}", "a sound installation")
    return list(result["suffixes"])


def _check_options(session: Session, source: str, output_dir: Path, model: str | None) -> bool:
    """Check what a service is not to find out later, and return True for a stream.

    Raises:
        InputError: Where options are wrong, or are set and not read.
    """
    is_stream = "://" in source or source.startswith("replay:")
    session.refuse(("overwrite",), "a service, which replaces no run,")
    session.config(LoadConfig)
    if model is None or is_stream:
        session.config(ReconstructConfig)
    if is_stream:
        session.refuse(FOR_FOLDERS, "a stream")
        return True
    session.refuse_of(LiveConfig, "a folder", but=WatchConfig.__dataclass_fields__)
    if not Path(source).is_dir():
        raise InputError(source, "", "no folder", "a folder of scan files, or an address such as dectris://HOST:PORT")
    if Path(source).resolve().is_relative_to(output_dir.resolve()):
        actual = f"{output_dir}, whose files count as no scans, and which holds {source}"
        raise InputError("--output-dir", "", actual, "a folder of runs beside the watched folder or below it")
    if model is not None and not Path(model).exists():
        raise InputError("--model", "", f"{model}, which is not there", "a model file or the run folder of a training")
    return False


def _repeat_options(session: Session) -> list[str]:
    """Return the options of the solver as words, for the command lines in the records of runs."""
    names = [
        *(name for kind in (LoadConfig, ReconstructConfig, PatchNetworkConfig) for name in kind.__dataclass_fields__),
        *("model", "figures"),
    ]
    return [
        word
        for name in dict.fromkeys(names)
        if name in session.set_options
        for word in format_option(name, session.options[name]).split(" ", 1)
    ]


def _emit(line: str, record: Mapping[str, Any] | None, as_json: bool) -> None:
    """Print a line: those about scans on standard output, others on standard error."""
    with contextlib.suppress(OSError, ValueError):  # whoever reads it may have gone
        if record is None:
            print(f"ptypinn: {line}", file=sys.stderr, flush=True)
        else:
            print(json.dumps(record, allow_nan=False) if as_json else line, flush=True)


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and Ctrl-C set while the context lasts."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
