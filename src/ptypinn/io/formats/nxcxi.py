"""NXcxi_ptycho: NeXus files that CXI readers open too.

They differ from plain CXI in three ways. `source_1/energy` is the energy of the *ring*; that of the photons is in
`beam_1`. Every number names its unit. A raster scan may keep its patterns as a raster, rank 4, whose positions are
listed in the same order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.io.arrays import build_scan
from ptypinn.io.counts import take_counts, take_mask, without_flags
from ptypinn.io.crop import DOUBTS, Crop
from ptypinn.io.format import OPTICS, Entry, Format, MissingField
from ptypinn.io.formats.cxi import read_mask
from ptypinn.io.formats.cxi_layout import (
    DETECTOR,
    GEOMETRY,
    LABORATORY,
    probe_positions,
    read_translation,
    recognise_nxcxi,
)
from ptypinn.io.monitor import find_nexus_monitors
from ptypinn.io.optics import Optics, require_square
from ptypinn.io.provenance import OWN_MONITOR, describe_source
from ptypinn.io.safe.hdf5 import find_dataset, read_array, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.units import read_quantity

INSTRUMENT = "entry_1/instrument_1"
BEAM = f"{INSTRUMENT}/beam_1"
ENERGY = (f"{BEAM}/energy", f"{BEAM}/incident_energy", f"{BEAM}/incident_beam_energy")
DATA = (f"{DETECTOR}/data", "entry_1/data_1/data")
TRANSLATION = (f"{DETECTOR}/translation", f"{GEOMETRY}/translation", "entry_1/data_1/translation")
PLACES = {
    "energy_eV": ENERGY[0],
    "detector_distance_m": f"{DETECTOR}/distance",
    "detector_pixel_m": f"{DETECTOR}/x_pixel_size",
}


def read_nxcxi(path: Path, config: LoadConfig) -> ScanData:
    """Read an NXcxi_ptycho scan; positions come out in object pixels of the far-field geometry.

    Raises:
        InputError: Where a dataset is missing, has an unknown unit, or the geometry is incomplete.
    """
    source = str(path)
    with open_hdf5(path) as file:
        data = require_dataset(file, source, *DATA)
        crop = Crop.of(source, data.shape, config)
        good = without_flags(data, _read_good(file, source, data.shape, config), crop.window)
        counts = take_counts(data, path, good, config)
        optics = Optics.read(source, config, _numbers(file, source, config), PLACES)
        size = optics.require_pixel_size_m(source, config, counts.shape[-1], PLACES)
        notes = {"stored_as": "raster" if data.ndim == 4 else "list", **crop.notes(), **_find_monitor(file)}
        return build_scan(
            config,
            counts=counts,
            positions_px=probe_positions(read_translation(file, source, config, *TRANSLATION), LABORATORY) / size,
            mask=good,
            pixel_size_m=size,
            provenance=describe_source(path, "nxcxi", config, **notes),
            **optics.fields(),
        )


def _numbers(file: h5py.File, source: str, config: LoadConfig) -> dict[str, float | None]:
    pixels = [f"{DETECTOR}/{axis}_pixel_size" for axis in "xy"]
    x, y = (read_quantity(file, source, config, "detector_pixel_m", "length", "m", name) for name in pixels)
    pixel = x or y
    require_square(source, pixels[0], "detector pixels", (y, x), "m", "detector_pixel_m")
    return {
        "energy_eV": read_quantity(file, source, config, "energy_eV", "energy", "J", *ENERGY),
        "detector_distance_m": read_quantity(
            file, source, config, "detector_distance_m", "length", "m", f"{DETECTOR}/distance"
        ),
        "detector_pixel_m": pixel,
    }


def _find_monitor(file: h5py.File) -> dict[str, Any]:
    """Return the record of the monitor that the definition has in the instrument, a doubt where there are several."""
    monitors = find_nexus_monitors(file, INSTRUMENT)
    if len(monitors) > 1:
        return {DOUBTS: [f"{len(monitors)} beam monitors, of which --monitor chooses: {', '.join(monitors)}"]}
    return {OWN_MONITOR: monitors[0]} if monitors else {}


def _read_good(file: h5py.File, source: str, shape: tuple[int, ...], config: LoadConfig) -> np.ndarray | None:
    """Good pixels by the mask of CXI, or else by that of NeXus, where 0 is good too."""
    pixels = find_dataset(file, f"{DETECTOR}/pixel_mask")
    if pixels is None or find_dataset(file, f"{DETECTOR}/mask") is not None:
        return read_mask(file, source, shape, config)
    return take_mask(read_array(pixels) != 0, source, pixels.name, shape, config)


NXCXI = Format(
    "NXcxi_ptycho",
    (".nxs", ".cxi", ".h5"),
    recognises=recognise_nxcxi,
    entries=(
        Entry("entry_1/definition", None, "", "", "text: NXcxi_ptycho or NXptycho"),
        Entry(f"{DETECTOR}/data", "counts", "(M, N, N) or (rows, columns, N, N)", "counts", "zero frequency at N//2"),
        Entry(f"{DETECTOR}/translation", "positions_px", "(M, 3)", "m", "motion (x, y, z) of the sample; @units rules"),
        Entry(f"{DETECTOR}/mask", "mask", "(N, N)", "", "as in CXI; or pixel_mask, where 0 is good", True),
        Entry(f"{DETECTOR}/x_pixel_size", "detector_pixel_m", "", "m", "and y_pixel_size; @units rules"),
        Entry(f"{DETECTOR}/distance", "detector_distance_m", "", "m", "sample to detector; @units rules"),
        Entry(f"{BEAM}/energy", "energy_eV", "", "J", "of one photon; @units rules; or incident_energy"),
        Entry(
            f"{INSTRUMENT}/NXmonitor/data",
            "flux",
            "(M,) or (rows, columns)",
            "",
            "beam monitor: the only group of that class",
            True,
        ),
        Entry("entry_1/instrument_1/source_1/energy", None, "", "", "of the ring; not read", True),
    ),
    missing=(
        *OPTICS,
        MissingField("where the zero frequency lies, unless in the middle", "centre_px"),
        MissingField("probe", "probe"),
    ),
    notes="The definition leaves the orientation of the detector to the beamline: rows are taken to run along -y and "
    "columns along -x of the laboratory, as in CXI without basis vectors.",
    read=read_nxcxi,
)
