"""The record of the file that a scan came from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.validation import check_canvas
from ptypinn.errors import InputError
from ptypinn.io.crop import CUT_FROM, LEFT_OUT

EARLIER = (
    "file",
    "format",
    "sha256",
    "options",
    "ignored",
    "unread",
    "survey",
    "mask_file",
    "mask_array",
    "selected",
    "doubts",
    CUT_FROM,
    LEFT_OUT,
    "converted_from",
)
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
    content = {LEFT_OUT: list(left_out), **notes} if left_out else notes
    return {"file": path.name, "format": format_name, "sha256": file_hash(path), "options": options, **content}


def succeed(stored: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of a scan read from a file that carries the provenance of the scan written to it.

    The file that the earlier scan came from moves to `converted_from`.
    """
    earlier = {key: stored[key] for key in EARLIER if key in stored}
    new = {key: value for key, value in stored.items() if key not in earlier}
    return {**new, **current, **({"converted_from": earlier} if earlier else {})}


def file_hash(path: Path) -> str:
    """SHA-256 of a file; of its first 16 MiB and its size where it is larger than 1 GB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= HASH_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        head = hashlib.sha256(file.read(HASH_HEAD_BYTES))
    head.update(str(size).encode())
    return f"head+size:{head.hexdigest()}"


def foreign_reconstruction(
    source: str,
    image: np.ndarray,
    probe: np.ndarray,
    positions_px: Float64[np.ndarray, "patterns 2"],
    **others: Any,
) -> Reconstruction:
    """Check the arrays of a file and add the illumination that they imply.

    Args:
        source: Name of the file for messages.
        image: The object, (H, W), or (1, H, W) for the only layer of several.
        probe: Modes, (modes, N, N), or one, (N, N).
        positions_px: (y, x) of the probe's pixel (0, 0) on the object, pixels.
        others: Further fields of `Reconstruction`.

    Raises:
        InputError: Where arrays have the wrong shape or are not finite.
    """
    image = image[0] if image.ndim == 3 and len(image) == 1 else image
    probe = probe[None] if probe.ndim == 2 else probe
    _check(source, image, probe, positions_px)
    image, probe = image.astype(np.complex64), probe.astype(np.complex64)
    from ptypinn.physics.illumination import compute_illumination_at

    illumination = compute_illumination_at(positions_px, probe, (image.shape[0], image.shape[1]))
    return Reconstruction(
        object=image, illumination=illumination.astype(np.float32), probe=probe, positions_px=positions_px, **others
    )


def _check(source: str, image: np.ndarray, probe: np.ndarray, positions_px: np.ndarray) -> None:
    for name, array, ndim, expected in (
        ("object", image, 2, "one layer (H, W)"),
        ("probe", probe, 3, "modes of N x N"),
    ):
        if array.ndim != ndim or array.dtype.kind not in "uifc" or 0 in array.shape:
            raise InputError(source, name, f"{array.dtype} of shape {array.shape}", expected)
        if not np.isfinite(array).all():
            raise InputError(source, name, "a value that is not finite", "finite values")
    if probe.shape[1] != probe.shape[2]:
        raise InputError(source, "probe", f"shape {probe.shape}", "square modes")
    if not len(positions_px):
        raise InputError(source, "positions", "none", "one per pattern")
    if not np.isfinite(positions_px).all():
        raise InputError(source, "positions", "a value that is not finite", "finite coordinates")
    check_canvas(source, positions_px, probe.shape[-1])


def optics_record(recon: Reconstruction) -> Mapping[str, Any]:
    """Energy, distance and detector pixel that go with a reconstruction, as its provenance has them.

    They lie under `optics`, or in the record of the scan; a number that neither has is absent.
    """
    records = [recon.provenance.get("optics"), recon.provenance.get("scan")]
    optics: dict[str, Any] = {}
    for record in records:
        if isinstance(record, Mapping):
            optics = {**record, **optics}
    return {key: value for key, value in optics.items() if value is not None}
