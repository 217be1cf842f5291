"""Progress bars for terminals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ptypinn.progress import TextStream, figure_texts


class Bars:
    """A `Progress` that shows one bar per stage, with rate, time left and figures."""

    def __init__(self, display: RichProgress) -> None:
        self._display = display
        self._tasks: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        """Move the bar of this stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._display.add_task(stage, figures="", rate="")
        task = self._display.tasks[list(self._tasks).index(stage)]
        rate = f"{task.speed:.3g}/s" if task.speed else ""
        texts = "  ".join(figure_texts(figures))
        self._display.update(task.id, completed=done, total=total, figures=texts, rate=rate)


@contextlib.contextmanager
def terminal_bars(stream: TextStream) -> Iterator[Bars]:
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
        yield Bars(display)
