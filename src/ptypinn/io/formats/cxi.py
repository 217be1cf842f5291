"""CXI files as beamlines write them (Coherent X-ray Imaging data bank, version 1.x).

Units are SI: energies in joules, lengths in metres. `translation` is the motion of the *sample*, so the probe moves the
other way; `basis_vectors` are the laboratory directions of rows and columns of the detector.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_image, as_probe, build_scan
from ptypinn.io.counts import take_counts, take_mask, without_flags
from ptypinn.io.crop import Crop
from ptypinn.io.format import OPTICS, TRUTH, Entry, Format, Signature
from ptypinn.io.formats.cxi_layout import (
    AXES,
    DETECTOR,
    LABORATORY,
    SOURCE,
    TRANSLATION,
    probe_positions,
    read_basis,
    read_translation,
    recognise_nxcxi,
    write_layout,
)
from ptypinn.io.formats.cxi_reconstruction import (
    EXTENT,
    IMAGE,
    MIDDLE,
    read_cxi_reconstruction,
    write_cxi_reconstruction,
)
from ptypinn.io.formats.native import OWN
from ptypinn.io.optics import Optics
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import add_dataset, add_group, find_dataset, read_array, require_array, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5
from ptypinn.io.units import read_quantity
from ptypinn.physics.optics import PLANCK_TIMES_C_EV_M, compute_wavelength

DATA = (f"{DETECTOR}/data", "entry_1/data_1/data")
PLACES = {
    "energy_eV": f"{SOURCE}/energy",
    "detector_distance_m": f"{DETECTOR}/distance",
    "detector_pixel_m": f"{DETECTOR}/x_pixel_size",
}
DARK = f"{DETECTOR}/data_dark"
SAME_WAVELENGTH = 0.02
"""Maximum relative difference of the wavelength from that of the energy."""
HAS_SIGNAL = 0x1000
"""The one bit of a CXI mask that does not mean a bad pixel."""


def read_cxi(path: Path, config: LoadConfig) -> ScanData:
    """Read a CXI scan; positions come out in object pixels of the far-field geometry.

    Raises:
        InputError: Where a dataset is missing or contradicts the format, or the geometry is incomplete.
    """
    source = str(path)
    with open_hdf5(path) as file:
        data = require_dataset(file, source, *DATA)
        crop = Crop.of(source, data.shape, config)
        good = without_flags(data, read_mask(file, source, data.shape, config), crop.window)
        counts = take_counts(data, path, good, config)
        basis, declared = read_basis(file, source, config)
        numbers = {
            "energy_eV": read_energy(file, source, config),
            "detector_distance_m": read_quantity(
                file, source, config, "detector_distance_m", "length", "m", f"{DETECTOR}/distance"
            ),
            "detector_pixel_m": None if basis is None else float(np.linalg.norm(basis[:, 0])),
        }
        optics = Optics.read(source, config, numbers, PLACES)
        size = optics.require_pixel_size_m(source, config, counts.shape[-1], PLACES)
        probe, translation = find_dataset(file, f"{SOURCE}/illumination"), read_translation(file, source, config)
        ignored = [IMAGE] if IMAGE in file and config.truth != IMAGE else []
        notes = {"basis_vectors": "file" if declared else "assumed", "ignored": ignored, **crop.notes()}
        calibrated = probe is not None and probe.attrs.get("units") == "sqrt(photons)"
        dark = find_dataset(file, DARK)
        scan = build_scan(
            config,
            counts=counts,
            positions_px=probe_positions(translation, LABORATORY if basis is None else basis) / size,
            probe=None if probe is None else crop.probe(as_probe(source, probe.name, read_array(probe, source))),
            probe_gauge="calibrated" if calibrated else "relative",
            truth=read_truth(file, source, config),
            mask=good,
            pixel_size_m=size,
            provenance=describe_source(path, "cxi", config, **notes),
            **optics.fields(),
        )
        return scan if dark is None else _with_dark(scan, read_array(dark, source), crop)


def _with_dark(scan: ScanData, values: np.ndarray, crop: Crop) -> ScanData:
    """Return a scan with the mean of the dark frames of its file as the background."""
    from ptypinn.io.dark import take_dark, with_dark

    if values.shape[-2:] != crop.stored:
        raise InputError(scan.source, DARK, f"shape {values.shape}", f"frames of shape {crop.stored}, the detector's")
    return with_dark(scan, take_dark(scan.source, DARK, values, crop.window), DARK)


def read_mask(file: h5py.File, source: str, shape: tuple[int, ...], config: LoadConfig) -> np.ndarray | None:
    """Good pixels by the bits of a CXI mask, (N, N); None without one."""
    dataset = find_dataset(file, f"{DETECTOR}/mask")
    if dataset is None:
        return None
    bits = read_array(dataset, source)
    if bits.dtype.kind not in "uib":
        raise InputError(source, dataset.name, f"{bits.dtype} of shape {bits.shape}", "bits, one image of the detector")
    return take_mask(bits.astype(np.int64) & ~HAS_SIGNAL, source, dataset.name, shape, config)


def read_energy(file: h5py.File, source: str, config: LoadConfig) -> float | None:
    """Energy of a photon, eV, by the energy or else the wavelength of the source.

    Raises:
        InputError: Where the two contradict each other, as they do where the energy is that of the ring.
    """
    energy = read_quantity(file, source, config, "energy_eV", "energy", "J", f"{SOURCE}/energy")
    wavelength = read_quantity(file, source, config, "energy_eV", "length", "m", f"{SOURCE}/wavelength")
    if energy is None or wavelength is None:
        return energy if wavelength is None or energy is not None else PLANCK_TIMES_C_EV_M / wavelength
    implied = compute_wavelength(energy, "photon" if config.particle == "auto" else config.particle)
    if abs(implied / wavelength - 1) > SAME_WAVELENGTH:
        actual = f"{energy:.6g} eV beside a wavelength of {wavelength:.6g} m"
        expected = "the energy of a photon of that wavelength; --energy-eV, or --particle electron, settles it"
        raise InputError(source, PLACES["energy_eV"], actual, expected)
    return energy


def read_truth(file: h5py.File, source: str, config: LoadConfig) -> np.ndarray | None:
    """The object that `--truth` names, (H, W) complex64; None where it names none."""
    if not config.truth:
        return None
    return as_image(source, config.truth, require_array(file, source, config.truth))


def write_cxi(scan: ScanData, path: Path) -> None:
    """Write a scan as any CXI reader expects it, and nothing else."""
    with create_hdf5(path) as file:
        entry = write_layout(file, scan)
        if scan.probe is not None:
            modes = scan.probe if len(scan.probe) > 1 else scan.probe[0]
            unit = "sqrt(photons)" if scan.probe_gauge == "calibrated" else "arbitrary"
            add_dataset(file[SOURCE], "illumination", modes, unit)
        if scan.background is not None:
            add_dataset(file[DETECTOR], "data_dark", scan.background, "counts")
        if scan.truth is not None:
            image = add_group(entry, "image_1", "NXcollection")
            add_dataset(image, "data", scan.truth, "")
            image["data_space"], image["is_fft_shifted"] = "real", 0


def _holds_scan(path: Path, config: LoadConfig) -> bool:
    with open_hdf5(path) as file:
        return find_dataset(file, *DATA) is not None or find_dataset(file, IMAGE) is None


ENTRIES = (
    Entry(f"{DETECTOR}/data", "counts", "(M, N, N)", "counts", "zero frequency at N//2; or entry_1/data_1/data"),
    Entry(
        f"{DETECTOR}/mask", "mask", "(N, N) or (M, N, N)", "", "bits; a pixel is bad where any but 0x1000 is set", True
    ),
    Entry(DARK, "background", "(K, N, N) or (N, N)", "counts", "frames without a beam; their mean is taken", True),
    Entry(
        TRANSLATION[0],
        "positions_px",
        "(M, 3)",
        "m",
        "motion (x, y, z) of the sample, against which the probe moves; @units rules",
    ),
    Entry(
        f"{DETECTOR}/basis_vectors",
        "detector_pixel_m",
        "(3, 2)",
        "m",
        "(x, y, z) of a row step and a column step; or their transpose, or (M, 2, 3)",
        True,
    ),
    Entry(
        f"{DETECTOR}/x_pixel_size", "detector_pixel_m", "", "m", "and y_pixel_size: stand in for basis_vectors", True
    ),
    Entry(f"{DETECTOR}/distance", "detector_distance_m", "", "m", "sample to detector; @units rules", True),
    Entry(f"{SOURCE}/energy", "energy_eV", "", "J", "of one photon; @units rules", True),
    Entry(f"{SOURCE}/wavelength", "energy_eV", "", "m", "stands in for the energy", True),
    Entry(f"{SOURCE}/illumination", "probe", "(modes, N, N)", "arbitrary", "or (N, N)", True),
    Entry(
        f"{SOURCE}/illumination@units", "probe_gauge", "", "", "sqrt(photons) where the scale is not arbitrary", True
    ),
    Entry(AXES, None, "", "", "axes of the default plot", True),
    Entry(IMAGE, "object", "(H, W)", "", "object of a reconstruction; true object only where --truth names it", True),
    Entry(EXTENT, None, "(3,)", "m", "reconstruction: (x, y, z) of the image's edges, so W and H object pixels", True),
    Entry(MIDDLE, None, "(3,)", "m", "reconstruction: (x, y, z) of its middle, as translation counts", True),
)
CXI = Format(
    "CXI",
    (".cxi",),
    recognises=Signature(("entry_1/",), absent=(OWN,), check=lambda path: not recognise_nxcxi(path)),
    entries=ENTRIES,
    notes="Files of the Coherent X-ray Imaging data bank, version 1.x, as beamlines, cdtools and SHARP write them. "
    "Units are SI. The sample moves by `translation`, so the probe moves the other way; `basis_vectors` are "
    "the laboratory directions of the rows and columns of the detector. Without them rows run along -y and "
    "columns along -x, so that positions are +y and +x of `translation`. A file with an image and no patterns is a "
    "reconstruction; size and middle of the image give its pixels and its position.",
    missing=(*OPTICS, TRUTH),
    read=read_cxi,
    write=write_cxi,
    read_reconstruction=read_cxi_reconstruction,
    write_reconstruction=write_cxi_reconstruction,
    holds_scan=_holds_scan,
    required=("energy_eV", "detector_distance_m", "detector_pixel_m", "pixel_size_m"),
    recommended=("energy_eV", "detector_distance_m", "detector_pixel_m"),
    reconstruction_required=("pixel_size_m",),
    reconstruction_fields=("pixel_size_m",),
)
