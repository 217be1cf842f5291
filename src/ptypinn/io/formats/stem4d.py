"""4D-STEM rasters of electron diffraction patterns: EMD and other HDF5 files, and plain NPY arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.counts import require_domain, sample_frames, take_counts, to_domain
from ptypinn.io.crop import Crop, cut, window_of
from ptypinn.io.format import Entry, Format, MissingField
from ptypinn.io.formats.emd import CALIBRATION, find_raster, read_calibration
from ptypinn.io.lazy_counts import MappedCounts
from ptypinn.io.provenance import describe_source
from ptypinn.io.raster import Calibration, build_raster_scan
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.npz import map_npy

NPY_MAGIC = b"\x93NUMPY"


def read_stem4d(path: Path, config: LoadConfig) -> ScanData:
    """Read a raster of patterns (y, x, rows, columns), or a stack of them with `positions_file`.

    Raises:
        InputError: Where step, object pixel or electrons per detector unit stay open, naming the option for each.
    """
    counts, crop, raster, calibration = _take(path, config)
    return build_raster_scan(
        config,
        counts=counts,
        crop=crop,
        raster=raster,
        calibration=calibration,
        provenance=describe_source(path, "stem4d", config),
    )


def _take(path: Path, config: LoadConfig) -> tuple[Counts, Crop, tuple[int, ...], Calibration]:
    """Return patterns, their crop, rows and columns of their raster, and the calibration of the file."""
    if not h5py.is_hdf5(path):
        return *_take_npy(path, config), Calibration()
    with open_hdf5(path) as file:
        rasters = find_raster(file)
        if not rasters:
            raise InputError(str(path), "file", "no array of four axes", "a raster of patterns (y, x, rows, columns)")
        if len(rasters) > 1 and ("emd_group_type" in rasters[0].parent.attrs) == (
            "emd_group_type" in rasters[1].parent.attrs
        ):
            names = ", ".join(data.name for data in rasters[:4])
            raise InputError(str(path), "file", f"several rasters: {names}", "a single one")
        dataset = rasters[0]
        calibration = read_calibration(dataset, str(path), config)
        inner = replace(config, centre_px=config.centre_px or calibration.centre_px)
        crop = Crop.of(str(path), dataset.shape, inner)
        return take_counts(dataset, path, None, inner), crop, dataset.shape[:2], calibration


def _take_npy(path: Path, config: LoadConfig) -> tuple[Counts, Crop, tuple[int, ...]]:
    patterns = map_npy(path)
    if patterns.ndim not in (3, 4) or patterns.dtype.kind not in "uif":
        actual = f"{patterns.dtype} of shape {patterns.shape}"
        raise InputError(str(path), "file", actual, "a raster of patterns (y, x, rows, columns), or a stack of them")
    window, crop = window_of(str(path), patterns.shape, config), Crop.of(str(path), patterns.shape, config)
    if patterns.nbytes > config.memory_budget_gib * 2**30 and patterns.flags.c_contiguous:
        return MappedCounts(path, window, squared=config.domain == "amplitude"), crop, patterns.shape[:-2]
    stack = np.array(cut(patterns.reshape(-1, *patterns.shape[-2:]), window))
    require_domain(str(path), "patterns", sample_frames(stack), None, config)
    return to_domain(str(path), "patterns", stack, config), crop, patterns.shape[:-2]


def is_stem4d(path: Path) -> bool:
    """Return True if a file is an NPY file of three or four axes, or HDF5 with an array of four."""
    if h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            return bool(find_raster(file))
    with path.open("rb") as file:
        return file.read(len(NPY_MAGIC)) == NPY_MAGIC


STEM4D = Format(
    "4D-STEM raster (EMD, HDF5 or NPY)",
    (".emd", ".h5", ".npy"),
    recognises=is_stem4d,
    generic=True,
    entries=(
        Entry(
            "data", "counts", "(y, x, rows, columns)", "detector units", "the only array of four axes; of EMD groups"
        ),
        Entry("dim0, dim1", "positions_px", "(2,) or (y,)", "m", "steps of the raster; dim1, dim2 in EMD 0.x", True),
        Entry("dim2, dim3", "pixel_size_m", "(2,) or (rows,)", "1/m or rad", "detector pixel; dim3, dim4 in 0.x", True),
        Entry(f"{CALIBRATION}/R_pixel_size", "positions_px", "", "R_pixel_units", "in place of dim0 and dim1", True),
        Entry(f"{CALIBRATION}/Q_pixel_size", "pixel_size_m", "", "Q_pixel_units", "in place of dim2 and dim3", True),
        Entry(f"{CALIBRATION}/qx0_mean, qy0_mean", None, "", "pixel", "row and column of the direct beam", True),
        Entry(f"{CALIBRATION}/probe_semiangle", "probe", "", "pixel", "radius of the bright-field disk", True),
        Entry(f"{CALIBRATION}/convergence_semiangle_mrad", "probe", "", "mrad", "semi-convergence angle", True),
        Entry(f"{CALIBRATION}/QR_rotation", None, "", "rad", "turns detector coordinates to the raster's", True),
        Entry(f"{CALIBRATION}/QR_flip", None, "", "", "rows and columns of the detector are exchanged besides", True),
    ),
    missing=(
        MissingField("detector units per electron, where patterns are floating-point", "detector_gain"),
        MissingField("accelerating voltage", "energy_eV"),
        MissingField("step of the raster, in NPY files", "scan_step_m"),
        MissingField("rows and columns of the raster, of a stack of patterns", "raster_shape"),
        MissingField("object pixel, in NPY files (or camera length and detector pixel)", "pixel_size_m"),
        MissingField("positions of patterns that are no raster", "positions_file"),
        MissingField("defocus of the probe, which is assumed in focus", "probe"),
        MissingField("direct beam, where the file was not calibrated", "centre_px"),
    ),
    notes="Counts are electrons: integers as they are, floating-point values after division by `detector_gain`; of "
    "simulations without noise it is one over the dose. The wavelength is that of relativistic electrons whose "
    "kinetic energy is `energy_eV`, the accelerating voltage in volts.",
    read=read_stem4d,
)
