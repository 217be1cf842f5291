"""What every stage on the command line shares: typed options, progress, the run folder and the printed result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import Namespace

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.runs.folder import RunFolder, reconstruction_file
from ptypinn.utils.progress import Progress, show_progress, tee
from ptypinn.utils.serialise import to_plain

Config = TypeVar("Config")


class Session:
    """One call of the command line.

    Args:
        options: Parsed options of the stage.
        command: The command line, for the record.
    """

    def __init__(self, options: Namespace, command: list[str]) -> None:
        self.options, self.command = options, command

    def config(self, kind: type[Config]) -> Config:
        """The configuration of one kind that the options describe.

        Raises:
            InputError: Where options contradict each other.
        """
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        return kind(**{field.name: self.options[field.name] for field in fields})

    @contextlib.contextmanager
    def progress(self, *others: Progress) -> Iterator[Progress]:
        """Progress on standard error, unless quiet, and to others such as a log."""
        with show_progress(self.options.quiet) as shown, warnings_as_lines():
            yield tee(shown, *others)

    @contextlib.contextmanager
    def run(self, stage: str, *configs: Any, resume: bool = False) -> Iterator[tuple[RunFolder, Progress]]:
        """The run folder that `--output-dir` names, and the progress of what happens in it.

        Args:
            stage: Name of the stage.
            configs: Configurations of the stage, for the record.
            resume: Continue an earlier run of the same stage, which may be finished.
        """
        merged = {key: value for config in configs for key, value in to_plain(config).items()}
        allowed = {"overwrite": bool(self.options.overwrite), "resume": resume}
        folder = RunFolder(self.options.output_dir, stage, merged, command=self.command, **allowed)
        with folder, self.progress(folder.progress) as progress:
            yield folder, progress

    def tell(self, result: Mapping[str, Any], lines: list[str]) -> None:
        """Print the result: as one JSON object with `--json`, as lines for people otherwise."""
        text = json.dumps(to_plain(result), allow_nan=False) if self.options.json else "\n".join(lines)
        print(text, flush=True)


def load_reconstruction(path: str) -> Reconstruction:
    """Read a reconstruction file, or the one in a run folder."""
    return Reconstruction.load(reconstruction_file(Path(path)))


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """While the context lasts, a warning is one line on standard error and in the log of a run."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = " ".join(str(message).split())
        print(f"ptypinn: warning: {line}", file=sys.stderr)
        logging.getLogger("ptypinn").warning(line)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
