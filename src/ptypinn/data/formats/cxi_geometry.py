"""Where detector and sample stand in CXI files: steps of the detector's pixels, motion of the sample."""

from __future__ import annotations

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.formats.arrays import as_positions
from ptypinn.data.formats.cxi_layout import DETECTOR, GEOMETRY
from ptypinn.data.formats.units import LENGTHS, read_quantity
from ptypinn.data.hdf5 import find_dataset, require_dataset
from ptypinn.data.storage import read_array
from ptypinn.errors import InputError

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
    """Steps (x, y, z) along rows and columns of the detector, metres, (3, 2), and whether the file declares them.

    Without basis vectors, rows run along -y and columns along -x; None where the pixel is not known either.
    """
    dataset = find_dataset(file, f"{DETECTOR}/basis_vectors")
    if dataset is not None:
        basis, name = _columns(read_array(dataset, source).astype(np.float64)), dataset.name
        if basis.shape != (3, 2) or not np.linalg.norm(basis, axis=0).all():
            raise InputError(source, name, f"shape {basis.shape}", "two columns (x, y, z): a row step, a column step")
    else:
        x, y = (read_quantity(file, source, LENGTHS, "m", f"{DETECTOR}/{axis}_pixel_size") for axis in "xy")
        x, y = x or y or config.detector_pixel_m, y or x or config.detector_pixel_m
        if x is None or y is None:
            return None, False
        basis, name = LABORATORY * [y, x], f"{DETECTOR}/x_pixel_size"
    steps = np.linalg.norm(basis, axis=0)
    if config.detector_pixel_m is not None:
        basis *= config.detector_pixel_m / steps
    elif abs(steps[0] / steps[1] - 1) > 1e-3:
        raise InputError(source, name, f"pixels of {steps[0]:.4g} x {steps[1]:.4g} m", "square detector pixels")
    return basis, dataset is not None


def _columns(basis: np.ndarray) -> np.ndarray:
    """Basis vectors as columns, (3, 2), of a file that has them as rows, (2, 3), or the same ones for every pattern."""
    if basis.ndim == 3 and len(basis) and (basis == basis[0]).all():
        basis = basis[0]
    return basis.T if basis.shape == (2, 3) else basis


def read_translation(file: h5py.File, source: str) -> np.ndarray:
    """Motion of the sample (x, y, z), metres, (M, 3)."""
    dataset = require_dataset(file, source, *TRANSLATION)
    return as_positions(source, dataset.name, read_array(dataset, source), "x, y, z in metres")
