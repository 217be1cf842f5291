"""Reconstructions as CXI: an image with its place in the laboratory, the probe, and where the sample was.

`translation` moves as in a scan, so that an image and the scan it came from share one frame: image and probe positions
count in metres along the axes of the laboratory against which rows and columns run (see `cxi`).
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_probe, foreign_reconstruction
from ptypinn.io.formats.cxi_layout import DETECTOR, SOURCE, read_translation, sample_translation
from ptypinn.io.provenance import describe_source, optics_record
from ptypinn.io.reconstruction_file import write_plots
from ptypinn.io.safe.hdf5 import add_dataset, add_group, read_array, require_array, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5
from ptypinn.io.units import JOULES_PER_EV, Kind, convert_unit, read_quantity, unit_text
from ptypinn.physics.optics import compute_wavelength

IMAGE = "entry_1/image_1/data"
EXTENT, MIDDLE = "entry_1/image_1/image_size", "entry_1/image_1/image_center"


def write_cxi_reconstruction(recon: Reconstruction, path: Path) -> None:
    """Write object, probe and positions, and the way to a plot of the phase."""
    pixel, origin = recon.pixel_size_m, np.array(recon.origin_px, np.float64)
    assert pixel is not None, "a CXI image needs the object pixel"
    with create_hdf5(path) as file:
        file.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
        file["cxi_version"], file["number_of_entries"] = 160, 1
        entry = add_group(file, "entry_1", "NXentry", default="object_phase")
        write_plots(entry, recon)
        image = add_group(entry, "image_1", "NXcollection")
        add_dataset(image, "data", recon.object, "")
        image["data_space"], image["data_type"], image["is_fft_shifted"] = "real", "complex", 0
        extent = np.array(recon.object.shape)
        add_dataset(image, "image_size", np.array([*(extent[::-1] * pixel), 0.0]), "m")
        add_dataset(image, "image_center", sample_translation((origin + extent / 2)[None], pixel)[0], "m")
        geometry = add_group(add_group(entry, "sample_1", "NXsample"), "geometry_1", "NXcollection")
        add_dataset(geometry, "translation", sample_translation(recon.positions_px + origin, pixel), "m")
        _write_optics(recon, add_group(entry, "instrument_1", "NXinstrument"))


def _write_optics(recon: Reconstruction, instrument: h5py.Group) -> None:
    optics = optics_record(recon)
    source = add_group(instrument, "source_1", "NXsource")
    add_dataset(source, "illumination", recon.probe, "sqrt(photons)")
    if "energy_eV" in optics:
        add_dataset(source, "energy", optics["energy_eV"] * JOULES_PER_EV, "J")
        add_dataset(
            source, "wavelength", compute_wavelength(optics["energy_eV"], optics.get("particle", "photon")), "m"
        )
    detector = add_group(instrument, "detector_1", "NXdetector")
    if "detector_distance_m" in optics:
        add_dataset(detector, "distance", optics["detector_distance_m"], "m")
    if "detector_pixel_m" in optics:
        for axis in "xy":
            add_dataset(detector, f"{axis}_pixel_size", optics["detector_pixel_m"], "m")


NUMBERS: tuple[tuple[str, Kind, str, str], ...] = (
    ("energy_eV", "energy", "J", f"{SOURCE}/energy"),
    ("detector_distance_m", "length", "m", f"{DETECTOR}/distance"),
    ("detector_pixel_m", "length", "m", f"{DETECTOR}/x_pixel_size"),
)
"""Numbers of the optics: field, kind, unit where the file names none, and place."""


def read_cxi_reconstruction(path: Path, config: LoadConfig) -> Reconstruction:
    """Read an image with its probe and its place.

    Raises:
        InputError: Where object, probe, positions or the image's size and middle are missing or wrong.
    """
    source = str(path)
    with open_hdf5(path) as file:
        image = require_array(file, source, IMAGE)
        probe = as_probe(source, f"{SOURCE}/illumination", require_array(file, source, f"{SOURCE}/illumination"))
        pixel, origin = _grid(file, source, image.shape)
        places = read_translation(file, source, config)
        optics = {
            name: read_quantity(file, source, config, name, kind, unit, place) for name, kind, unit, place in NUMBERS
        }
    return foreign_reconstruction(
        source,
        image,
        probe,
        places[:, 1::-1] / pixel - origin,
        origin_px=(int(origin[0]), int(origin[1])),
        pixel_size_m=pixel,
        provenance=describe_source(path, "cxi", config, optics=optics),
    )


def _grid(file: h5py.File, source: str, shape: tuple[int, ...]) -> tuple[float, np.ndarray]:
    """Object pixel, metres, and where the image's pixel (0, 0) lies, (y, x) whole pixels."""
    extent, middle = (_lengths(file, source, name) for name in (EXTENT, MIDDLE))
    if len(shape) != 2:
        raise InputError(source, IMAGE, f"shape {shape}", "one image (H, W)")
    pixel = extent[1::-1] / np.array(shape)
    if not (pixel.min() > 0 and abs(pixel[0] / pixel[1] - 1) < 1e-3):
        raise InputError(source, EXTENT, f"{extent.tolist()} m", "square pixels of a positive size")
    return float(pixel[0]), np.round(middle[1::-1] / pixel[0] - np.array(shape) / 2)


def _lengths(file: h5py.File, source: str, name: str) -> np.ndarray:
    """Three lengths (x, y, z), metres."""
    dataset = require_dataset(file, source, name)
    values = read_array(dataset, source)
    if values.shape != (3,) or values.dtype.kind not in "uif" or not np.isfinite(values).all():
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "three lengths: x, y, z")
    text = unit_text(dataset.attrs.get("units")) or "m"
    return values * convert_unit(source, name, text, "", "length").factor
