"""Read the records of a run; entries of a wrong type are left out, and options of earlier versions are renamed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import types
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.mtf import parse_half_nyquist
from ptypinn.io.provenance import has_content
from ptypinn.runs.folder import FINISHED
from ptypinn.runs.untrusted import lies_in, read_start
from ptypinn.scale.ledger_entry import count_unreadable_entries

MAPPINGS = ("provenance", "metrics", "history", "prediction_scale")
PHOTONS = {"calibration", "photons"}
"""Options that set the same quantity in two ways: where one is set now, the other's record is void."""
RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "LoadConfig": {"memory_budget_MB": "memory_budget_gib"},
    "TrainConfig": {"neighbor_count": "neighbour_count"},
    "FinetuneConfig": {"start": "init_weights", "period": "held_out_period", "average": "ema_decay"},
    "PretrainConfig": {
        "start": "init_weights",
        "replays": "replay_steps",
        "rounds_known": "max_rounds_known_probe",
        "rounds_unknown": "max_rounds_guessed_probe",
        "unknown_share": "guessed_probe_fraction",
        "window": "window_px",
        "decay_share": "lr_decay_fraction",
        "average": "ema_decay",
        "detail_share": "detail_weight",
        "checks": "val_scans",
        "card_checks": "card_scans",
    },
}
"""Names of options in records of version 0.1, and their names now, by class of configuration."""
RENAMED_VALUES: Mapping[str, Mapping[Any, Any]] = {
    "calibration": {"brightest": "p99"},
    "precision": {"bf16-mixed": "bf16", "16-mixed": "16"},
    "format": {"shelves": "ptychoshelves"},
}
"""Values in records of version 0.1, and their names now, by option."""
WIDENING = {"allow_external"}
"""Options that let a scan file name other files."""
FILES = {"truth", "probe", "patterns_file", "positions_file", "mask", "dark", "mtf", "monitor"}
"""Options that name files."""
MB_IN_GIB = 1e6 / 2**30


def rename_options(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded options of a configuration under the names, values and units of this version.

    Args:
        kind: Class of the configuration.
        options: Options by name, as recorded by this version or an earlier one.

    >>> from ptypinn.config.finetune import FinetuneConfig
    >>> rename_options(FinetuneConfig, {"average": 0.95, "epochs": 30})
    {'ema_decay': 0.95, 'epochs': 30}
    """
    names, renamed = RENAMED_OPTIONS.get(kind.__name__, {}), dict[str, Any]()
    for name, value in options.items():
        if name.endswith("_MB") and name in names and isinstance(value, float | int):
            value *= MB_IN_GIB
        new = names.get(name, name)
        if new == name or new not in options:
            values = RENAMED_VALUES.get(new, {})
            renamed[new] = values.get(value, value) if isinstance(value, str) else value
    return renamed


def drop_unreadable(recon: Reconstruction, notes: list[str]) -> Reconstruction:
    """Return a reconstruction without the records of a wrong type.

    Args:
        recon: The reconstruction.
        notes: List that gets a note on everything left out.
    """
    changes: dict[str, Any] = {name: {} for name in MAPPINGS if not isinstance(getattr(recon, name), Mapping)}
    notes += [f"the {name.replace('_', ' ')} of the reconstruction cannot be read" for name in changes]
    notes += unreadable_notes("ledger", recon.scale)
    if not isinstance(recon.scale, list):
        changes["scale"] = []
    provenance = dict(changes.get("provenance", recon.provenance))
    for name in ("scan", "model"):
        if provenance.get(name) is not None and not isinstance(provenance[name], Mapping):
            notes.append(f"the record of the {name} in the reconstruction cannot be read")
            del provenance[name]
    if "model" in provenance:
        provenance["model"] = _drop_unreadable_in_model(as_mapping(provenance["model"]), notes)
    return dataclasses.replace(recon, **{**changes, "provenance": provenance})


def unreadable_notes(ledger: str, records: object) -> list[str]:
    """Return a note on the entries of a ledger that cannot be read; nothing if all can be."""
    number = count_unreadable_entries(records)
    return [f"{number} {'entry' if number == 1 else 'entries'} of the {ledger} cannot be read"] if number else []


def _drop_unreadable_in_model(record: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    notes += unreadable_notes("ledger of the training", record.get("scale"))
    scale, readable = record.get("scale"), dict(record)
    if "scale" in readable:
        readable["scale"] = scale if isinstance(scale, list) else []
    if "hyperparameters" in readable:
        readable["hyperparameters"] = as_mapping(readable["hyperparameters"])
    return readable


def read_scan_record(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Read the record of the scan from the reconstruction and its run folder.

    Args:
        folder: Run folder.
        provenance: Provenance of the reconstruction.

    Returns:
        `path`, `file` and `sha256` where they are strings, `parts` with the SHA-256 of further files, `command` as a
        list of strings, and `options`.
    """
    metadata: object = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        metadata = json.loads(read_start(folder / FINISHED))
    inputs = as_mapping(as_mapping(metadata).get("inputs"))
    scan = {**as_mapping(inputs.get("scan")), **as_mapping(provenance.get("scan"))}
    command = as_mapping(metadata).get("command")
    words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
    names = {name: scan[name] for name in ("path", "file", "sha256") if isinstance(scan.get(name), str)}
    hashes = {name: value for name, value in as_mapping(scan.get("parts")).items() if isinstance(value, str)}
    return {**names, "parts": hashes, "command": words, "options": scan.get("options") or {}}


def find_scan(folder: Path, record: Mapping[str, Any]) -> Path | None:
    """Find the scan file in the recorded places; a file with another content does not count.

    Outside of the run folder, a file counts only where the record holds its SHA-256.

    Args:
        folder: Run folder.
        record: Record of the scan, of `read_scan_record`.
    """
    name = record.get("file")
    places = [Path(record["path"])] if record.get("path") else []
    if name:
        places += [folder / name, Path(name), folder.parent / name]
        places += [Path(word) for word in record["command"] if Path(word).name == name]
    places.append(folder / "scan.h5")
    digest = record.get("sha256")
    if digest is None:
        places = [place for place in places if lies_in(place, (folder,))]
    return next((place for place in places if _is_same_file(place, digest, record.get("parts") or {})), None)


def load_options_from_record(
    loading: LoadConfig, options: object, set_options: Collection[str], notes: list[str], folders: Collection[Path]
) -> LoadConfig:
    """Return the options that a run has read its scan with, replaced by those that are set now.

    A record may be a stranger's: it does not allow what the options of this call do not, and names no files elsewhere.

    Args:
        loading: Options of this call.
        options: Recorded options.
        set_options: Names of the options that this call sets, even to their defaults.
        notes: List that gets a note on everything that cannot be read.
        folders: Folders in which the files must be that recorded options name: that of the run, and that of the scan.
    """
    hints, recorded = get_type_hints(LoadConfig), dict[str, Any]()
    void = {*set_options, *(PHOTONS if PHOTONS & {*set_options} else ())}
    if not isinstance(options, Mapping):
        notes.append("the options on record that the scan was read with cannot be read")
    for name, value in rename_options(LoadConfig, as_mapping(options)).items():
        if name not in hints or name in void or name in WIDENING:
            continue
        if name in FILES:
            value = _locate(name, value, folders)
        if _names_file(name, value) and not _lies_inside(str(value), folders):
            notes.append(f"the option {name} on record names {value!r}, outside the folders of run and scan: not read")
            continue
        try:
            recorded[name] = _to_scan_format(value) if name == "format" else _to_field(value, hints[name])
        except (TypeError, OverflowError):
            notes.append(f"the option {name} on record, {value!r}, cannot be read")
    try:
        return dataclasses.replace(loading, **recorded)
    except InputError as error:
        notes.append(f"the options on record that the scan was read with do not go together ({error})")
        return loading


def _locate(name: str, value: object, folders: Collection[Path]) -> object:
    """Return the path of a recorded option where it is: as it stands, or from one of some folders."""
    head, colon, inner = str(value).partition(":")
    if not isinstance(value, str) or not head or os.path.exists(head):
        return value
    places = [] if _is_number(name, value) else [str(folder / head) for folder in folders]
    return next((f"{place}{colon}{inner}" for place in places if os.path.isfile(place)), value)


def _names_file(name: str, value: object) -> bool:
    """Return True for a recorded option that names a file.

    A transfer of the detector may be a number instead, and a monitor a dataset of the scan file, without a suffix.
    """
    head = str(value).partition(":")[0]
    is_inside = name == "monitor" and not os.path.exists(head) and not Path(head).suffix
    return name in FILES and bool(value) and not _is_number(name, value) and not is_inside


def _is_number(name: str, value: object) -> bool:
    return name == "mtf" and parse_half_nyquist(str(value)) is not None


def _lies_inside(location: str, folders: Collection[Path]) -> bool:
    """Return True if a location is in some folders, taken as a path and as FILE:DATASET."""
    return lies_in(Path(location), folders) and lies_in(Path(location.partition(":")[0]), folders)


def _to_scan_format(value: object) -> str:
    """Return the name of a format that scans are read from.

    Raises:
        TypeError: If there is none of that name.
    """
    from ptypinn.io.registry import list_formats

    formats = list_formats()
    if value == "auto" or (isinstance(value, str) and value in formats and formats[value].read is not None):
        return str(value)
    raise TypeError


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a mapping, and an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def _is_same_file(place: Path, digest: str | None, parts: Mapping[str, str]) -> bool:
    with contextlib.suppress(OSError, ValueError):  # a place without access, or that no file can have
        return has_content(place, digest, parts)
    return False


def _to_field(value: object, hint: Any) -> Any:
    """Return a value from JSON with the type of a configuration's field."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = get_args(hint)
        return None if value is None and type(None) in kinds else _to_field(value, kinds[0])
    if hint is float and type(value) is int:
        return float(value)
    if value not in get_args(hint) if get_origin(hint) is Literal else type(value) is not hint:
        raise TypeError(f"found {value!r}, expected {hint}")
    return value
