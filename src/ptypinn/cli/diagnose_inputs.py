"""Inputs of `ptypinn diagnose`: run folders, or reconstruction, scan and model in any order, sorted by content."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import holds_scan, load
from ptypinn.io.safe.hdf5_open import require_file
from ptypinn.models.model_file import PatchModel, load_patch_model
from ptypinn.runs.folder import RECONSTRUCTION, reconstruction_file
from ptypinn.runs.record import (
    as_mapping,
    drop_unreadable,
    find_scan,
    load_options_from_record,
    read_scan_record,
    unreadable_notes,
)

EXPECTED = "a run folder, a reconstruction, a scan or a model"
SAFETENSORS_HEADER = 9
"""Bytes at the start of a safetensors file: the length of its JSON header, and the brace that opens it."""


@dataclass(frozen=True)
class DiagnoseInput:
    """One reconstruction, and the scan and the model that belong to it."""

    name: str
    """Path of its run folder or file."""
    recon: Reconstruction
    """The reconstruction."""
    scan: ScanData | None = None
    """The scan that it was made from."""
    scan_file: Path | None = None
    """File of the scan."""
    model: PatchModel | None = None
    """The model that made it, if the reconstruction does not record everything about it."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the reader, such as a scan that is gone."""


@dataclass(frozen=True)
class SortedPaths:
    """Paths by the kind of their content."""

    recons: list[Path]
    """Run folders with a reconstruction, and reconstruction files."""
    scan: Path | None = None
    """Scan file."""
    model: Path | None = None
    """Model file."""


def find_diagnose_inputs(
    paths: Sequence[str], loading: LoadConfig, options: Collection[str] = ()
) -> Iterator[DiagnoseInput]:
    """Find the reconstructions one after another, each with its scan and its model.

    A scan or a model among the paths belongs to all of them; otherwise it is searched for where the run has recorded
    it, and in the folder of the run.

    Args:
        paths: Run folders and files.
        loading: Options of reading.
        options: Names of those set on the command line; for the others, the run's own values are used.

    Raises:
        InputError: If a path holds none of these, or files do not belong together.
    """
    sorted_paths = sort_paths([Path(path) for path in paths])
    for path in sorted_paths.recons:
        yield _find_input(path, sorted_paths, loading, options)


def sort_paths(paths: Sequence[Path]) -> SortedPaths:
    """Sort paths by the kind of their content.

    Raises:
        InputError: If one holds nothing of use, there is no reconstruction, or more than one scan or model.
    """
    by_kind: dict[str, list[Path]] = {"reconstruction": [], "scan": [], "model": []}
    for path in paths:
        kind = _kind(path)
        by_kind[kind].append(_model_in(path) or path if kind == "model" else path)
    for kind in ("scan", "model"):
        if len(by_kind[kind]) > 1:
            raise InputError(str(by_kind[kind][1]), "", f"a second {kind} beside {by_kind[kind][0]}", f"one {kind}")
    if not by_kind["reconstruction"]:
        kinds = " and ".join(f"a {kind}" for kind, files in by_kind.items() if files)
        raise InputError(str(paths[0]), "", f"{kinds} only", "a run folder or a reconstruction as well")
    scan, model = (next(iter(by_kind[kind]), None) for kind in ("scan", "model"))
    return SortedPaths(by_kind["reconstruction"], scan, model)


def _kind(path: Path) -> str:
    if path.is_dir():
        if (path / RECONSTRUCTION).exists():
            return "reconstruction"
        if _model_in(path):
            return "model"
        raise InputError(str(path), "", f"a folder without {RECONSTRUCTION}", EXPECTED)
    require_file(path)
    if _is_safetensors(path):
        return "model"
    try:
        return "scan" if holds_scan(path) else "reconstruction"
    except InputError as error:
        raise InputError(str(path), "", "something else", EXPECTED) from error


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(SAFETENSORS_HEADER)
    return path.suffix == ".safetensors" or (start[-1:] == b"{" and int.from_bytes(start[:8], "little") < 2**32)


def _model_in(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.safetensors"))), None) if folder.is_dir() else None


def _find_input(path: Path, sorted_paths: SortedPaths, loading: LoadConfig, options: Collection[str]) -> DiagnoseInput:
    notes: list[str] = []
    recon = drop_unreadable(Reconstruction.load(reconstruction_file(path)), notes)
    folder = path if path.is_dir() else path.parent
    record = read_scan_record(folder, recon.provenance)
    scan_path = sorted_paths.scan or find_scan(folder, record)
    folders = (folder,) if scan_path is None else (folder, scan_path.parent)
    loading = load_options_from_record(loading, record["options"], options, notes, folders)
    scan_file, scan = _scan(record, scan_path, loading, notes, is_given=sorted_paths.scan is not None)
    model = _model(path, recon, sorted_paths.model)
    if model is not None:
        notes += unreadable_notes("model's ledger", model.header.scale)
    return DiagnoseInput(str(path), recon, scan, scan_file, model, notes)


def _scan(
    record: Mapping[str, Any], scan_path: Path | None, loading: LoadConfig, notes: list[str], *, is_given: bool
) -> tuple[Path | None, ScanData | None]:
    if scan_path is None:
        name = record.get("file", "the scan")
        notes.append(f"{name} is not where it was, or has changed: the ledger is that of the run's record")
        return None, None
    if is_given:
        scan = load(scan_path, loading)
        if record.get("sha256") is not None and any(
            scan.provenance.get(name) != record[name] for name in ("sha256", "parts") if record.get(name)
        ):
            notes.append(f"{scan_path} is not the file that the reconstruction names: its content differs")
        return scan_path, scan
    try:
        return scan_path, load(scan_path, loading)
    except InputError as error:
        notes.append(f"the scan cannot be read again ({error}): the ledger is that of the run's record")
        return None, None


def _model(path: Path, recon: Reconstruction, model_path: Path | None) -> PatchModel | None:
    """Load the model, or one beside a reconstruction that does not record the training of its model."""
    record = as_mapping(recon.provenance.get("model"))
    if model_path is not None:
        model = load_patch_model(model_path)
        if not _matches(model, record):
            actual = f"{model.header.model}, which did not make {path}"
            raise InputError(
                str(model_path), "model", actual, f"the model of the reconstruction, {record.get('model')}"
            )
        return model
    if not record or record.get("scale"):
        return None
    folder = path if path.is_dir() else path.parent
    candidates = [
        Path(str(record.get("file"))),
        *sorted(folder.glob("*.safetensors")),
        *sorted(folder.glob("*/*.safetensors")),
    ]
    for candidate in candidates:
        with contextlib.suppress(InputError, OSError, ValueError):
            if _matches(model := load_patch_model(candidate), record):
                return model
    return None


def _matches(model: PatchModel, record: Mapping[str, Any]) -> bool:
    """Return True if a model is of the kind that a reconstruction has on record."""
    header = model.header
    kind = (header.model, dict(as_mapping(header.hyperparameters)))
    return kind == (record.get("model"), dict(as_mapping(record.get("hyperparameters"))))
