"""Our own scan file: a CXI file that any CXI reader opens, with an exact copy of what CXI cannot hold.

Standard paths carry SI units: `entry_1/instrument_1/source_1/{energy,wavelength}` in joules and metres,
`entry_1/instrument_1/detector_1/{data,mask,distance,x_pixel_size,y_pixel_size,basis_vectors}` and
`entry_1/sample_1/geometry_1/translation` (sample motion, metres), linked from `entry_1/data_1`. What is not known in SI
units is left out. `entry_1/ptypinn_1` repeats positions in pixels, probe, truth, numbers and provenance to the bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.true_experiment import UNITS, TrueExperiment
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, build_scan
from ptypinn.io.counts import require_counts, take_counts
from ptypinn.io.crop import Crop, cut, window_of
from ptypinn.io.format import Entry, Format, Signature, recognise_any
from ptypinn.io.formats.cxi_layout import AXES, DETECTOR, write_layout
from ptypinn.io.monitor import NONE
from ptypinn.io.provenance import describe_source, succeed
from ptypinn.io.reconstruction_file import GROUP, is_reconstruction, read_reconstruction, write_reconstruction
from ptypinn.io.safe.hdf5 import (
    add_dataset,
    add_group,
    find_dataset,
    read_array,
    read_json,
    read_scalar,
    require_array,
    require_dataset,
    write_json,
)
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5

OWN = "entry_1/ptypinn_1"
FORMAT_VERSION = 1
PLACES = f"{OWN}/positions_px"
TRUE = f"{OWN}/true_experiment"
ARRAYS = ("probe", "truth", "background", "mtf", "flux")
"""Arrays that a file may lack."""
NUMBERS = {
    "pixel_size_m": "m",
    "energy_eV": "eV",
    "detector_distance_m": "m",
    "detector_pixel_m": "m",
    "fresnel_number": "",
}


def write_native(scan: ScanData, path: Path) -> None:
    """Write a scan; lazy counts are streamed."""
    with create_hdf5(path) as file:
        entry = write_layout(file, scan)
        _write_own(scan, add_group(entry, "ptypinn_1", "NXcollection", format_version=FORMAT_VERSION))


def read_native(path: Path, config: LoadConfig) -> ScanData:
    """Read what `write_native` wrote, every field to the bit."""
    source = str(path)
    require_counts(source, config, "files of ptypinn")
    with open_hdf5(path) as file:
        version = file[OWN].attrs.get("format_version") if OWN in file else None
        if version is None:
            actual = "a reconstruction" if is_reconstruction(file) else "no scan"
            raise InputError(source, "file", actual, "a scan written by ptypinn")
        if version != FORMAT_VERSION:
            raise InputError(source, f"{OWN}@format_version", str(version), f"{FORMAT_VERSION}; update ptypinn")
        data = require_dataset(file, source, f"{DETECTOR}/data")
        good = cut(require_array(file, source, f"{DETECTOR}/mask") == 0, window_of(source, data.shape, config))
        counts, crop = take_counts(data, path, good, config), Crop.of(source, data.shape, config)
        stored, gauge = (read_json(file, source, f"{OWN}/{name}") for name in ("provenance", "probe_gauge"))
        particle: Any = read_json(file, source, f"{OWN}/particle") if f"{OWN}/particle" in file else "photon"
        arrays = (find_dataset(file, f"{OWN}/{name}") for name in ARRAYS)
        probe, truth, background, mtf, flux = (None if each is None else read_array(each, source) for each in arrays)
        fields: dict[str, Any] = {name: read_scalar(file, source, f"{OWN}/{name}") for name in NUMBERS}
        fields["pixel_size_m"] = crop.pixel_size_m(fields["pixel_size_m"])
        return build_scan(
            config,
            counts=counts,
            positions_px=crop.positions(as_positions(source, PLACES, require_array(file, source, PLACES))),
            probe=None if probe is None else crop.probe(probe),
            truth=crop.truth(truth),
            experiment=None if crop.window is not None else _read_experiment(file, source),
            mask=good,
            background=None if background is None else cut(background, crop.window),
            mtf=None if mtf is None else mtf.astype(np.float64),
            flux=None if flux is None or config.monitor == NONE else flux.astype(np.float64),
            probe_gauge=gauge,
            particle=particle,
            provenance=succeed(stored, describe_source(path, "native", config, **crop.notes(truth))),
            **fields,
        )


def _write_own(scan: ScanData, group: h5py.Group) -> None:
    write_json(group, "probe_gauge", scan.probe_gauge)
    write_json(group, "particle", scan.particle)
    add_dataset(group, "positions_px", scan.positions_px, "pixel")
    for name, unit in NUMBERS.items():
        value = getattr(scan, name)
        if value is not None:
            add_dataset(group, name, float(value), unit)
    if scan.probe is not None:
        add_dataset(group, "probe", scan.probe, "sqrt(photons)" if scan.probe_gauge == "calibrated" else "arbitrary")
    if scan.truth is not None:
        add_dataset(group, "truth", scan.truth, "")
    if scan.background is not None:
        add_dataset(group, "background", scan.background, "counts")
    if scan.mtf is not None:
        add_dataset(group, "mtf", scan.mtf, "")
    if scan.flux is not None:
        add_dataset(group, "flux", scan.flux, "")
    if scan.experiment is not None:
        true = add_group(group, "true_experiment", "NXcollection")
        write_json(true, "faults", dict(scan.experiment.faults))
        for name, values in scan.experiment.arrays().items():
            add_dataset(true, name, values, UNITS[name])
    write_json(group, "provenance", dict(scan.provenance))


def _read_experiment(file: h5py.File, source: str) -> TrueExperiment | None:
    """Read the true values of a simulated experiment; None where the file has none."""
    if f"{TRUE}/faults" not in file:
        return None
    require_array(file, source, f"{TRUE}/positions_px")
    require_array(file, source, f"{TRUE}/probe")
    stored = {name: find_dataset(file, f"{TRUE}/{name}") for name in UNITS}
    arrays: dict[str, Any] = {name: read_array(data, source) for name, data in stored.items() if data is not None}
    faults = read_json(file, source, f"{TRUE}/faults")
    sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in faults.items()}
    return TrueExperiment(sizes, **arrays)


def _holds_scan(path: Path, config: LoadConfig) -> bool:
    with open_hdf5(path) as file:
        return OWN in file


def _read_reconstruction(path: Path, config: LoadConfig) -> Reconstruction:
    return read_reconstruction(path)


ENTRIES = (
    Entry(f"{DETECTOR}/data", "counts", "(M, N, N)", "counts", "zero frequency at N//2"),
    Entry(f"{DETECTOR}/mask", "mask", "(N, N)", "", "0 = good pixel"),
    Entry(f"{DETECTOR}/basis_vectors", None, "(3, 2)", "m", "(x, y, z) of one row step and one column step", True),
    Entry("entry_1/sample_1/geometry_1/translation", None, "(M, 3)", "m", "sample motion (x, y, z)", True),
    Entry("entry_1/instrument_1/source_1/energy", None, "", "J", "of one photon, for other readers", True),
    Entry(AXES, None, "", "", "axes of the default plot", True),
    Entry(PLACES, "positions_px", "(M, 2)", "pixel", "(y, x) of the probe's pixel (0, 0)"),
    Entry(f"{OWN}/probe", "probe", "(modes, N, N)", "sqrt(photons)", "", True),
    Entry(f"{OWN}/probe_gauge", "probe_gauge", "", "", "JSON: calibrated, or relative for an arbitrary scale"),
    Entry(f"{OWN}/truth", "object", "(H, W)", "", "true transmission of a simulated scan", True),
    Entry(f"{OWN}/background", "background", "(N, N)", "counts", "of every frame; zero frequency at N//2", True),
    Entry(f"{OWN}/flux", "flux", "(M,)", "", "of every frame, as a beam monitor showed it; mean 1", True),
    Entry(f"{OWN}/mtf", "mtf", "(F, 2)", "", "of the detector: frequency over Nyquist's, and value", True),
    Entry(
        f"{TRUE}/K", "experiment", "", "", "true values K of a simulated experiment; faults: JSON, their sizes", True
    ),
    Entry(f"{OWN}/pixel_size_m", "pixel_size_m", "", "m", "", True),
    Entry(f"{OWN}/fresnel_number", "fresnel_number", "", "", "of an object pixel, for a near-field scan", True),
    Entry(f"{OWN}/energy_eV", "energy_eV", "", "eV", "", True),
    Entry(f"{OWN}/detector_distance_m", "detector_distance_m", "", "m", "", True),
    Entry(f"{OWN}/detector_pixel_m", "detector_pixel_m", "", "m", "", True),
    Entry(f"{OWN}/particle", "particle", "", "", "JSON: photon or electron", True),
    Entry(f"{OWN}/provenance", "records", "", "", "JSON"),
    Entry(f"{GROUP}/object", "object", "(H, W)", "", "of a reconstruction: transmission"),
    Entry(f"{GROUP}/probe", "probe", "(modes, N, N)", "sqrt(photons)"),
    Entry(
        f"{GROUP}/positions_px", "positions_px", "(M, 2)", "pixel", "(y, x) of the probe's pixel (0, 0) on the object"
    ),
    Entry(f"{GROUP}/origin_px", "positions_px", "(2,)", "pixel", "(y, x) of the object's pixel (0, 0) in the scan"),
    Entry(f"{GROUP}/patterns", "positions_px", "(M,)", "", "which patterns of the scan; all where absent", True),
    Entry(f"{GROUP}/pixel_size_m", "pixel_size_m", "", "m", "", True),
    Entry(f"{GROUP}/fresnel_number", "fresnel_number", "", "", "of an object pixel, in the near field", True),
    Entry(f"{GROUP}/flux", "flux", "(M,)", "", "of every frame, mean 1", True),
    Entry(f"{GROUP}/background", "background", "(N, N)", "counts", "of every frame", True),
    Entry(f"{GROUP}/probe_variation", None, "(K, modes, N, N)", "sqrt(photons)", "images that frames add", True),
    Entry(f"{GROUP}/probe_weights", None, "(M, K)", "", "their weights in every frame", True),
    Entry(f"{GROUP}/beam_px", None, "(M, 2)", "detector pixel", "displacement (y, x) of every pattern", True),
    Entry(f"{GROUP}/point_spread_px", None, "", "detector pixel", "of the detector: standard deviation", True),
    Entry(f"{GROUP}/slices", "slices", "(S, H, W)", "", "transmission of the slices of a thick sample", True),
    Entry(f"{GROUP}/gap_fresnel_numbers", "gap_fresnel_numbers", "(S - 1,)", "", "over the gaps between them", True),
    Entry(f"{GROUP}/sample_tilt", "sample_tilt", "(2,)", "cycles/pixel", "(y, x) of the axis through them", True),
    Entry(f"{GROUP}/illumination", "illumination", "(H, W)", "photons/pixel"),
    Entry(f"{GROUP}/uncertainty", "uncertainty", "(H, W)", "", "standard deviation of the object", True),
    Entry(f"{GROUP}/unscaled", "unscaled", "(H, W)", "", "object before prediction scaling", True),
    Entry(f"{GROUP}/provenance", "records", "", "", "JSON, as are scale, metrics, history, prediction_scale"),
)
NATIVE = Format(
    "ptypinn HDF5",
    (".h5", ".hdf5"),
    recognises=recognise_any(Signature((f"{OWN}/",)), Signature((f"{GROUP}/",))),
    entries=ENTRIES,
    notes="Our own files. Any CXI reader opens a scan by its standard paths, in SI units; `entry_1/ptypinn_1` repeats "
    "everything to the bit and is all that ptypinn itself reads beside counts and mask. A reconstruction opens "
    "as a plot in NeXus viewers.",
    read=read_native,
    write=write_native,
    read_reconstruction=_read_reconstruction,
    write_reconstruction=write_reconstruction,
    holds_scan=_holds_scan,
    reconstruction_fields=("probe_variation", "beam_px", "point_spread_px"),
)
