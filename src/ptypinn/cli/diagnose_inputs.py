"""What `ptypinn diagnose` is given: run folders, or reconstruction, scan and model in any order, known by content."""

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
from ptypinn.io.safe.hdf5 import require_file
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
    """One reconstruction with everything that was found to judge it by."""

    name: str
    """Path of its run folder or file."""
    recon: Reconstruction
    """The reconstruction."""
    scan: ScanData | None = None
    """The scan that it was made from."""
    scan_file: Path | None = None
    """Where that was read from."""
    bundle: PatchModel | None = None
    """The model that made it, where the reconstruction does not tell all about it."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know, such as a scan that is gone."""


@dataclass(frozen=True)
class SortedPaths:
    """Paths by what they hold."""

    recons: list[Path]
    """Run folders with a reconstruction, and reconstruction files."""
    scan: Path | None = None
    """Scan file."""
    model: Path | None = None
    """Model file."""


def find_diagnose_inputs(
    paths: Sequence[str], loading: LoadConfig, options: Collection[str] = ()
) -> Iterator[DiagnoseInput]:
    """Reconstructions one after another, each with its scan and its model.

    A scan or a model that is given belongs to all of them; otherwise they are looked for where the run has recorded
    them, and in its folder.

    Args:
        paths: Run folders and files.
        loading: Options of reading.
        options: Names of those that were given; the others yield to the ones that the run has used.

    Raises:
        InputError: Where a path holds none of these, or files do not belong together.
    """
    given = sort_paths([Path(path) for path in paths])
    for path in given.recons:
        yield _find_input(path, given, loading, options)


def sort_paths(paths: Sequence[Path]) -> SortedPaths:
    """Tell what paths hold by their content.

    Raises:
        InputError: Where one holds nothing of use, there is no reconstruction, or more than one scan or model.
    """
    found: dict[str, list[Path]] = {"reconstruction": [], "scan": [], "model": []}
    for path in paths:
        kind = _kind(path)
        found[kind].append(_model_in(path) or path if kind == "model" else path)
    for kind in ("scan", "model"):
        if len(found[kind]) > 1:
            raise InputError(str(found[kind][1]), "", f"a second {kind} beside {found[kind][0]}", f"one {kind}")
    if not found["reconstruction"]:
        what = " and ".join(f"a {kind}" for kind, files in found.items() if files)
        raise InputError(str(paths[0]), "", f"{what} only", "a run folder or a reconstruction as well")
    scan, model = (next(iter(found[kind]), None) for kind in ("scan", "model"))
    return SortedPaths(found["reconstruction"], scan, model)


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


def _find_input(path: Path, given: SortedPaths, loading: LoadConfig, options: Collection[str]) -> DiagnoseInput:
    notes: list[str] = []
    recon = drop_unreadable(Reconstruction.load(reconstruction_file(path)), notes)
    record = read_scan_record(path if path.is_dir() else path.parent, recon.provenance)
    loading = load_options_from_record(loading, record["options"], options, notes)
    place, scan = _scan(path, record, given.scan, loading, notes)
    bundle = _bundle(path, recon, given.model)
    if bundle is not None:
        notes += unreadable_notes("model's ledger", bundle.header.scale)
    return DiagnoseInput(str(path), recon, scan, place, bundle, notes)


def _scan(
    path: Path, record: Mapping[str, Any], given: Path | None, loading: LoadConfig, notes: list[str]
) -> tuple[Path | None, ScanData | None]:
    if given is not None:
        scan = load(given, loading)
        if record.get("sha256") not in (None, scan.provenance.get("sha256")):
            notes.append(f"{given} is not the file that the reconstruction names: its content differs")
        return given, scan
    place, name = find_scan(path if path.is_dir() else path.parent, record), record.get("file", "the scan")
    if place is None:
        notes.append(f"{name} is not where it was, or has changed: the ledger is taken as the run has recorded it")
        return None, None
    try:
        return place, load(place, loading)
    except InputError as error:
        notes.append(f"the scan cannot be read again ({error}): the ledger is taken as the run has recorded it")
        return None, None


def _bundle(path: Path, recon: Reconstruction, given: Path | None) -> PatchModel | None:
    """The model that is given, or one found beside a reconstruction that does not tell about its model's training."""
    record = as_mapping(recon.provenance.get("model"))
    if given is not None:
        bundle = load_patch_model(given)
        if not _made(bundle, record):
            found = f"{bundle.header.model}, which did not make {path}"
            raise InputError(str(given), "model", found, f"the model of the reconstruction, {record.get('model')}")
        return bundle
    if not record or record.get("scale"):
        return None
    folder = path if path.is_dir() else path.parent
    places = [
        Path(str(record.get("file"))),
        *sorted(folder.glob("*.safetensors")),
        *sorted(folder.glob("*/*.safetensors")),
    ]
    for place in places:
        with contextlib.suppress(InputError, OSError, ValueError):
            if _made(bundle := load_patch_model(place), record):
                return bundle
    return None


def _made(bundle: PatchModel, record: Mapping[str, Any]) -> bool:
    """Return True if a model is of the kind that a reconstruction has on record."""
    header = bundle.header
    kind = (header.model, dict(as_mapping(header.hyperparameters)))
    return kind == (record.get("model"), dict(as_mapping(record.get("hyperparameters"))))
