"""NPZ files of PtychoNN.

Patterns are `reciprocal`, (M, N, N), with positions in `scan`, (y, x) of each patch; or the only array of the file is a
raster of patterns, (rows, columns, N, N), without positions. Patterns are intensities or amplitudes; the files do not
declare which. `real`, one complex patch of the object per pattern for training, is not an object and is not read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, build_scan
from ptypinn.io.crop import Crop, cut, window_of
from ptypinn.io.format import OPTICS, Entry, Format, MissingField, Signature, recognise_any
from ptypinn.io.formats.npz_archive import open_npz, to_counts
from ptypinn.io.optics import Optics, position_unit_px
from ptypinn.io.provenance import describe_source
from ptypinn.io.raster import raster_positions
from ptypinn.io.safe.hdf5 import limit_of

RASTER = "arr_0"
PLACES = {"energy_eV": "energy", "detector_distance_m": "distance", "detector_pixel_m": "detector pixel"}


def read_ptychonn(path: Path, config: LoadConfig) -> ScanData:
    """Read patterns with their positions, or a raster of patterns.

    Raises:
        InputError: Where positions, their unit, or the kind of the patterns are left open; it names the option.
    """
    source, arrays = str(path), open_npz(path, limit_of(config.memory_budget_gib))
    name = "reciprocal" if "reciprocal" in arrays else RASTER
    stored = arrays.get(name)
    if stored is None or stored.ndim not in (3, 4):
        actual = f"only {sorted(arrays)}" if stored is None else f"shape {stored.shape}"
        raise InputError(source, name, actual, "patterns (M, N, N), or a raster of them")
    patterns = cut(stored.reshape(-1, *stored.shape[-2:]), window_of(source, stored.shape, config))
    counts, domain = to_counts(source, name, patterns, "", config)
    crop = Crop.of(source, stored.shape, config)
    optics = Optics.read(source, config, {}, PLACES)
    pixel = config.pixel_size_m or optics.pixel_size_m(counts.shape[-1])
    if "scan" in arrays and not config.positions_file:
        positions = _positions(source, arrays["scan"], pixel, config, crop)
    else:
        positions = raster_positions(crop, config, stored.shape[:-2], None, pixel)
    return build_scan(
        config,
        counts=counts,
        positions_px=positions,
        pixel_size_m=pixel,
        provenance=describe_source(path, "ptychonn", config, domain=domain, **crop.notes()),
        **optics.fields(),
    )


def _positions(source: str, values: np.ndarray, pixel_m: float | None, config: LoadConfig, crop: Crop) -> np.ndarray:
    values = as_positions(source, "scan", values)
    if config.positions_unit == "auto":
        raise InputError(source, "scan", "positions without a unit", "--positions-unit")
    if config.positions_unit == "px":
        return crop.positions(values)
    return values * position_unit_px(source, config, pixel_m)


PTYCHONN = Format(
    "PtychoNN NPZ",
    (".npz",),
    recognises=recognise_any(
        Signature(("reciprocal",), archive=True),
        Signature((RASTER,), others=frozenset(), archive=True),
    ),
    entries=(
        Entry("reciprocal", "counts", "(M, N, N)", "counts", "or amplitudes; zero frequency at N//2"),
        Entry("scan", "positions_px", "(M, 2)", "by option", "(y, x) of the patches", True),
        Entry(RASTER, "counts", "(rows, columns, N, N)", "counts", "a raster, in place of the two above"),
    ),
    missing=(
        MissingField("quantity of floating-point patterns", "domain"),
        MissingField("unit of the positions", "positions_unit"),
        MissingField("step of a raster", "scan_step_m"),
        MissingField("positions of a list without", "positions_file"),
        *OPTICS,
        MissingField("probe", "probe"),
    ),
    notes="What PtychoNN is trained on, not what it writes. A raster is read line by line, x running faster.",
    read=read_ptychonn,
)
