"""Progress of long computations: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Protocol, TypeVar, cast, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


@runtime_checkable
class TextStream(Protocol):
    """The methods of a text stream that progress needs."""

    def write(self, text: str, /) -> int:
        """Write text."""

    def flush(self) -> None:
        """Flush the buffer."""

    def isatty(self) -> bool:
        """Return True for a terminal."""


@runtime_checkable
class Progress(Protocol):
    """Callback for the progress of stages; `None` in its place means no reports."""

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        """Report `done` of `total` steps of a stage, with figures such as the loss."""


def silent(stage: str, done: int, total: int, /, **figures: float) -> None:
    """Ignore a progress report."""


def tee(*listeners: Progress) -> Progress:
    """Return a `Progress` that forwards every report to several others."""

    def report(stage: str, done: int, total: int, /, **figures: float) -> None:
        for listener in listeners:
            listener(stage, done, total, **figures)

    return report


def rename_stage(progress: Progress, stage: str) -> Progress:
    """Return a `Progress` that forwards every report as one of another stage."""

    def report(_: str, done: int, total: int, /, **figures: float) -> None:
        progress(stage, done, total, **figures)

    return report


class PlainLines:
    """Progress as plain lines: the first and the last report of every stage, and one per interval in between."""

    def __init__(self, stream: TextStream, interval_s: float = 5.0) -> None:
        self._stream, self._interval_s = stream, interval_s
        self._stage, self._first, self._started_s, self._printed_s = "", 0, 0.0, 0.0
        self._pending = ""

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        """Print a line if the interval has passed."""
        now_s = time.monotonic()
        if stage != self._stage or done < self._first:
            self.finish()
            self._stage, self._first, self._started_s, self._printed_s = stage, done, now_s, float("-inf")
        rate = _format_rate(done, total, done - self._first, now_s - self._started_s)
        self._pending = "  ".join([f"{stage} {done}/{total}", *rate, *format_figures(figures)])
        if done >= total or now_s - self._printed_s >= self._interval_s:
            self._printed_s = now_s
            self.finish()

    def finish(self) -> None:
        """Print the last report if it has not been printed, such as that of a stage that stopped early."""
        if self._pending:
            print(self._pending, file=self._stream, flush=True)
        self._pending = ""


@contextlib.contextmanager
def show_progress(quiet: bool = False, stream: TextStream | None = None) -> Iterator[Progress]:
    """Yield a `Progress` for a stream: bars on a terminal, plain lines elsewhere, nothing when quiet.

    Args:
        quiet: Report nothing.
        stream: Output stream; standard error by default, so that standard output contains only results.
    """
    stream = stream or sys.stderr
    if quiet:
        yield silent
    elif stream.isatty():
        with terminal_bars(stream) as bars:
            yield bars
    else:
        lines = PlainLines(stream)
        try:
            yield lines
        finally:
            lines.finish()


def format_figures(figures: dict[str, float]) -> list[str]:
    """Return figures as short texts.

    Examples:
        >>> format_figures({"loss": 0.0123456})
        ['loss 0.01235']
    """
    return [f"{name} {value:.4g}" for name, value in figures.items()]


def _format_rate(done: int, total: int, stepped: int, elapsed_s: float) -> list[str]:
    if not stepped or elapsed_s <= 0:
        return []
    rate = stepped / elapsed_s
    return [f"{rate:.3g}/s", f"{elapsed_s:.0f} s" if done >= total else f"{(total - done) / rate:.0f} s left"]


class ProgressBars:
    """A `Progress` that shows one bar per stage, with rate, time left and figures."""

    def __init__(self, display: RichProgress) -> None:
        self._display = display
        self._tasks: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        """Update the bar of this stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._display.add_task(stage, figures="", rate="")
        task = self._display.tasks[list(self._tasks).index(stage)]
        rate = f"{task.speed:.3g}/s" if task.speed else ""
        texts = "  ".join(format_figures(figures))
        self._display.update(task.id, completed=done, total=total, figures=texts, rate=rate)


@contextlib.contextmanager
def terminal_bars(stream: TextStream) -> Iterator[ProgressBars]:
    """Show bars on a terminal while the context lasts."""
    display = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=Console(file=cast(IO[str], stream)),
    )
    with display:
        yield ProgressBars(display)


Iterate = TypeVar("Iterate")
Solution = TypeVar("Solution")

IterateCallback = Callable[[Callable[[], Iterate]], None]
"""Called after every step with a function that returns the current iterate; it costs nothing unless it is called."""


def map_callback(
    callback: IterateCallback[Solution] | None, convert: Callable[[Iterate], Solution]
) -> IterateCallback[Iterate] | None:
    """Return a callback for the iterates of a solver that passes the converted ones to another callback.

    Args:
        callback: Callback for solutions; None for none.
        convert: Function from an iterate to a solution.

    Examples:
        >>> doubled = map_callback(lambda current: print(current()), lambda iterate: 2 * iterate)
        >>> doubled(lambda: 21)
        42
    """
    if callback is None:
        return None

    def mapped(current: Callable[[], Iterate]) -> None:
        callback(lambda: convert(current()))

    return mapped
