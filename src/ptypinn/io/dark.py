"""Measured background of a detector: frames without a beam, in the unit of the patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.counts import read_values
from ptypinn.io.crop import Window, cut, window_of

NAMES = ("dark", "data_dark", "background")
"""Names of a dark in an NPZ file of several arrays."""
DARK = "dark"
"""Key of the record of a measured background."""


def take_dark(source: str, name: str, values: np.ndarray, window: Window | None) -> Float32[np.ndarray, "y x"]:
    """Return the mean of dark frames, (N, N), counts; 0 where readout noise makes it negative.

    Args:
        source: Name of the file for messages.
        name: Place of the frames in it.
        values: One frame, (rows, columns), or a stack of them.
        window: Rows and columns of the crop.
    """
    if values.ndim < 2 or values.dtype.kind not in "uif":
        actual = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, actual, "one image of numbers, or a stack of them")
    mean = values.reshape(-1, *values.shape[-2:]).mean(0, dtype=np.float64)
    return np.maximum(cut(mean, window), 0).astype(np.float32)


def apply_dark_file(scan: ScanData, config: LoadConfig) -> ScanData:
    """Give a scan the background of `--dark`, in place of its file's; pixels where it has no value are masked.

    Args:
        scan: Scan as read from its file, before any flip.
        config: Reading options with `dark`.

    Raises:
        InputError: Where the file cannot be read, or has another shape than the patterns.
    """
    values = read_values(config.dark, DARK, NAMES)
    window = window_of(config.dark, values.shape, config) if values.ndim > 1 else None
    dark = take_dark(config.dark, DARK, values, None)
    dark = dark if dark.shape == scan.good.shape else cut(dark, window)
    if dark.shape != scan.good.shape:
        raise InputError(config.dark, DARK, f"shape {values.shape}", f"shape {scan.good.shape}, the detector's")
    name = Path(config.dark.partition(":")[0]).name
    return with_dark(scan, dark, name)


def with_dark(scan: ScanData, dark: Float32[np.ndarray, "y x"], name: str) -> ScanData:
    """Return a scan with a measured background, on record by the name of its file or dataset."""
    good = scan.good & np.isfinite(dark)
    dark = np.where(good, dark, np.float32(0))
    record = {"from": name, "photons_per_frame": float(dark.sum(dtype=np.float64))}
    return scan.replace(background=dark, mask=good, provenance={**scan.provenance, DARK: record})
