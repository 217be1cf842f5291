"""The record of the file that a scan came from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptypinn.config.load import LoadConfig
from ptypinn.data.formats.crop import CUT_FROM, LEFT_OUT

EARLIER = ("file", "format", "sha256", "options", "ignored", CUT_FROM, LEFT_OUT, "converted_from")
"""Records of the file that a scan was read from, not of the scan."""
HASH_WHOLE_BYTES = 10**9
HASH_HEAD_BYTES = 2**24


def describe_source(
    path: Path, format_name: str, config: LoadConfig, *, left_out: Sequence[str] = (), **notes: Any
) -> dict[str, Any]:
    """Provenance of what is read from `path`.

    Args:
        path: The file.
        format_name: Name of its format.
        config: Reading options.
        left_out: What the file holds that is not read, a few words each.
        notes: Further records.

    Returns:
        `file`, `format`, `sha256`, the `options` that differ from their defaults, and the notes.
    """
    options = {
        f.name: getattr(config, f.name) for f in dataclasses.fields(config) if getattr(config, f.name) != f.default
    }
    told = {LEFT_OUT: list(left_out), **notes} if left_out else notes
    return {"file": path.name, "format": format_name, "sha256": file_hash(path), "options": options, **told}


def succeed(stored: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of a scan read from a file that carries the provenance of the scan written to it.

    The file that the earlier scan came from moves to `converted_from`.
    """
    earlier = {key: stored[key] for key in EARLIER if key in stored}
    kept = {key: value for key, value in stored.items() if key not in earlier}
    return {**kept, **current, **({"converted_from": earlier} if earlier else {})}


def file_hash(path: Path) -> str:
    """SHA-256 of a file; of its first 16 MiB and its size where it is larger than 1 GB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= HASH_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        head = hashlib.sha256(file.read(HASH_HEAD_BYTES))
    head.update(str(size).encode())
    return f"head+size:{head.hexdigest()}"
