"""The run folder: all files of one run of a stage.

`config.yaml` repeats the run, `log.txt` has its progress, `metrics.json` and the pictures its results.
`run_metadata.json` is written last: a folder with it is a finished run, a folder without it is not.
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
from typing import Any, TextIO

import yaml

from ptypinn.errors import InputError
from ptypinn.runs.lock import LOCK, RunLock
from ptypinn.runs.untrusted import read_start
from ptypinn.utils.atomic_files import delete_leftovers, write_json, write_text
from ptypinn.utils.plain_values import to_plain
from ptypinn.utils.progress import PlainLines

SCHEMA_VERSION = 1
FINISHED, CONFIG, LOG, METRICS = "run_metadata.json", "config.yaml", "log.txt", "metrics.json"
RECONSTRUCTION, REPORT = "reconstruction.h5", "report.html"
STEPS = "steps.json"
SNAPSHOT = "snapshot.h5"
"""Reconstruction of a run in progress; deleted at its end."""
RECORDS = {FINISHED, CONFIG, LOG, STEPS}
PACKAGES = ("ptypinn", "torch", "numpy", "scipy", "h5py", "lightning", "scikit-image")


class RunFolder:
    """Context manager of one run: creates its folder, writes log and records, and cleans up after a failure.

    A run that fails before its first result restores the folder; one that fails later leaves its results, without
    `run_metadata.json`.

    Args:
        path: The folder; created if missing.
        stage: Name of the stage.
        config: All options of the run, by name.
        command: The command line.
        overwrite: Accept the folder of a finished run.
        resume: Accept the folder of a finished run of the same stage, to continue it.

    Raises:
        InputError: Where the path is a file, contains a finished run that may not be overwritten, or is in use by
            another process.
    """

    def __init__(
        self,
        path: str | Path,
        stage: str,
        config: Mapping[str, Any],
        *,
        command: Sequence[str] = (),
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self.path, self.stage, self.config, self.command = Path(path), stage, to_plain(config), list(command)
        self.timings_s: dict[str, float] = {}
        self._overwrite, self._resumed = overwrite, stage if resume else None
        _check_output_folder(self.path, self._overwrite, self._resumed)

    def __enter__(self) -> RunFolder:
        """Create the folder, remove the completion record of an earlier run, and start the log.

        Raises:
            InputError: Where another process uses the folder, or has finished a run in it meanwhile.
        """
        self._started = datetime.now(UTC)
        self._created_folders = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = RunLock(self.path)
        try:
            self._lock.acquire()
            _check_output_folder(self.path, self._overwrite, self._resumed)
            self._start()
        except BaseException:
            self._lock.release()
            self._delete_created_folders()
            raise
        return self

    def _start(self) -> None:
        self._delete_snapshot()
        for folder in (self.path, *(entry for entry in self.path.rglob("*") if entry.is_dir())):
            delete_leftovers(folder)
        self._initial_products = self._products()
        self._initial_records = {name: self.file(name).read_bytes() for name in RECORDS if self.file(name).exists()}
        try:
            self.file(FINISHED).unlink(missing_ok=True)
            write_text(self.path / CONFIG, yaml.safe_dump(self.config, sort_keys=False))
            self._log_file = self._open_log()
        except BaseException:
            self._restore_if_unused()
            raise
        self.progress = PlainLines(self._log_file)
        self._handler = logging.StreamHandler(self._log_file)
        self._handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        for logger in _loggers():
            logger.addHandler(self._handler)
        self.log(f"{self._started:%Y-%m-%dT%H:%M:%SZ} {self.stage}: {' '.join(self.command)}")

    def _open_log(self) -> TextIO:
        """Open the log to append to it; that of another user is replaced by a copy first."""
        path = self.path / LOG
        try:
            return path.open("a", encoding="utf-8")
        except PermissionError:
            write_text(path, read_start(path).decode(errors="replace"))
            return path.open("a", encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the log; after a failure without results, restore the folder."""
        self.progress.finish()
        self._delete_snapshot()
        if error is not None:
            self.log(f"failed: {kind.__name__ if kind else ''}: {error}")
        for logger in _loggers():
            logger.removeHandler(self._handler)
        self._log_file.close()
        if error is not None:
            self._restore_if_unused()
        self._lock.release()
        if error is not None:
            self._delete_created_folders()

    def file(self, name: str) -> Path:
        """Return the path of a file in this folder."""
        return self.path / name

    def log(self, line: str) -> None:
        """Add a line to the log."""
        print(line, file=self._log_file, flush=True)

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Measure the wall time of a part of the run, seconds, even if the part fails."""
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
            metrics: Metrics by their public names.
            inputs: Origin of each input: file, format, SHA-256.
            seed: Seed of the run.
            extra: Further fields of the stage; they replace none of the common fields.
        """
        if not self._lock.is_held:
            actual = f"{self.path}, which was moved or deleted during the run: its log and records are lost"
            raise InputError("--output-dir", "", actual, "a folder that stays where it is")
        self._delete_snapshot()
        if metrics is not None:
            write_json(self.file(METRICS), to_plain(metrics))
        self.progress.finish()
        self.log("done")
        record = {
            **(extra or {}),
            **self.record(inputs, seed),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": self._written_files(),
        }
        return write_json(self.file(FINISHED), to_plain(record))

    def record(self, inputs: Mapping[str, Any] | None = None, seed: int | None = None) -> dict[str, Any]:
        """Return the record of the run so far: command, settings, inputs, versions, times.

        Args:
            inputs: Origin of each input: file, format, SHA-256.
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
            "versions": package_versions(),
            "platform": platform.platform(),
        }

    def _delete_snapshot(self) -> None:
        """Delete the snapshot: the run has ended."""
        with contextlib.suppress(OSError):
            self.file(SNAPSHOT).unlink(missing_ok=True)

    def _products(self) -> set[tuple[Path, int, int]]:
        """Return all files except the records, with inode and time: a file that is written again differs."""
        records, products = {self.path / name for name in RECORDS}, set()
        for entry in self.path.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # the receiver of a scan in progress replaces its files
                if entry.is_file() and entry.name != LOCK and entry not in records:
                    status = entry.stat()
                    products.add((entry, status.st_ino, status.st_mtime_ns))
        return products

    def _written_files(self) -> list[str]:
        """Return the paths of all files that were not there, or were others, when this run began."""
        products = {entry for entry, *_ in self._products() - self._initial_products}
        records = {self.file(name) for name in RECORDS - {FINISHED} if self.file(name).exists()}
        return sorted(entry.relative_to(self.path).as_posix() for entry in products | records)

    def _restore_if_unused(self) -> None:
        if self.file(FINISHED).exists() or self._products() != self._initial_products:
            return
        for name in RECORDS - self._initial_records.keys():
            self.file(name).unlink(missing_ok=True)
        for name, content in self._initial_records.items():
            self.file(name).write_bytes(content)

    def _delete_created_folders(self) -> None:
        """Delete the folders of this run that are empty; one with files stays."""
        with contextlib.suppress(OSError):
            for folder in self._created_folders:
                folder.rmdir()


def reconstruction_file(path: Path) -> Path:
    """Return the reconstruction file of a run folder, or the path itself if it is a file.

    Examples:
        >>> reconstruction_file(Path("recon.h5")).name
        'recon.h5'
    """
    return path / RECONSTRUCTION if path.is_dir() else path


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    package_versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            package_versions[name] = metadata.version(name)
    return package_versions


def _check_output_folder(path: Path, overwrite: bool, resumed_stage: str | None) -> None:
    if path.exists() and not path.is_dir():
        raise InputError("--output-dir", "", f"the file {path}", "a folder")
    if overwrite or not (path / FINISHED).exists():
        return
    stage = _read_stage(path / FINISHED)
    if stage is None or stage != resumed_stage:
        actual = f"a finished run{f' of {stage}' if stage else ''} in {path}"
        raise InputError("--output-dir", "", actual, "a new folder, or --overwrite as well")


def _read_stage(record: Path) -> str | None:
    """Return the stage of a finished run, or None where its record cannot be read."""
    try:
        stage = json.loads(record.read_text(encoding="utf-8"))["stage"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stage if isinstance(stage, str) else None


def _loggers() -> list[logging.Logger]:
    return [logging.getLogger("ptypinn"), logging.getLogger("py.warnings")]
