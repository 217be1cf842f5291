"""Master files of Dectris detectors (Eiger, Pilatus 4, Arina): frames in linked data files, positions in a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import build_scan
from ptypinn.io.counts import require_counts, take_counts, take_mask, without_flags
from ptypinn.io.crop import Crop
from ptypinn.io.derived_counts import without_marked
from ptypinn.io.format import Entry, Format, MissingField, Signature
from ptypinn.io.lazy_counts import join
from ptypinn.io.optics import Optics, require_square
from ptypinn.io.provenance import describe_source
from ptypinn.io.raster import raster_positions
from ptypinn.io.safe.hdf5 import find_dataset, read_array, read_scalar
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.units import read_quantity
from ptypinn.physics.optics import PLANCK_TIMES_C_EV_M

DETECTOR = "entry/instrument/detector"
SPECIFIC = f"{DETECTOR}/detectorSpecific"
MASKS = (f"{SPECIFIC}/pixel_mask", f"{DETECTOR}/pixel_mask")
ENERGY = f"{SPECIFIC}/photon_energy"
WAVELENGTHS = ("entry/instrument/beam/incident_wavelength", "entry/sample/beam/incident_wavelength")
DISTANCES = (f"{DETECTOR}/detector_distance", f"{DETECTOR}/distance")
PLACES = {
    "energy_eV": ENERGY,
    "detector_distance_m": DISTANCES[0],
    "detector_pixel_m": f"{DETECTOR}/x_pixel_size",
}


def read_eiger(path: Path, config: LoadConfig) -> ScanData:
    """Read a master file and the frames it links to; positions come from `positions_file`, or are those of a raster.

    Raises:
        InputError: Where a data file is missing, or the options leave positions or lengths open.
    """
    source = str(path)
    require_counts(source, config, "master files")
    if not config.positions_file and config.raster_shape is None:
        raise InputError(source, "positions", "none, as master files have none", "--positions-file, or --raster-shape")
    with open_hdf5(path) as file:
        stacks = _stacks(file, source)
        shape = stacks[0].shape
        inner = replace(config, centre_px=config.centre_px or read_beam_centre(file, source))
        frames = join([take_counts(stack, Path(stack.file.filename), None, inner) for stack in stacks])
        crop = Crop.of(source, shape, inner)
        good = _good(file, source, shape, inner)
        good = good if (left := without_flags(stacks[0], good, crop.window)) is None else left
        counts, good = without_marked(frames, _invalid(file, source, frames.dtype), good, source)
        numbers = {
            "energy_eV": read_energy(file, source, config),
            "detector_distance_m": read_quantity(
                file, source, config, "detector_distance_m", "length", "m", *DISTANCES
            ),
            "detector_pixel_m": read_detector_pixel(file, source, config),
        }
    optics = Optics.read(source, config, numbers, PLACES)
    size = config.pixel_size_m or optics.pixel_size_m(counts.shape[-1])
    record = Path(config.positions_file).name or {"raster": config.raster_shape}
    notes = {"positions": record, "centre_px": inner.centre_px, **crop.notes()}
    return build_scan(
        config,
        counts=counts,
        positions_px=raster_positions(crop, config, (counts.shape[0],), None, size),
        mask=good,
        pixel_size_m=size,
        provenance=describe_source(path, "eiger", config, **notes),
        **optics.fields(),
    )


def _stacks(file: h5py.File, source: str) -> list[h5py.Dataset]:
    """The linked frames, in order; of old firmware they lie one group higher."""
    for folder in ("entry/data", "entry"):
        names = sorted(name for name in file.get(folder, ()) if name.startswith("data_") and name[5:].isdigit())
        if names:
            break
    else:
        dataset = find_dataset(file, "entry/data/data")
        if dataset is None:
            raise InputError(source, "entry/data", "no frames", "links data_000001 and so on")
        return [dataset]
    stacks = []
    for name in names:
        dataset = find_dataset(file, f"{folder}/{name}")
        if dataset is None:
            link = file.get(f"{folder}/{name}", getlink=True)
            target = getattr(link, "filename", "nothing")
            raise InputError(source, f"{folder}/{name}", f"a link to {target}, where no frames are", "the data file")
        stacks.append(dataset)
    if any(stack.shape[1:] != stacks[0].shape[1:] for stack in stacks):
        raise InputError(source, folder, "frames of several sizes", "one size")
    return stacks


def read_beam_centre(file: h5py.File, source: str) -> tuple[int, int] | None:
    """Row and column of the direct beam; None where the file lacks it."""
    y, x = (read_scalar(file, source, f"{DETECTOR}/beam_center_{axis}") for axis in "yx")
    return (round(y), round(x)) if y and x and np.isfinite([y, x]).all() else None


def _good(file: h5py.File, source: str, shape: tuple[int, ...], config: LoadConfig) -> np.ndarray:
    dataset = find_dataset(file, *MASKS)
    bad = np.zeros(shape[-2:], bool) if dataset is None else read_array(dataset, source) != 0
    return take_mask(bad, source, MASKS[0] if dataset is None else dataset.name, shape, config)


def _invalid(file: h5py.File, source: str, dtype: np.dtype) -> int | None:
    """Value of an invalid pixel: all its bits set."""
    bits = read_scalar(file, source, f"{DETECTOR}/bit_depth_image") or 8 * dtype.itemsize
    if bits not in range(1, 65):
        raise InputError(source, f"{DETECTOR}/bit_depth_image", f"{bits:g}", "bits of a pixel")
    return 2 ** int(bits) - 1 if dtype.kind == "u" else None


def read_energy(file: h5py.File, source: str, config: LoadConfig) -> float | None:
    """Energy of a photon, eV, by the configured one or else by a wavelength; None where the file has neither."""
    names = (ENERGY, "entry/instrument/beam/incident_energy")
    energy = read_quantity(file, source, config, "energy_eV", "energy", "eV", *names)
    if energy is not None:
        return energy
    wavelength = read_quantity(file, source, config, "energy_eV", "length", "angstrom", *WAVELENGTHS)
    return None if wavelength is None else PLANCK_TIMES_C_EV_M / wavelength


def read_detector_pixel(file: h5py.File, source: str, config: LoadConfig) -> float | None:
    """Detector pixel, metres; None where the file lacks it."""
    names = [f"{DETECTOR}/{axis}_pixel_size" for axis in "yx"]
    y, x = (read_quantity(file, source, config, "detector_pixel_m", "length", "m", name) for name in names)
    require_square(source, PLACES["detector_pixel_m"], "detector pixels", (y, x), "m", "detector_pixel_m")
    return x or y


EIGER = Format(
    "Dectris Eiger master file (NeXus) with a table of positions",
    (".h5",),
    recognises=Signature((f"{SPECIFIC}/",)),
    entries=(
        Entry("entry/data/data_000001 ...", "counts", "(frames, rows, columns)", "counts", "linked data files, joined"),
        Entry(MASKS[0], "mask", "(rows, columns)", "", "0 = good; or entry/instrument/detector/pixel_mask", True),
        Entry(
            f"{DETECTOR}/bit_depth_image", "mask", "", "", "pixels of 2^bits - 1 are invalid wherever they occur", True
        ),
        Entry(f"{DETECTOR}/beam_center_y, beam_center_x", None, "", "pixel", "zero frequency: rounded", True),
        Entry(ENERGY, "energy_eV", "", "eV", "or keV or J by @units", True),
        Entry(WAVELENGTHS[0], "energy_eV", "", "angstrom", "stands in for the energy", True),
        Entry(DISTANCES[0], "detector_distance_m", "", "m", "0 = unknown", True),
        Entry(f"{DETECTOR}/x_pixel_size", "detector_pixel_m", "", "m", "and y_pixel_size", True),
        Entry("table: y_um, x_um", "positions_px", "(M,)", "m", "or mm, um, nm, angstrom, px: motion of the probe"),
    ),
    missing=(
        MissingField("positions", "positions_file"),
        MissingField("rows and columns of a raster, instead of positions", "raster_shape"),
        MissingField("step of the raster", "scan_step_m"),
        MissingField("probe", "probe"),
        MissingField("beam centre, where the file lacks it", "centre_px"),
        MissingField("the part of the detector that matters", "crop_px"),
        MissingField("how the detector stands to the scan", "transpose_patterns"),
    ),
    notes="Frames are cut to the largest square around the beam centre unless `crop_px` gives a size. Data files must "
    "lie in the folder of the master file or below, unless `allow_external`. Positions are a text table "
    "with a line per frame, or a raster. Of electrons (Arina), `particle electron` gives the wavelength.",
    read=read_eiger,
)
