"""Run folders of a service: their names, the records in them, and the deletion of old ones where it was asked for.

A folder is deleted only where it is still the run that the service has made of a scan, and holds nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED
from ptypinn.runs.lock import LOCK, RunLock
from ptypinn.runs.service.health import STATE_FOLDER
from ptypinn.runs.untrusted import is_regular, lies_in, read_start

MAX_NAME = 120
"""Characters of a level of a run folder's name that come from the scan."""
MAX_RUNS = 10_000
"""Maximum number of runs of files of one name."""


@dataclass(frozen=True)
class RunRecord:
    """Parts of the record of a finished run."""

    path: str
    """Path of its scan file."""
    sha256: str
    """Hash of it."""
    files: frozenset[str]
    """Paths of the files in its folder that it has written."""


def read_run(folder: Path) -> RunRecord | None:
    """Read the record of a finished run; None where there is none."""
    try:
        record = json.loads(read_start(folder / FINISHED))
    except (OSError, ValueError, RecursionError):
        return None
    scan = _mapping(_mapping(_mapping(record).get("inputs")).get("scan"))
    files = _mapping(record).get("files")
    names = [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
    return RunRecord(str(scan.get("path", "")), str(scan.get("sha256", "")), frozenset(names))


def base_name(scan: str) -> str:
    """Return the name of the run folder of a scan: that of its file without suffix, in the same subfolders.

    Characters other than letters, digits, `.`, `_`, `+` and `-` are replaced, and a hash tells such names apart.

    >>> base_name("sample 3/scan_0042.h5").split("/")[1], base_name("scan_0042.h5")
    ('scan_0042', 'scan_0042')
    """
    *folders, name = scan.split(os.sep)
    stem = name.rpartition(".")[0] or name
    return "/".join(_clean(part) for part in (*folders, stem))


def _clean(part: str) -> str:
    clean = re.sub(r"[^\w.+-]", "_", part, flags=re.ASCII).lstrip(".-")[:MAX_NAME]
    if clean == part:
        return clean
    return f"{clean}~{hashlib.sha256(os.fsencode(part)).hexdigest()[:8]}"


def choose_run(
    output_dir: Path, scan: str, scan_path: Path, owner: Callable[[str], str | None]
) -> tuple[str, dict[str, str]]:
    """Choose the run folder of a scan: the first one of its name that is empty, or its own without a finished run.

    Args:
        output_dir: Folder of all runs.
        scan: Name of the scan.
        scan_path: Its file.
        owner: Returns the scan that a run folder belongs to; None for no scan.

    Returns:
        Name of the folder, and by name of the finished runs of this file the hash of what they have solved.

    Raises:
        InputError: Where there are too many of that name.
    """
    base, solved = base_name(scan), dict[str, str]()
    for number in range(1, MAX_RUNS):
        name = base if number == 1 else f"{base}-{number}"
        folder = output_dir / name
        if not lies_in(folder, (output_dir,)) or (folder.exists() and not folder.is_dir()):
            continue
        record = read_run(folder)
        if record is not None:
            if record.path == str(scan_path):
                solved[name] = record.sha256
        elif owner(name) == scan or (owner(name) is None and not _holds_anything(folder)):
            return name, solved
    raise InputError(str(output_dir), base, f"{MAX_RUNS} runs of that name", "fewer")


def delete_run(output_dir: Path, name: str, scan_path: Path) -> str:
    """Delete the run folder of a scan, where it is as the service has left it.

    Args:
        output_dir: Folder of all runs.
        name: Name of the run folder.
        scan_path: File of the scan.

    Returns:
        An empty text, or the reason why it stays.

    Raises:
        OSError: Where it cannot be deleted.
    """
    folder = output_dir / name
    if not folder.exists():
        return ""
    if reason := _describe_stranger(output_dir, folder, scan_path):
        return reason
    lock = RunLock(folder)
    try:
        lock.acquire()
    except InputError:
        return "it is in use"
    trash = trash_folder(output_dir) / uuid.uuid4().hex
    try:
        trash.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(trash)  # at once, so that no run is ever half there
    finally:
        lock.release()
    empty_trash(output_dir)
    for parent in folder.parents:
        if parent == output_dir or any(parent.iterdir()):
            break
        parent.rmdir()
    return ""


def _describe_stranger(output_dir: Path, folder: Path, scan_path: Path) -> str:
    """Return the reason why a folder is not the run of a scan alone; an empty text where it is."""
    record = read_run(folder) if is_regular(folder / FINISHED) and not folder.is_symlink() else None
    if record is None or not lies_in(folder, (output_dir,)):
        return "it is not the run that was made here"
    if record.path != str(scan_path) and not lies_in(
        Path(record.path), (folder,)
    ):  # the scan of a series is in its run
        return "it is not the run that was made here"
    strangers = _list_files(folder) - record.files - {FINISHED, LOCK}
    return f"it holds {min(strangers)!r}, which the run has not written" if strangers else ""


def _holds_anything(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _list_files(folder: Path) -> set[str]:
    """Return the paths of all files and links in a folder and below it, relative to it."""
    paths = set()
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        paths |= {(Path(place) / name).relative_to(folder).as_posix() for name in (*files, *links)}
    return paths


def trash_folder(output_dir: Path) -> Path:
    """Return the folder that runs are moved to before they are deleted."""
    return output_dir / STATE_FOLDER / "deleted"


def empty_trash(output_dir: Path) -> None:
    """Delete what was moved to the trash."""
    shutil.rmtree(trash_folder(output_dir), ignore_errors=True)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
