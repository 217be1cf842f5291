"""The standard places of a CXI file, in SI units: written by the package's own format and by plain CXI alike."""

from __future__ import annotations

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions
from ptypinn.io.counts import write_counts
from ptypinn.io.format import recognise_hdf5
from ptypinn.io.optics import require_square
from ptypinn.io.safe.hdf5 import add_dataset, add_group, find_dataset, read_array, require_dataset
from ptypinn.io.units import JOULES_PER_EV, convert_unit, in_metres, read_quantity, unit_text

DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
GEOMETRY = "entry_1/sample_1/geometry_1"
NXCXI_DEFINITIONS = ("NXcxi_ptycho", "NXptycho")
AXES = "entry_1/data_1/pattern, entry_1/data_1/y, entry_1/data_1/x"
"""Axes of the default plot."""


def write_layout(file: h5py.File, scan: ScanData) -> h5py.Group:
    """Write what CXI has standard places for, and the way to the default plot; returns the entry.

    What is not known in SI units is left out. Lazy counts are streamed.
    """
    file.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
    file["cxi_version"], file["number_of_entries"] = 160, 1
    entry = add_group(file, "entry_1", "NXentry", default="data_1")
    instrument = add_group(entry, "instrument_1", "NXinstrument")
    _write_source(scan, add_group(instrument, "source_1", "NXsource"))
    _write_detector(scan, add_group(instrument, "detector_1", "NXdetector"))
    links = add_group(entry, "data_1", "NXdata", signal="data", axes=["pattern", "y", "x"])
    links["data"] = h5py.SoftLink(f"/{DETECTOR}/data")
    _write_axes(scan, links)
    if scan.pixel_size_m is not None:
        geometry = add_group(add_group(entry, "sample_1", "NXsample"), "geometry_1", "NXcollection")
        add_dataset(geometry, "translation", sample_translation(scan.positions_px, scan.pixel_size_m), "m")
        links["translation"] = h5py.SoftLink(f"/{GEOMETRY}/translation")
    return entry


def sample_translation(positions_px: np.ndarray, pixel_size_m: float) -> np.ndarray:
    """Sample motion (x, y, z) in metres for probe positions (y, x) in pixels.

    Rows of the detector run along -y, columns along -x (`basis_vectors`), and the sample moves against the probe.
    """
    translation = np.zeros((len(positions_px), 3))
    translation[:, :2] = positions_px[:, ::-1] * pixel_size_m
    return translation


def _write_source(scan: ScanData, group: h5py.Group) -> None:
    if scan.energy_eV is not None and scan.wavelength_m is not None:
        add_dataset(group, "energy", scan.energy_eV * JOULES_PER_EV, "J")
        add_dataset(group, "wavelength", scan.wavelength_m, "m")


def _write_detector(scan: ScanData, group: h5py.Group) -> None:
    write_counts(group, "data", scan)
    group["mask"] = (~scan.good).astype(np.uint32)
    if scan.detector_distance_m is not None:
        add_dataset(group, "distance", scan.detector_distance_m, "m")
    if scan.detector_pixel_m is not None:
        step = scan.detector_pixel_m
        add_dataset(group, "x_pixel_size", step, "m")
        add_dataset(group, "y_pixel_size", step, "m")
        add_dataset(group, "basis_vectors", np.array([[0, -step], [-step, 0], [0, 0]]), "m")


def _write_axes(scan: ScanData, plot: h5py.Group) -> None:
    """Number of the pattern, and places of rows and columns on the detector about the zero frequency."""
    add_dataset(plot, "pattern", np.arange(scan.n_patterns), "")
    step, unit = (1.0, "pixel") if scan.detector_pixel_m is None else (scan.detector_pixel_m, "m")
    for axis in "yx":
        add_dataset(plot, axis, (np.arange(scan.size) - scan.size // 2) * step, unit)


TRANSLATION = (f"{GEOMETRY}/translation", "entry_1/data_1/translation")
LABORATORY = np.array([[0.0, -1.0], [-1.0, 0.0], [0.0, 0.0]])
"""Directions (x, y, z) of rows and columns of a detector whose basis vectors are not declared."""


def probe_positions(translation: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Probe positions (y, x) on the sample, metres, from the motion of the sample.

    Args:
        translation: Sample motion (x, y, z), metres, (M, 3).
        basis: Columns are one row step and one column step on the detector, (3, 2).
    """
    return -translation @ (basis / np.linalg.norm(basis, axis=0))


def read_basis(file: h5py.File, source: str, config: LoadConfig) -> tuple[np.ndarray | None, bool]:
    """Steps (x, y, z) along rows and columns of the detector, metres, (3, 2), and True if the file declares them.

    Without basis vectors, rows run along -y and columns along -x; None where the pixel is not known either.
    """
    dataset = find_dataset(file, f"{DETECTOR}/basis_vectors")
    if dataset is not None:
        basis, name = _columns(read_array(dataset, source).astype(np.float64)), str(dataset.name)
        if (text := unit_text(dataset.attrs.get("units"))) and config.detector_pixel_m is None:
            basis = basis * convert_unit(source, name, text, "detector_pixel_m", "length").factor
        if basis.shape != (3, 2) or not np.linalg.norm(basis, axis=0).all():
            raise InputError(source, name, f"shape {basis.shape}", "two columns (x, y, z): a row step, a column step")
    else:
        option, names = "detector_pixel_m", [f"{DETECTOR}/{axis}_pixel_size" for axis in "xy"]
        x, y = (read_quantity(file, source, config, option, "length", "m", name) for name in names)
        x, y = x or y or config.detector_pixel_m, y or x or config.detector_pixel_m
        if x is None or y is None:
            return None, False
        basis, name = LABORATORY * [y, x], f"{DETECTOR}/x_pixel_size"
    steps = np.linalg.norm(basis, axis=0)
    if config.detector_pixel_m is not None:
        basis *= config.detector_pixel_m / steps
    else:
        require_square(source, name, "detector pixels", steps, "m", "detector_pixel_m")
    return basis, dataset is not None


def _columns(basis: np.ndarray) -> np.ndarray:
    """Basis vectors as columns, (3, 2), of a file that has them as rows, (2, 3), or the same ones for every pattern."""
    if basis.ndim == 3 and len(basis) and (basis == basis[0]).all():
        basis = basis[0]
    return basis.T if basis.shape == (2, 3) else basis


def read_translation(file: h5py.File, source: str, config: LoadConfig, *names: str) -> np.ndarray:
    """Motion of the sample (x, y, z), metres, (M, 3), listed or as a raster of the same order.

    Args:
        file: The file.
        source: Its name for messages.
        config: Reading options; `positions_unit` replaces the attribute `units`.
        names: Datasets, in order of preference; those of CXI by default.
    """
    dataset = require_dataset(file, source, *(names or TRANSLATION))
    values = read_array(dataset, source)
    values = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values
    places = as_positions(source, dataset.name, values, "x, y, z in metres")
    return in_metres(source, dataset, places, config)


def names_nxcxi(file: h5py.File) -> bool:
    """Return True if a file names the definition in its entry."""
    named = find_dataset(file, "entry_1/definition")
    value = None if named is None or named.size != 1 else read_array(named).ravel()[0]
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text in NXCXI_DEFINITIONS


recognise_nxcxi = recognise_hdf5(names_nxcxi)
"""Return True if a file names the definition of NXcxi_ptycho."""
