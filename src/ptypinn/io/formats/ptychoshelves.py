"""MATLAB files of PtychoShelves and fold_slice: raw 4D-STEM patterns, or the structure `p` of prepared data.

Raw patterns lie in `dp` or `cbed` beside the numbers of the microscope. Prepared data are what the engines see:
`p.fmag`, amplitudes times `p.renorm` with the zero frequency in the corner, beside the positions in object pixels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.orientation import Orientation, derive
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, build_scan
from ptypinn.io.counts import require_counts, require_domain, sample_frames, take_counts, to_domain
from ptypinn.io.crop import LEFT_OUT, Crop, cut, window_of
from ptypinn.io.format import Entry, FirstBytes, Format, MissingField, Signature, recognise_any
from ptypinn.io.formats.ptychoshelves_reconstruction import modes_of, optics_of, read_shelves_reconstruction
from ptypinn.io.provenance import describe_source
from ptypinn.io.raster import angular_pixel, raster_positions
from ptypinn.io.safe.hdf5 import limit_of
from ptypinn.io.safe.matlab import Variables, is_mat73, names_in, number, open_mat
from ptypinn.io.safe.matlab5 import SIGNATURE
from ptypinn.physics.optics import Particle

RAW = ("dp", "cbed")
NUMBERS = ("ADU", "voltage", "alpha", "alpha0", "rbf")
MIRROR = Orientation(transpose=True)
"""Patterns of a version 7.3 file come out of HDF5 with rows and columns exchanged."""


def read_shelves(path: Path, config: LoadConfig) -> ScanData:
    """Read patterns and positions; the probe too where there is one of the same size.

    Raises:
        InputError: Where the file holds no patterns, or leaves the step or the scale of a raster open.
    """
    source = str(path)
    with open_mat(path, (*RAW, *NUMBERS, "p", "probe"), limit_of(config.memory_budget_gib)) as variables:
        prepared = variables.array("p.fmag") is not None
        scan, crop = (_read_prepared if prepared else _read_raw)(variables, path, config)
        probe = variables.array("probe")
        if probe is None:
            return scan
        modes, left_out = modes_of(source, probe)
        noted = {**scan.provenance, **({LEFT_OUT: left_out} if left_out else {})}
        return scan.replace(probe=crop.probe(modes), provenance=noted)


def _read_raw(variables: Variables, path: Path, config: LoadConfig) -> tuple[ScanData, Crop]:
    source = str(path)
    counts, crop, raster, mirrored = _take_raw(variables, path, config)
    voltage, angle, radius = (number(variables, *n) for n in (("voltage",), ("alpha", "alpha0"), ("rbf",)))
    energy = config.energy_eV or (None if voltage is None else 1e3 * voltage)
    per_pixel = None if angle is None or not radius else 1e-3 * angle / radius
    particle: Particle = "electron" if config.particle == "auto" else config.particle
    pixel = angular_pixel(source, config, counts.shape[-1], energy, per_pixel, particle)
    scan = build_scan(
        config,
        counts=counts,
        positions_px=raster_positions(crop, config, raster, None, pixel, fast="y"),
        pixel_size_m=pixel,
        energy_eV=energy,
        particle=particle,
        provenance=describe_source(path, "ptychoshelves", config, layout="raw", **crop.notes()),
    )
    gain = number(variables, "ADU") if config.detector_gain is None else None
    if gain is None and config.detector_gain is None and counts.dtype.kind == "f":
        raise InputError(source, "ADU", "nothing here", "detector units per electron, or --detector-gain")
    if gain is not None and gain <= 0:
        raise InputError(source, "ADU", f"{gain:g}", "a positive number, or --detector-gain")
    return derive(scan, MIRROR if mirrored else Orientation(), Orientation(), gain), crop


def _take_raw(variables: Variables, path: Path, config: LoadConfig) -> tuple[Counts, Crop, tuple[int, ...], bool]:
    """Return patterns, crop, rows and columns of the raster (or their number), and True if axes are exchanged."""
    for name in RAW:
        dataset, values = variables.dataset(name), None
        if dataset is not None:
            mirrored = replace(config, centre_px=config.centre_px and config.centre_px[::-1])
            crop = Crop.of(str(path), dataset.shape, mirrored)
            return take_counts(dataset, path, None, mirrored), crop, dataset.shape[-3::-1], True
        values = variables.array(name)
        if values is not None:
            if values.ndim not in (3, 4) or values.dtype.kind not in "uif":
                actual = f"{values.dtype} of shape {values.shape}"
                raise InputError(str(path), name, actual, "real numbers of shape (ky, kx, y, x) or (ky, kx, patterns)")
            stack = np.moveaxis(values.reshape(*values.shape[:2], -1, order="F"), -1, 0)
            cropped = np.ascontiguousarray(cut(stack, window_of(str(path), stack.shape, config)))
            require_domain(str(path), name, sample_frames(cropped), None, config)
            cropped = to_domain(str(path), name, cropped, config)
            return cropped, Crop.of(str(path), stack.shape, config), values.shape[2:], False
    raise InputError(str(path), "dp", "no patterns", "them in dp, cbed or p.fmag")


def _read_prepared(variables: Variables, path: Path, config: LoadConfig) -> tuple[ScanData, Crop]:
    source = str(path)
    require_counts(source, config, "p.fmag after division and squares")
    amplitudes, renorm = variables.array("p.fmag"), number(variables, "p.renorm")
    positions = variables.array("p.positions")
    if amplitudes is None or amplitudes.ndim != 3 or amplitudes.dtype.kind != "f" or not renorm:
        raise InputError(source, "p.fmag", "something else", "amplitudes of shape (N, N, patterns), and p.renorm")
    if positions is None:
        raise InputError(source, "p.positions", "nothing here", "positions, one line per pattern")
    positions = as_positions(source, "p.positions", positions)
    counts = np.moveaxis(np.square(_centred(amplitudes) / renorm), -1, 0).astype(np.float32)
    window, crop = window_of(source, counts.shape, config), Crop.of(source, counts.shape, config)
    counts, good = np.ascontiguousarray(cut(counts, window)), _good(variables, source, amplitudes.shape)
    optics = optics_of(variables, source, config)
    scan = build_scan(
        config,
        counts=counts,
        positions_px=crop.positions(positions),
        mask=None if good is None else cut(good, window),
        provenance=describe_source(path, "ptychoshelves", config, layout="prepared", **crop.notes()),
        **{**optics, "pixel_size_m": crop.pixel_size_m(optics["pixel_size_m"])},
    )
    return scan, crop


def _good(variables: Variables, source: str, shape: tuple[int, ...]) -> np.ndarray | None:
    mask = variables.array("p.fmask")
    if mask is None:
        return None
    if mask.ndim not in (2, 3) or mask.shape[:2] != shape[:2]:
        raise InputError(source, "p.fmask", f"shape {mask.shape}", f"{shape[:2]}, or one image per pattern")
    return np.ascontiguousarray(_centred(mask.reshape(*shape[:2], -1) != 0).all(-1))


def _centred(values: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(values, axes=(0, 1))


def holds_scan(path: Path, config: LoadConfig) -> bool:
    """Return True if there are patterns; a file with an object and none is a reconstruction."""
    names = names_in(path)
    return not names.isdisjoint(RAW) or "object" not in names


SHELVES = Format(
    "PtychoShelves / fold_slice file",
    (".mat",),
    recognises=recognise_any(
        *(Signature((name,)) for name in ("p/fmag", "p/dx_spec")),
        *(Signature((name,), check=is_mat73) for name in RAW),
        *(Signature((name,), others=frozenset((*RAW, *NUMBERS, "probe", "object"))) for name in RAW),
        FirstBytes(SIGNATURE),
    ),
    entries=(
        Entry("dp or cbed", "counts", "(ky, kx, y, x) or (ky, kx, M)", "detector units", "raw: zero frequency at N//2"),
        Entry("ADU", "counts", "", "", "raw: detector units per electron", True),
        Entry("voltage", "energy_eV", "", "kV", "raw: accelerating voltage", True),
        Entry("alpha or alpha0", "pixel_size_m", "", "mrad", "raw: semi-convergence, of a disk with radius rbf", True),
        Entry("rbf", "pixel_size_m", "", "pixel", "raw: radius of the bright-field disk", True),
        Entry("p.fmag", "counts", "(N, N, M)", "sqrt(counts) * p.renorm", "prepared: zero frequency in the corner"),
        Entry("p.renorm", "counts", "", "", "prepared: factor of the amplitudes"),
        Entry("p.fmask", "mask", "(N, N) or (N, N, M)", "", "prepared: 1 = good, zero frequency in the corner", True),
        Entry("p.positions", "positions_px", "(M, 2)", "pixel", "prepared: (y, x) of the probe's pixel (0, 0)"),
        Entry("p.dx_spec", "pixel_size_m", "(2,)", "m", "prepared: of electrons in angstroms", True),
        Entry("p.lambda", "energy_eV", "", "m", "prepared: wavelength of photons", True),
        Entry("p.energy", "energy_eV", "", "keV", "prepared: where there is no wavelength, and of electrons", True),
        Entry("p.z, p.ds", "detector_distance_m", "", "m", "prepared: sample to detector, and its pixel", True),
        Entry("p.beam_source", "particle", "", "", "prepared: electron, or absent", True),
        Entry("probe", "probe", "(N, N, modes, variations)", "arbitrary", "of a scan's variations the first", True),
        Entry("outputs.probe_evolution", None, "(M, variations)", "", "reconstruction: shares in its first mode", True),
        Entry("object", "object", "(H, W)", "", "reconstruction: a single layer"),
        Entry("outputs.probe_positions", "positions_px", "(M, 2)", "pixel", "reconstruction: (x, y) from the middle"),
    ),
    missing=(
        MissingField("step of a raw raster", "scan_step_m"),
        MissingField("positions of raw patterns that are no raster", "positions_file"),
        MissingField("object pixel of raw patterns without alpha and rbf", "pixel_size_m"),
        MissingField("accelerating voltage, where raw patterns come alone", "energy_eV"),
        MissingField("detector units per electron, where raw patterns come alone", "detector_gain"),
    ),
    notes="Files of version 5 to 7 are read whole, those of version 7.3 (HDF5) lazily where they are large; "
    "rows and columns are MATLAB's in both. The third axis of raw patterns is y and the fourth x, both in the "
    "direction of the probe's motion.",
    read=read_shelves,
    read_reconstruction=read_shelves_reconstruction,
    holds_scan=holds_scan,
)
