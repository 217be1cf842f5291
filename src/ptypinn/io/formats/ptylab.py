"""PtyLab scans: flat HDF5 files in SI units, as the PtyLab toolboxes for Python, Matlab and Julia share them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.orientation import Orientation, derive
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, build_scan
from ptypinn.io.counts import take_counts
from ptypinn.io.crop import Crop
from ptypinn.io.format import Entry, Format, MissingField, Signature
from ptypinn.io.optics import Optics
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import read_scalar, require_array, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.physics.optics import PLANCK_TIMES_C_EV_M

PLACES = {"energy_eV": "wavelength", "detector_distance_m": "zo", "detector_pixel_m": "dxd"}
ORIENTATIONS = ("none", "x", "y", "yx")
"""Axes along which frames are turned round for the orientations 0 to 3; 4 to 7 are the same after a transposition."""


def read_ptylab(path: Path, config: LoadConfig) -> ScanData:
    """Read a PtyLab scan of conventional ptychography.

    Raises:
        InputError: Where a dataset is missing, or the file is of Fourier ptychography.
    """
    source = str(path)
    with open_hdf5(path) as file:
        if "zled" in file:
            raise InputError(source, "zled", "Fourier ptychography", "conventional ptychography, with zo")
        data = require_dataset(file, source, "ptychogram")
        counts, crop = take_counts(data, path, None, config), Crop.of(source, data.shape, config)
        wavelength = read_scalar(file, source, "wavelength")
        numbers = {
            "energy_eV": PLANCK_TIMES_C_EV_M / wavelength if wavelength else None,
            "detector_distance_m": read_scalar(file, source, "zo"),
            "detector_pixel_m": read_scalar(file, source, "dxd"),
        }
        optics = Optics.read(source, config, numbers, PLACES)
        size = optics.require_pixel_size_m(source, config, counts.shape[-1], PLACES)
        orientation = _read_orientation(file, source)
        diameter = read_scalar(file, source, "entrancePupilDiameter")
        notes = {"probe": "entrancePupilDiameter" if diameter else "none", "orientation": orientation, **crop.notes()}
        scan = build_scan(
            config,
            counts=counts,
            positions_px=as_positions(source, "encoder", require_array(file, source, "encoder"), "y, x in metres")
            / size,
            pixel_size_m=size,
            provenance=describe_source(path, "ptylab", config, **notes),
            **optics.fields(),
        )
    turn = Orientation(orientation >= 4, ORIENTATIONS[orientation % 4])
    scan = derive(scan, turn, Orientation(), None)
    return scan if not diameter else scan.replace(probe=_disk(scan, diameter / size))


def _disk(scan: ScanData, diameter_px: float) -> np.ndarray:
    if not 1 <= diameter_px <= scan.size:
        actual = f"a diameter of {diameter_px:.4g} object pixels"
        raise InputError(scan.source, "entrancePupilDiameter", actual, f"between 1 and {scan.size}")
    from ptypinn.physics.probes import disk_probe

    return disk_probe(scan.size, diameter_px / 2).numpy()


def _read_orientation(file: h5py.File, source: str) -> int:
    value = read_scalar(file, source, "orientation") or 0
    if value not in range(8):
        raise InputError(source, "orientation", f"{value:g}", "a whole number from 0 to 7")
    return int(value)


PTYLAB = Format(
    "PtyLab scan",
    (".hdf5", ".h5"),
    recognises=Signature(("ptychogram", "encoder")),
    entries=(
        Entry("ptychogram", "counts", "(M, N, N)", "counts", "zero frequency at N//2"),
        Entry("encoder", "positions_px", "(M, 2)", "m", "motion (y, x) of the probe over the sample"),
        Entry("wavelength", "energy_eV", "", "m"),
        Entry("zo", "detector_distance_m", "", "m", "sample to detector"),
        Entry("dxd", "detector_pixel_m", "", "m", "after binning"),
        Entry("entrancePupilDiameter", "probe", "", "m", "diameter of the disk that the probe starts from", True),
        Entry("orientation", None, "", "", "0 to 7: 4 transposes; then 1 turns columns round, 2 rows", True),
    ),
    missing=(
        MissingField("probe", "probe"),
        MissingField("scale of the counts, where frames were normalised", "detector_gain"),
    ),
    notes="PtyLab keeps no probe beside the measurement, only the diameter that its own start has: a disk with a flat "
    "phase. Files of Fourier ptychography (with `zled`) are refused. Background in `emptyBeam`, several wavelengths "
    "in `spectralDensity` and a tilt in `theta` are left aside.",
    read=read_ptylab,
)
