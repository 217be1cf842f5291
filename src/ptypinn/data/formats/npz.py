"""Flat NPZ files: the PtychoPINN family and its relatives.

Patterns lie under `diffraction` or `diff3d`, (N, H, W) or, with `axis_order` hwn, (H, W, N), zero frequency centred.
Integers are counts; floating-point patterns need `domain`, for files of both kinds exist. Positions are either
`xcoords` and `ycoords`, the probe *centre* on the object's array, or `positions_px` (row, column) of the probe's
pixel (0, 0). The probe is `probeGuess` or `probe_guess`, one or several modes of arbitrary scale. `objectGuess` is
mostly a start value, so it counts as the truth only where the option `truth` names it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.formats.base import Entry, Format, Lack
from ptypinn.data.formats.source import describe_source
from ptypinn.data.hdf5 import require_file
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError

PATTERN_NAMES = ("diffraction", "diff3d")
PROBE_NAMES = ("probeGuess", "probe_guess", "probe")
OBJECT_NAMES = ("objectGuess", "object_guess")

Arrays = Mapping[str, np.ndarray]


def read_npz(path: Path, config: LoadConfig) -> ScanData:
    """Read a flat NPZ scan; it is read whole, whatever the memory budget."""
    source, arrays = str(path), open_npz(path)
    positions, centre = _read_positions(source, arrays)
    counts, domain = _read_counts(source, arrays, len(positions), config)
    if centre:
        positions = positions - counts.shape[-1] // 2
    probe = _read_probe(source, arrays)
    ignored = [name for name in OBJECT_NAMES if name in arrays and name != config.truth]
    notes = {"domain": domain, "positions": "probe centre" if centre else "probe corner", "ignored": ignored}
    return ScanData(
        counts=counts,
        positions_px=positions,
        probe=probe,
        truth=_read_truth(source, arrays, config),
        provenance=describe_source(path, "npz", config, **notes),
    )


def open_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an NPZ file, never unpickled.

    Raises:
        InputError: Where the file is missing, damaged, or holds Python objects.
    """
    require_file(path)
    name = "file"
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(str(path), name, "a single array", "an NPZ archive")
            arrays = {}
            for name in file.files:
                arrays[name] = file[name]
            return arrays
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(str(path), name, *_unreadable(error)) from error


def _unreadable(error: Exception) -> tuple[str, str]:
    if "allow_pickle" in str(error):
        return "pickled Python objects", "an array of numbers"
    return f"a truncated or damaged archive ({error})", "a complete NPZ file"


def pick(arrays: Arrays, names: tuple[str, ...]) -> str | None:
    """The first of several names that the archive holds."""
    return next((name for name in names if name in arrays), None)


def _read_counts(source: str, arrays: Arrays, n_positions: int, config: LoadConfig) -> tuple[np.ndarray, str]:
    name = pick(arrays, PATTERN_NAMES)
    if name is None:
        raise InputError(source, " or ".join(PATTERN_NAMES), f"only {sorted(arrays)}", "an array of patterns")
    patterns = arrays[name]
    if patterns.ndim != 3:
        raise InputError(source, name, f"shape {patterns.shape}", "three axes")
    if config.axis_order == "hwn":
        patterns = np.ascontiguousarray(np.moveaxis(patterns, -1, 0))
    if len(patterns) != n_positions:
        other = "nhw" if config.axis_order == "hwn" else "hwn"
        wanted = f"{n_positions} patterns, one per position"
        if arrays[name].shape[-1 if other == "hwn" else 0] == n_positions:
            wanted += f"; set --axis_order {other}"
        raise InputError(source, name, f"shape {arrays[name].shape} read as {config.axis_order}", wanted)
    return _to_counts(source, name, patterns, config)


def _to_counts(source: str, name: str, patterns: np.ndarray, config: LoadConfig) -> tuple[np.ndarray, str]:
    if patterns.dtype.kind not in "uif":
        raise InputError(source, name, f"type {patterns.dtype}", "real numbers")
    integer = patterns.dtype.kind in "ui"
    domain = "counts" if integer and config.domain == "auto" else config.domain
    if domain == "auto":
        raise InputError(
            source, name, f"{patterns.dtype}, which may be either", "--domain counts or --domain amplitude"
        )
    if domain == "counts":
        return patterns, domain
    amplitudes = patterns.astype(np.float32 if patterns.dtype.itemsize <= 4 else np.float64)
    if np.nanmin(amplitudes, initial=0) < 0:
        raise InputError(source, name, f"an amplitude of {np.nanmin(amplitudes)}", "non-negative amplitudes")
    return np.square(amplitudes).astype(np.float32), domain


def _read_positions(source: str, arrays: Arrays) -> tuple[np.ndarray, bool]:
    if "positions_px" in arrays:
        return _as_positions(source, "positions_px", arrays["positions_px"]), False
    if "xcoords" in arrays and "ycoords" in arrays:
        y, x = (np.ravel(arrays[name]) for name in ("ycoords", "xcoords"))
        if y.shape != x.shape:
            raise InputError(source, "ycoords", f"{y.size} values for {x.size} in xcoords", "as many")
        return _as_positions(source, "ycoords, xcoords", np.stack([y, x], 1)), True
    raise InputError(source, "positions_px", f"only {sorted(arrays)}", "positions_px, or xcoords and ycoords")


def _as_positions(source: str, name: str, values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "uif":
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "numbers of shape (patterns, 2)")
    return values.astype(np.float64)


def _read_probe(source: str, arrays: Arrays) -> np.ndarray | None:
    name = pick(arrays, PROBE_NAMES)
    return None if name is None else as_probe(source, name, arrays[name])


def as_probe(source: str, name: str, values: np.ndarray) -> np.ndarray:
    """Probe modes, (modes, N, N) complex64, from one or several modes."""
    if values.ndim not in (2, 3) or values.dtype.kind not in "uifc":
        found = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, found, "numbers of shape (N, N) or (modes, N, N)")
    return values.reshape(-1, *values.shape[-2:]).astype(np.complex64)


def _read_truth(source: str, arrays: Arrays, config: LoadConfig) -> np.ndarray | None:
    if not config.truth:
        return None
    if config.truth not in arrays:
        raise InputError(source, config.truth, f"only {sorted(arrays)}", "the array named by --truth")
    return arrays[config.truth].astype(np.complex64)


def is_npz(path: Path) -> bool:
    """Whether a file is a ZIP archive."""
    return zipfile.is_zipfile(path)


ENTRIES = (
    Entry("diffraction or diff3d", "counts", "(M, N, N)", "counts", "or amplitudes; zero frequency at N//2"),
    Entry("positions_px", "positions_px", "(M, 2)", "pixel", "(y, x) of the probe's pixel (0, 0)", True),
    Entry("ycoords, xcoords", "positions_px", "(M,)", "pixel", "centre of the probe", True),
    Entry("probeGuess, probe_guess or probe", "probe", "(modes, N, N)", "arbitrary", "", True),
    Entry("objectGuess or object_guess", "object", "(H, W)", "", "taken only where --truth names it", True),
)
NPZ = Format(
    "flat NPZ (PtychoPINN family)",
    (".npz",),
    sniff=is_npz,
    entries=ENTRIES,
    lacks=(
        Lack("photon energy", "energy_eV"),
        Lack("detector distance", "detector_distance_m"),
        Lack("detector pixel", "detector_pixel_m"),
        Lack("whether floating-point patterns are counts", "domain"),
        Lack("which axis counts the patterns", "axis_order"),
    ),
    read=read_npz,
)
