"""Read finished run folders: record, reconstruction, and the comparison with the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load
from ptypinn.runs.folder import CONFIG, FINISHED, LOG, METRICS, RECONSTRUCTION
from ptypinn.stages.evaluate import Evaluation, evaluate

SCAN = "scan.h5"
SUMMARIES = ("study report", "study dose")
"""Stages whose folders hold summaries, not runs."""


@dataclass(frozen=True)
class RunRecord:
    """A finished run with everything that a summary needs."""

    folder: Path
    """Its folder."""
    metadata: Mapping[str, Any]
    """Its `run_metadata.json`."""
    recon: Reconstruction
    """The reconstruction; pixels that are not finite are zero and have no illumination."""
    evaluation: Evaluation
    """The comparison with the truth."""
    non_finite: int
    """Pixels of the object that are infinite or not a number."""


def find_runs(places: Sequence[str | Path], leave_out: Path | None = None) -> list[Path]:
    """List run folders among the places, and those below a place that is none itself, in order of their names.

    Each is listed once, however many paths lead to it; links below a place are not followed. A summary, or a folder
    without a reconstruction of its own, hides no run below it.

    Args:
        places: Run folders, or folders that hold run folders at any depth.
        leave_out: A folder that is no run itself, such as that of the summary; those below it are.

    Raises:
        InputError: Where a place does not exist.
    """
    folders: dict[Path, Path] = {}
    apart = None if leave_out is None else leave_out.resolve()
    for place in map(Path, places):
        if not place.is_dir():
            raise InputError(str(place), "", "no such folder", "a run folder, or a folder of them")
        for folder in _below(place, apart):
            folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def read_run(folder: Path, illumination_threshold: float = 0.1) -> RunRecord:
    """Read a finished run and compare it with the truth of its scan.

    Raises:
        InputError: Where the run is unfinished, a file is missing or damaged, or there is no truth.
    """
    metadata = _read_json(folder / FINISHED)
    _read_json(folder / METRICS)
    recon = Reconstruction.load(folder / RECONSTRUCTION)
    finite = np.isfinite(recon.object)
    clean = replace(
        recon,
        object=np.where(finite, recon.object, np.complex64(0)),
        illumination=np.where(finite, recon.illumination, np.float32(0)),
    )
    scan = _scan_of(folder, metadata)
    config = EvaluateConfig(illumination_threshold=illumination_threshold, compare_counts=False)
    return RunRecord(folder, metadata, clean, evaluate(clean, scan, config=config), int((~finite).sum()))


def is_summary(folder: Path) -> bool:
    """Return True if a folder holds a summary of runs."""
    try:
        return _read_json(folder / FINISHED).get("stage") in SUMMARIES
    except InputError:
        return False


def _below(place: Path, leave_out: Path | None) -> list[Path]:
    marked = any((place / name).is_file() for name in (FINISHED, CONFIG, LOG))
    is_run = marked and place.resolve() != leave_out and not is_summary(place)
    if is_run and (place / RECONSTRUCTION).is_file():
        return [place]
    inside = sorted(entry for entry in place.iterdir() if _is_folder(entry))
    runs = [folder for entry in inside for folder in _below(entry, leave_out)]
    return runs or ([place] if is_run else [])


def _is_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")


def _scan_of(folder: Path, metadata: Mapping[str, Any]) -> ScanData:
    """The scan in the run folder, or the file that the run's record names."""
    inputs = metadata.get("inputs")
    record = inputs.get("scan") if isinstance(inputs, Mapping) else None
    named = [str(record[key]) for key in ("path", "file") if record.get(key)] if isinstance(record, Mapping) else []
    places = [folder / SCAN, *(place for name in named for place in (folder / name, Path(name)))]
    path = next((place for place in places if place.is_file()), folder / SCAN)
    scan = load(path)
    if scan.truth is None:
        raise InputError(str(path), "truth", "none", "a simulated scan with its truth")
    return scan


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "a finished run" if path.name == FINISHED else "a complete run"
        raise InputError(str(path), "", "no such file", hint) from None
    except (OSError, ValueError) as error:
        raise InputError(str(path), "", f"a damaged file ({type(error).__name__})", "JSON") from None
    if not isinstance(content, dict):
        raise InputError(str(path), "", f"a {type(content).__name__}", "a JSON object")
    return content
