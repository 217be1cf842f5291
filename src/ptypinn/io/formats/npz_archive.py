"""Archive, numbers and texts out of NPZ archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.provenance import optics_record
from ptypinn.io.safe.hdf5 import MAX_ARRAY_BYTES
from ptypinn.io.safe.hdf5_open import require_file
from ptypinn.io.safe.npz import Archive, write_npz

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
    """Return the domain of patterns, `counts` or `amplitude`, by option, file or type; see `to_counts`."""
    if dtype.kind not in "uif":
        raise InputError(source, name, f"type {dtype}", "real numbers")
    default = declared if declared in ("counts", "amplitude") else "counts" if dtype.kind in "ui" else "auto"
    domain = default if config.domain == "auto" else config.domain
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
        declared: Domain that the file declares: counts, amplitude or nothing.
        config: Reading options; `domain` has priority, and integers are counts by default.

    Raises:
        InputError: Where the domain is undeclared, or amplitudes are negative.
    """
    domain = domain_of(source, name, patterns.dtype, declared, config)
    if domain == "counts":
        return patterns, domain
    amplitudes = patterns.astype(np.float32 if patterns.dtype.itemsize <= 4 else np.float64)
    if np.nanmin(amplitudes, initial=0) < 0:
        raise InputError(source, name, f"an amplitude of {np.nanmin(amplitudes)}", "non-negative amplitudes")
    return np.square(amplitudes).astype(np.float32), domain


NUMBERS = {
    "energy_eV": "photon_energy_eV",
    "detector_distance_m": "detector_distance_m",
    "detector_pixel_m": "detector_pixel_size_m",
    "pixel_size_m": "pixel_size_m",
}
"""Names in the file by those of the fields."""


def write_flat_npz(scan: ScanData, path: Path) -> None:
    """Write a scan; lazy counts are streamed."""
    arrays: dict[str, Any] = {"domain": "counts", **_places(scan.positions_px, scan.size)}
    if scan.probe is not None:
        arrays |= {"probeGuess": scan.probe, "probe_gauge": scan.probe_gauge}
    if scan.truth is not None:
        arrays["objectGuess"] = scan.truth
    if not scan.good.all():
        arrays["bad_pixels"] = ~scan.good
    arrays |= {name: value for field, name in NUMBERS.items() if (value := getattr(scan, field)) is not None}
    write_npz(path, arrays, ("diffraction", scan))


def write_flat_npz_reconstruction(recon: Reconstruction, path: Path) -> None:
    """Write object, probe and positions of a reconstruction."""
    optics = {**optics_record(recon), "pixel_size_m": recon.pixel_size_m}
    arrays: dict[str, Any] = {
        "objectGuess": recon.object,
        "probeGuess": recon.probe,
        "probe_gauge": "calibrated",
        **_places(recon.positions_px, recon.probe.shape[-1]),
        **{name: value for field, name in NUMBERS.items() if (value := optics.get(field)) is not None},
    }
    write_npz(path, arrays)


def _places(positions_px: Any, size: int) -> dict[str, Any]:
    """Positions of the probe's pixel (0, 0) to the bit, and those of its pixel N//2 as the family has them."""
    y, x = (positions_px + size // 2).T
    return {"positions_px": positions_px, "xcoords": x, "ycoords": y}
