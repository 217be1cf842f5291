"""Mask of the detector from a separate file, whose meaning an option declares."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.crop import cut, window_of
from ptypinn.io.safe.hdf5 import open_hdf5, require_array, require_file
from ptypinn.io.safe.npz import Archive, map_npy

MASK_READ = "mask_array"
"""Key of the array of a scan file that was read as its mask by the declared convention."""
NAMES = ("mask", "bad_pixels", "good_pixels")
"""Names of a mask in an NPZ file of several arrays."""


def apply_mask_file(scan: ScanData, config: LoadConfig) -> ScanData:
    """Mask the pixels of a scan that `--mask` marks as bad, beside those that are masked already.

    Args:
        scan: Scan as read from its file, before any flip.
        config: Reading options with `mask` and `mask_convention`.

    Raises:
        InputError: Where the mask cannot be read, or has another shape than the patterns.
    """
    values = as_mask(config.mask, _read_values(config.mask), config)
    window = window_of(config.mask, values.shape, config)
    good = values if values.shape == scan.good.shape else cut(values, window)
    if good.shape != scan.good.shape:
        raise InputError(config.mask, "mask", f"shape {values.shape}", f"shape {scan.good.shape}, the detector's")
    if not (good & scan.good).any():
        raise InputError(config.mask, "mask", "no good pixel", "the other --mask-convention, or another mask")
    record = {"file": Path(config.mask.partition(":")[0]).name, "bad_pixels": int((~good).sum())}
    return scan.replace(mask=good & scan.good, provenance={**scan.provenance, "mask_file": record})


def require_mask_read(scan: ScanData, config: LoadConfig) -> None:
    """Raise `InputError` where `--mask-convention` is set and no mask was read by it."""
    if config.mask_convention and not config.mask and MASK_READ not in scan.provenance:
        expected = "none without --mask, for files without an array `mask`"
        raise InputError(scan.source, "--mask-convention", config.mask_convention, expected)


def as_mask(source: str, values: np.ndarray, config: LoadConfig) -> Bool[np.ndarray, "y x"]:
    """Return the good pixels of a mask, (rows, columns), by the declared convention.

    Args:
        source: Name of the file for messages.
        values: Numbers or booleans; one image, or one per pattern.
        config: Reading options with `mask_convention`.
    """
    if values.ndim not in (2, 3) or values.dtype.kind not in "buif":
        raise InputError(source, "mask", f"{values.dtype} of shape {values.shape}", "an image of numbers")
    images = (values != 0).reshape(-1, *values.shape[-2:])
    return images.all(0) if config.mask_convention == "good" else ~images.any(0)


def _read_values(location: str) -> np.ndarray:
    """Read an NPY file, the mask of an NPZ file, or FILE:DATASET of an HDF5 file."""
    name, _, dataset = location.partition(":")
    path = Path(name)
    require_file(path)
    if dataset:
        with open_hdf5(path) as file:
            return require_array(file, name, dataset)
    if not zipfile.is_zipfile(path):
        return np.asarray(map_npy(path, "mask"))
    archive = Archive(path)
    names = list(archive)
    field = names[0] if len(names) == 1 else next((field for field in NAMES if field in archive), None)
    if field is None:
        raise InputError(name, "mask", f"only {sorted(names)}", f"one array, or one of {', '.join(NAMES)}")
    return archive[field]
