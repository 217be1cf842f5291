"""Turn failures that users can act on into one line on standard error."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from ptypinn.errors import InputError


@dataclass
class Outcome:
    """End of a command."""

    code: int = 0
    """Exit code."""


@contextlib.contextmanager
def report_errors() -> Iterator[Outcome]:
    """Run a command; bad input, a full disk, lack of memory and interruptions end in one line and exit code 1.

    Anything else is a defect of the program and passes through with its traceback.
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
        print(f"ptypinn: error: {reason}", file=sys.stderr)
        outcome.code = 1


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
