"""What a reconstruction and its run folder have on record, taken only where it is of the kind that it should be."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.provenance import file_hash
from ptypinn.runs.folder import FINISHED
from ptypinn.scale.ledger_entry import count_unreadable_entries

MAPPINGS = ("provenance", "metrics", "history", "prediction_scale")
PHOTONS = {"calibration", "photons"}
"""Options that say the same thing in two ways: where one is given now, the other's record is void."""


def sound(recon: Reconstruction, notes: list[str]) -> Reconstruction:
    """A reconstruction without records that are no records; what is left out is noted."""
    changes: dict[str, Any] = {name: {} for name in MAPPINGS if not isinstance(getattr(recon, name), Mapping)}
    notes += [f"the {name.replace('_', ' ')} of the reconstruction cannot be read" for name in changes]
    notes += unreadable("ledger", recon.scale)
    if not isinstance(recon.scale, list):
        changes["scale"] = []
    provenance = dict(changes.get("provenance", recon.provenance))
    for name in ("scan", "model"):
        if provenance.get(name) is not None and not isinstance(provenance[name], Mapping):
            notes.append(f"the record of the {name} in the reconstruction cannot be read")
            del provenance[name]
    if "model" in provenance:
        provenance["model"] = _sound_model(mapping(provenance["model"]), notes)
    return dataclasses.replace(recon, **{**changes, "provenance": provenance})


def unreadable(ledger: str, records: object) -> list[str]:
    """A note on the entries of a ledger that cannot be read; nothing where all can be."""
    number = count_unreadable_entries(records)
    return [f"{number} {'entry' if number == 1 else 'entries'} of the {ledger} cannot be read"] if number else []


def _sound_model(record: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    notes += unreadable("ledger of the training", record.get("scale"))
    scale, kept = record.get("scale"), dict(record)
    if "scale" in kept:
        kept["scale"] = scale if isinstance(scale, list) else []
    if "hyperparameters" in kept:
        kept["hyperparameters"] = mapping(kept["hyperparameters"])
    return kept


def record_of_scan(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Where the scan came from, as the reconstruction and its run folder have it on record.

    Args:
        folder: Where the run has left its results.
        provenance: Of the reconstruction.

    Returns:
        `path`, `file` and `sha256` where they are strings, `command` as a list of strings, and `options`.
    """
    metadata: object = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        metadata = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
    inputs = mapping(mapping(metadata).get("inputs"))
    found = {**mapping(inputs.get("scan")), **mapping(provenance.get("scan"))}
    command = mapping(metadata).get("command")
    words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
    named = {name: found[name] for name in ("path", "file", "sha256") if isinstance(found.get(name), str)}
    return {**named, "command": words, "options": found.get("options") or {}}


def find_scan(folder: Path, record: Mapping[str, Any]) -> Path | None:
    """The scan file, by the places that are on record; a file with another content does not count.

    Args:
        folder: Where the run has left its results.
        record: What `record_of_scan` tells.
    """
    name = record.get("file")
    places = [Path(record["path"])] if record.get("path") else []
    if name:
        places += [folder / name, Path(name), folder.parent / name]
        places += [Path(word) for word in record["command"] if Path(word).name == name]
    places.append(folder / "scan.h5")
    return next((place for place in places if _holds(place, record.get("sha256"))), None)


def loading_as_recorded(loading: LoadConfig, options: object, given: Collection[str], notes: list[str]) -> LoadConfig:
    """The options that a run has read its scan with, and those given now in their place.

    Args:
        loading: The options of now.
        options: Those on record.
        given: Names of the options that were given now, be it with the value that is the default.
        notes: Takes what cannot be read.
    """
    hints, kept = get_type_hints(LoadConfig), dict[str, Any]()
    void = {*given, *(PHOTONS if PHOTONS & {*given} else ())}
    if not isinstance(options, Mapping):
        notes.append("the options on record that the scan was read with cannot be read")
    for name, value in mapping(options).items():
        if name not in hints or name in void:
            continue
        try:
            kept[name] = _as_field(value, hints[name])
        except (TypeError, OverflowError):
            notes.append(f"the option {name} on record, {value!r}, cannot be read")
    try:
        return dataclasses.replace(loading, **kept)
    except InputError as error:
        notes.append(f"the options on record that the scan was read with do not go together ({error})")
        return loading


def mapping(value: object) -> Mapping[str, Any]:
    """The value where it is a mapping, and an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def _holds(place: Path, known: str | None) -> bool:
    with contextlib.suppress(OSError, ValueError):  # a place without access, or that no file can have
        return place.is_file() and known in (None, file_hash(place))
    return False


def _as_field(value: object, hint: Any) -> Any:
    """A value from JSON as a field of a configuration holds it."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = get_args(hint)
        return None if value is None and type(None) in kinds else _as_field(value, kinds[0])
    if hint is float and type(value) is int:
        return float(value)
    if value not in get_args(hint) if get_origin(hint) is Literal else type(value) is not hint:
        raise TypeError(f"found {value!r}, expected {hint}")
    return value
