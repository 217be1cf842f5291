"""The run folder: everything one run of a stage leaves behind.

`config.yaml` runs the same again, `log.txt` tells how it went, `metrics.json` and the pictures show what came out, and
`run_metadata.json` is written last: a folder that holds it is a finished run, one without it is not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from ptypinn.errors import InputError
from ptypinn.utils.files import write_json, write_text
from ptypinn.utils.progress import PlainLines
from ptypinn.utils.serialise import to_plain

SCHEMA_VERSION = 1
FINISHED, CONFIG, LOG, METRICS = "run_metadata.json", "config.yaml", "log.txt", "metrics.json"
RECONSTRUCTION, REPORT = "reconstruction.h5", "report.html"
STEPS = "steps.json"
SNAPSHOT = "snapshot.h5"
"""The object of a run in progress; gone when the run is over."""
BOOKKEEPING = {FINISHED, CONFIG, LOG, STEPS}
PACKAGES = ("ptypinn", "torch", "numpy", "scipy", "h5py", "lightning", "scikit-image")


class RunFolder:
    """A context in which one run fills its folder.

    A run that fails before it has made anything leaves everything as it was; one that fails later leaves what it has
    made, without `run_metadata.json`.

    Args:
        path: The folder; made where missing.
        stage: Name of the stage.
        config: All options of the run, by flag.
        command: The command line.
        overwrite: Allow a folder that holds a finished run.
        again: Allow a folder that holds a finished run of the same stage, to go on from it.

    Raises:
        InputError: Where the path is a file, or holds a finished run that may not be overwritten.
    """

    def __init__(
        self,
        path: str | Path,
        stage: str,
        config: Mapping[str, Any],
        *,
        command: Sequence[str] = (),
        overwrite: bool = False,
        again: bool = False,
    ) -> None:
        self.path, self.stage, self.config, self.command = Path(path), stage, to_plain(config), list(command)
        self.timings_s: dict[str, float] = {}
        _check_free(self.path, overwrite, stage if again else None)

    def __enter__(self) -> RunFolder:
        """Make the folder, take the mark of an earlier finished run away, and start the log."""
        self._started = datetime.now(UTC)
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        self._drop_snapshot()
        self._before = self._products()
        self._earlier = {name: self.file(name).read_bytes() for name in BOOKKEEPING if self.file(name).exists()}
        self.file(FINISHED).unlink(missing_ok=True)
        write_text(self.path / CONFIG, yaml.safe_dump(self.config, sort_keys=False))
        self._log = (self.path / LOG).open("a", encoding="utf-8")
        self.progress = PlainLines(self._log)
        self._handler = logging.StreamHandler(self._log)
        self._handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        for logger in _loggers():
            logger.addHandler(self._handler)
        self.note(f"{self._started:%Y-%m-%dT%H:%M:%SZ} {self.stage}: {' '.join(self.command)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the log; after a failure undo everything where nothing was made."""
        self.progress.finish()
        self._drop_snapshot()
        if error is not None:
            self.note(f"failed: {kind.__name__ if kind else ''}: {error}")
        for logger in _loggers():
            logger.removeHandler(self._handler)
        self._log.close()
        if error is not None:
            self._restore_if_unused()

    def file(self, name: str) -> Path:
        """Path of a file in this folder."""
        return self.path / name

    def note(self, line: str) -> None:
        """Add a line to the log."""
        print(line, file=self._log, flush=True)

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Record the wall time of a part of the run, seconds, even where the part fails."""
        start_s = time.monotonic()
        try:
            yield
        finally:
            self.timings_s[part] = self.timings_s.get(part, 0.0) + time.monotonic() - start_s

    def finish(
        self,
        metrics: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write `metrics.json` and, last of all, `run_metadata.json`.

        Args:
            metrics: Figures of merit by their public names.
            inputs: Where each input came from: file, format, SHA-256.
            seed: Seed of the run.
            extra: What else the stage has to say; replaces none of the fields that every run has.
        """
        self._drop_snapshot()
        if metrics is not None:
            write_json(self.file(METRICS), to_plain(metrics))
        self.progress.finish()
        self.note("done")
        record = {
            **(extra or {}),
            **self.record(inputs, seed),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": sorted(entry.name for entry in self.path.iterdir()),
        }
        return write_json(self.file(FINISHED), to_plain(record))

    def record(self, inputs: Mapping[str, Any] | None = None, seed: int | None = None) -> dict[str, Any]:
        """What is known of the run so far: command, settings, inputs, versions, times.

        Args:
            inputs: Where each input came from: file, format, SHA-256.
            seed: Seed of the run.
        """
        return {
            "schema_version": SCHEMA_VERSION,
            "stage": self.stage,
            "command": self.command,
            "started": self._started.isoformat(timespec="seconds"),
            "timings_s": dict(self.timings_s),
            "seed": seed,
            "inputs": inputs or {},
            "config": self.config,
            "versions": versions(),
            "platform": platform.platform(),
        }

    def _drop_snapshot(self) -> None:
        """Take the view of the run in progress away: it is over."""
        with contextlib.suppress(OSError):
            self.file(SNAPSHOT).unlink(missing_ok=True)

    def _products(self) -> set[tuple[Path, int, int]]:
        """Every file below the folder but the bookkeeping, as it is: a file written again differs."""
        files = [entry for entry in self.path.rglob("*") if entry.is_file() and entry.name not in BOOKKEEPING]
        return {(entry, entry.stat().st_ino, entry.stat().st_mtime_ns) for entry in files}

    def _restore_if_unused(self) -> None:
        if self.file(FINISHED).exists() or self._products() != self._before:
            return
        for name in BOOKKEEPING - self._earlier.keys():
            self.file(name).unlink(missing_ok=True)
        for name, content in self._earlier.items():
            self.file(name).write_bytes(content)
        with contextlib.suppress(OSError):  # a folder that others have put something into stays
            for folder in self._made:
                folder.rmdir()


def reconstruction_file(place: Path) -> Path:
    """The file of a reconstruction: the one in a run folder, or what is named itself."""
    return place / RECONSTRUCTION if place.is_dir() else place


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _check_free(path: Path, overwrite: bool, goes_on_from: str | None) -> None:
    if path.exists() and not path.is_dir():
        raise InputError("--output-dir", "", f"the file {path}", "a folder")
    if overwrite or not (path / FINISHED).exists():
        return
    stage = _stage_of(path / FINISHED)
    if stage is None or stage != goes_on_from:
        found = f"a finished run{f' of {stage}' if stage else ''} in {path}"
        raise InputError("--output-dir", "", found, "a new folder, or --overwrite as well")


def _stage_of(mark: Path) -> str | None:
    """The stage that a finished run is of, or None where its mark cannot be read."""
    try:
        stage = json.loads(mark.read_text(encoding="utf-8"))["stage"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stage if isinstance(stage, str) else None


def _loggers() -> list[logging.Logger]:
    return [logging.getLogger("ptypinn"), logging.getLogger("py.warnings")]
