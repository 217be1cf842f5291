"""Archive, numbers and texts out of NPZ archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.archive import Archive
from ptypinn.data.hdf5 import require_file
from ptypinn.data.storage import MAX_ARRAY_BYTES
from ptypinn.errors import InputError

PROBE_NAMES = ("probeGuess", "probe_guess", "probe")


def open_npz(path: Path, limit_bytes: float = MAX_ARRAY_BYTES) -> Archive:
    """The arrays of an NPZ file, read as they are asked for and never unpickled.

    Args:
        path: The file.
        limit_bytes: Most that one of them may take.

    Raises:
        InputError: Where the file is missing or damaged.
    """
    require_file(path)
    return Archive(path, limit_bytes)


def pick(arrays: Archive, names: tuple[str, ...]) -> str | None:
    """The first of several names that the archive holds."""
    return next((name for name in names if name in arrays), None)


def npz_names(path: Path) -> set[str]:
    """Names of the arrays in an NPZ archive; empty for any other file."""
    try:
        return set(Archive(path))
    except InputError:
        return set()


def number_in(source: str, arrays: Archive, name: str) -> float | None:
    """A number under a name; None where there is none."""
    if name not in arrays:
        return None
    if arrays[name].size != 1 or arrays[name].dtype.kind not in "uif":
        raise InputError(source, name, f"{arrays[name].dtype} of shape {arrays[name].shape}", "one number")
    return float(arrays[name].ravel()[0])


def text_in(arrays: Archive, name: str) -> str:
    """A text under a name; empty where there is none."""
    return str(arrays[name]) if name in arrays and arrays[name].dtype.kind == "U" else ""


def domain_of(source: str, name: str, dtype: np.dtype, declared: str, config: LoadConfig) -> str:
    """Whether patterns are `counts` or of `amplitude`, by the option, the file, or their type; see `to_counts`."""
    if dtype.kind not in "uif":
        raise InputError(source, name, f"type {dtype}", "real numbers")
    says = declared if declared in ("counts", "amplitude") else "counts" if dtype.kind in "ui" else "auto"
    domain = says if config.domain == "auto" else config.domain
    if domain == "auto":
        raise InputError(source, name, f"{dtype}, which may be either", "--domain counts or --domain amplitude")
    return domain


def to_counts(
    source: str, name: str, patterns: np.ndarray, declared: str, config: LoadConfig
) -> tuple[np.ndarray, str]:
    """Counts of patterns that are counts or amplitudes, and which of both they were.

    Args:
        source: Name of the file for messages.
        name: Name of the array.
        patterns: Patterns of any kind of number.
        declared: What the file says that they are: counts, amplitude or nothing.
        config: Reading options; `domain` comes first, and integers are counts where nothing says otherwise.

    Raises:
        InputError: Where nothing tells, or amplitudes are negative.
    """
    domain = domain_of(source, name, patterns.dtype, declared, config)
    if domain == "counts":
        return patterns, domain
    amplitudes = patterns.astype(np.float32 if patterns.dtype.itemsize <= 4 else np.float64)
    if np.nanmin(amplitudes, initial=0) < 0:
        raise InputError(source, name, f"an amplitude of {np.nanmin(amplitudes)}", "non-negative amplitudes")
    return np.square(amplitudes).astype(np.float32), domain
