"""A `Reconstruction` from the files of other programs, which hold less than ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.validate import check_canvas
from ptypinn.errors import InputError
from ptypinn.physics.illumination import illumination_at


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
    light = illumination_at(positions_px, probe, (image.shape[0], image.shape[1]))
    return Reconstruction(
        object=image, illumination=light.astype(np.float32), probe=probe, positions_px=positions_px, **others
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

    They lie under `optics`, or in the record of the scan; a number that neither tells is absent.
    """
    records = [recon.provenance.get("optics"), recon.provenance.get("scan")]
    found: dict[str, Any] = {}
    for record in records:
        if isinstance(record, Mapping):
            found = {**record, **found}
    return {key: value for key, value in found.items() if value is not None}
