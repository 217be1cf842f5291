"""Content of a viewer: runs, scans and jobs of some folders, and the events on their changes."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED, LOG, METRICS, RECONSTRUCTION, REPORT, SNAPSHOT
from ptypinn.stages.live_status import STATUS
from ptypinn.viewer.events import Events, Kind, Versions, single
from ptypinn.viewer.folders import Folder, digest, stamp_file, walk_folders
from ptypinn.viewer.forms import JobCommand
from ptypinn.viewer.job_queue import JobQueue
from ptypinn.viewer.live_run import live_version
from ptypinn.viewer.run_index import Run, RunIndex
from ptypinn.viewer.run_status import SILENT_S
from ptypinn.viewer.scan_facts import FactsCache
from ptypinn.viewer.scan_index import ScanIndex

WATCHED = (FINISHED, LOG, METRICS, RECONSTRUCTION, REPORT, SNAPSHOT, STATUS)
"""Files of a run whose changes are events."""


class Room:
    """Runs, scans and jobs below some paths.

    Args:
        paths: Folders of scans and runs, run folders, or reconstruction files.
        commands: Commands that jobs can be of, by name.
        slots: Jobs that run at the same time.
        read_only: Start and end no jobs.

    Raises:
        InputError: Where a path does not exist, or is a file without a reconstruction.
    """

    def __init__(
        self, paths: Sequence[Path], commands: Mapping[str, JobCommand], slots: int = 1, read_only: bool = False
    ) -> None:
        self._paths = [path.resolve() for path in paths]
        self.runs = RunIndex(paths)
        folders = [path for path in self._paths if path.is_dir() and not _read_folder(path).is_run]
        self.scans, self.jobs = ScanIndex(folders), JobQueue(folders, commands, slots, read_only)
        self.facts = FactsCache()
        kinds = {
            "runs": Kind(single(self._version_of_runs)),
            "scans": Kind(single(self.scans.version)),
            "jobs": Kind(single(self.jobs.version), interval_s=0.5),
            "facts": Kind(lambda subjects: {name: self.facts.version(name) for name in subjects}, interval_s=0.25),
            "run": Kind(self._versions_of_run, interval_s=0.5),
            "live": Kind(self._versions_of_live, interval_s=0.04, rest_s=0.2),
        }
        self.events = Events(kinds)

    def close(self) -> None:
        """Stop what goes on for pages; jobs that run go on."""
        self.events.close()
        self.facts.close()
        self.jobs.close()

    @property
    def is_single(self) -> bool:
        """True where a run itself was named, and not a folder of runs."""
        return [run.path for run in self.runs.runs()] == self._paths

    @property
    def folders(self) -> list[Path]:
        """The paths that are folders."""
        return [path for path in self._paths if path.is_dir()]

    def _version_of_runs(self) -> str:
        return digest(f"{run.id} {_version_of_files(run)}" for run in self.runs.runs())

    def _versions_of_run(self, subjects: Collection[str]) -> Versions:
        runs = [run for run_id in subjects if (run := self.runs.run(run_id)) is not None]
        return {run.id: _version_of_files(run) for run in runs}

    def _versions_of_live(self, subjects: Collection[str]) -> Versions:
        runs = [run for run_id in subjects if (run := self.runs.run(run_id)) is not None]
        return {run.id: live_version(run.path) for run in runs}


def _read_folder(path: Path) -> Folder:
    """Return a folder.

    Raises:
        InputError: Where it cannot be read.
    """
    folder = next(walk_folders(path), None)
    if folder is None:
        raise InputError(str(path), "", "a folder that cannot be read", "one that this user can read")
    return folder


def _version_of_files(run: Run) -> str:
    """Return a text that changes with the files of a run."""
    paths = [run.path / name for name in WATCHED] if run.path.is_dir() else [run.path]
    stamps = [stamp_file(path) for path in paths]
    latest_ns = max((int(stamp.split()[1]) for stamp in stamps if stamp), default=0)
    is_silent = time.time_ns() - latest_ns > SILENT_S * 1e9  # which changes the status of a run in progress
    return digest([*stamps, str(is_silent)])
