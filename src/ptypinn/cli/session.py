"""One call of the command line: typed options, progress, run folder, printed result, and failures in one line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from ptypinn.config.shared import Config, default_of, option_name, read_values, show_value
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.data.scan import ScanData
    from ptypinn.io.reconstruction_file import SnapshotCallback
    from ptypinn.runs.folder import RunFolder
    from ptypinn.utils.progress import Progress


AnyConfig = TypeVar("AnyConfig")


@dataclass(frozen=True)
class OutputOptions:
    """Run folder."""

    output_dir: str
    """Run folder for everything the command writes."""
    overwrite: bool = False
    """Replace the results of an earlier run."""


@dataclass(frozen=True)
class Session:
    """One call of the command line.

    >>> session = Session({"polish": 20, "quiet": False, "json": False}, set_options=frozenset({"polish"}))
    >>> session.refuse(("polish",), "a patch network")
    Traceback (most recent call last):
        ...
    ptypinn.errors.InputError: --polish: found 20, expected none: a patch network does not read it
    """

    options: Mapping[str, Any]
    """Values of all options of the command, by name."""
    command: Sequence[str] = ("ptypinn",)
    """Command line, for the record."""
    set_options: Collection[str] = field(default_factory=frozenset)
    """Names of the options that the command line sets, itself or in the file of `--config`."""
    flags: Collection[str] = field(default_factory=frozenset)
    """Names of those that stand on the command line itself."""

    def config(self, kind: type[AnyConfig]) -> AnyConfig:
        """Return the configuration of one kind that the options describe.

        Raises:
            InputError: Where options contradict each other, or one is set that the others leave unread.
        """
        names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
        config = kind(**{name: self.options[name] for name in names})
        for name, companion in (config.unread() if isinstance(config, Config) else {}).items():
            if name in self.flags:
                value = show_value(self.options[name])
                raise InputError(option_name(name), "", value, f"{companion} as well, which reads it")
        return config

    def refuse_of(self, kind: type, user: str, *, but: Collection[str] = ()) -> None:
        """Raise `InputError` where an option of a configuration is set that nothing reads.

        Args:
            kind: Class of the configuration.
            user: Part of the program that would have to read the option, for the message.
            but: Names of options that are read nevertheless.
        """
        for each in fields(kind):
            in_file = each.name in self.set_options and self.options[each.name] != default_of(kind, each.name)
            if each.name not in but and (in_file or each.name in self.flags):
                self.refuse((each.name,), user)

    def refuse(self, names: Collection[str], user: str) -> None:
        """Raise `InputError` where one of some options is set, which nothing reads."""
        for name in names:
            if name in self.set_options:
                value = show_value(self.options[name])
                raise InputError(option_name(name), "", value, f"none: {user} does not read it")

    @contextlib.contextmanager
    def progress(self, *others: Progress) -> Iterator[Progress]:
        """Show progress on standard error, unless `--quiet`, and pass it to others such as a log."""
        from ptypinn.utils.progress import show_progress, tee

        with show_progress(self.options["quiet"]) as shown, warnings_as_lines():
            yield tee(shown, *others)

    @contextlib.contextmanager
    def run(
        self, stage: str, output: OutputOptions, *configs: Any, resume: bool = False
    ) -> Iterator[tuple[RunFolder, Progress]]:
        """Open the run folder, and report progress on the terminal and in its log.

        Args:
            stage: Name of the stage.
            output: The folder.
            configs: Configurations of the stage; what they read is recorded.
            resume: Continue an earlier run of the same stage, which may be finished.
        """
        from ptypinn.runs.folder import RunFolder
        from ptypinn.utils.plain_values import to_plain

        merged = {key: value for config in configs for key, value in to_plain(read_values(config)).items()}
        folder = RunFolder(
            output.output_dir, stage, merged, command=list(self.command), overwrite=output.overwrite, resume=resume
        )
        with folder, self.progress(folder.progress) as progress:
            yield folder, progress

    def report_reading(self, run: RunFolder, scan: ScanData) -> None:
        """Write to the log of a run, and to standard error, what of the scan file was not read, masked or left out."""
        from ptypinn.data.reception import RECEPTION, describe_reception
        from ptypinn.data.survey_record import SURVEY, describe_survey

        lines = describe_reception(scan.provenance.get(RECEPTION, {}))
        lines += [f"not read: {array}" for array in scan.provenance.get("unread", [])]
        if SURVEY in scan.provenance:
            lines += describe_survey(scan.provenance[SURVEY])
        for line in lines:
            run.log(line)
            if not self.options["quiet"]:
                print(f"ptypinn: {line}", file=sys.stderr)

    def print_result(self, result: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Print the result: as one JSON object with `--json`, as lines for people otherwise."""
        from ptypinn.utils.plain_values import to_plain

        text = json.dumps(to_plain(result), allow_nan=False) if self.options["json"] else "\n".join(lines)
        print(text, flush=True)


def load_reconstruction(path: str) -> Reconstruction:
    """Read a reconstruction file, or the one in a run folder."""
    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.runs.folder import reconstruction_file

    return Reconstruction.load(reconstruction_file(Path(path)))


def write_snapshots(folder: Path, scan_file: str | None = None) -> SnapshotCallback:
    """Return the callback that writes snapshots of a run to its folder.

    Args:
        folder: The run folder.
        scan_file: File of the scan, where there is one.
    """
    from ptypinn.io.reconstruction_file import Snapshots
    from ptypinn.runs.folder import SNAPSHOT

    return Snapshots(folder / SNAPSHOT, scan_file)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """While the context lasts, print a warning as one line on standard error, and write it to the log of a run."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = " ".join(str(message).split())
        print(f"ptypinn: warning: {line}", file=sys.stderr)
        logging.getLogger("ptypinn").warning(line)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@dataclass
class Outcome:
    """End of a command."""

    code: int = 0
    """Exit code."""
    reason: str = ""
    """Reason of a failure in one line."""
    error: BaseException | None = None
    """The failure itself."""


@contextlib.contextmanager
def report_errors(debug: bool = False) -> Iterator[Outcome]:
    """Run a command; bad input, a full disk, lack of memory and interruptions end in one line and exit code 1.

    Anything else is a defect of the program and passes through with its traceback.

    Args:
        debug: Print the traceback before the line.
    """
    outcome = Outcome()
    try:
        with _termination_as_interrupt():
            yield outcome
    except BrokenPipeError:  # the reader of our output has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        outcome.code = 1
    except (InputError, OSError, MemoryError, RuntimeError, KeyboardInterrupt, SystemExit) as error:
        reason = _reason(error)
        if reason is None:
            raise
        if debug:
            traceback.print_exception(error)
        reason = "; ".join([reason, *getattr(error, "__notes__", ())])
        print(f"ptypinn: error: {reason}", file=sys.stderr)
        outcome.code, outcome.reason, outcome.error = 1, reason, error


@contextlib.contextmanager
def resume_hint(hint: str) -> Iterator[None]:
    """While the context lasts, an interruption ends with a hint how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(hint) from None


def _reason(error: BaseException) -> str | None:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "; ".join(["interrupted", *(str(hint) for hint in error.args if isinstance(hint, str))])
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "not enough memory" in str(error):
        return "out of memory; try a smaller --batch-size, or another device with --device"
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    return None


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """While the context lasts, SIGTERM (batch systems send it) unwinds like Ctrl-C: half-written files are removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
