"""Flat NPZ files: the PtychoPINN family and its relatives, among them those of SLAC.

Patterns lie under `diffraction` or `diff3d`, (N, H, W) or, with `axis_order` hwn, (H, W, N), zero frequency centred.
Integers are counts; floating-point patterns need `domain`, for files of both kinds exist. Positions are either
`xcoords` and `ycoords`, the probe *centre* on the object's array, or `positions_px` (row, column) of the probe's
pixel (0, 0). The probe is `probeGuess` or `probe_guess`, one or several modes of arbitrary scale. `objectGuess` is
mostly a start value, so it counts as the truth only where the option `truth` names it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_image, as_positions, as_probe, build_scan, foreign_reconstruction
from ptypinn.io.counts import MASK_READ, as_mask, take_mask
from ptypinn.io.crop import Crop, cut, window_of
from ptypinn.io.format import OPTICS, TRUTH, Entry, Format, MissingField
from ptypinn.io.formats.npz_archive import (
    PROBE_NAMES,
    domain_of,
    number_in,
    open_npz,
    pick,
    text_in,
    to_counts,
    write_flat_npz,
    write_flat_npz_reconstruction,
)
from ptypinn.io.lazy_counts import MappedCounts
from ptypinn.io.optics import Optics, position_unit_px
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import limit_of
from ptypinn.io.safe.npz import Archive, names_in_archive
from ptypinn.io.units import length_in_m

PATTERN_NAMES = ("diffraction", "diff3d")
OBJECT_NAMES = ("objectGuess", "object_guess")
COORDINATES = (("ycoords", "xcoords"), ("ycoords_start", "xcoords_start"))
FILE_ONLY = LoadConfig()
"""Options that replace nothing."""
CENTRE, CORNER = "probe centre", "probe corner"
PLACES = {
    "energy_eV": "photon_energy_eV",
    "detector_distance_m": "detector_distance_m",
    "detector_pixel_m": "detector_pixel_size_m",
}


def read_npz(path: Path, config: LoadConfig) -> ScanData:
    """Read a flat NPZ scan; patterns beyond the memory budget stay on disk unless the archive is compressed."""
    source, arrays = str(path), open_npz(path, limit_of(config.memory_budget_gib))
    _require_one_object(source, arrays)
    positions, place = _read_positions(source, arrays)
    name, stored = _stored_patterns(source, arrays, len(positions), config)
    good, probe = _read_mask(source, arrays, stored.shape, config), _read_probe(source, arrays)
    crop = Crop.of(source, stored.shape, config, probe)
    counts, domain = _take(path, arrays, name, stored, good, config)
    optics = Optics.read(source, config, _numbers(source, arrays), PLACES)
    corners, pixel = _corners(source, arrays, positions, place, crop, optics, config)
    ignored = [name for name in OBJECT_NAMES if name in arrays and name != config.truth]
    return build_scan(
        config,
        counts=counts,
        positions_px=corners,
        probe=None if probe is None else crop.probe(probe),
        probe_gauge="calibrated" if text_in(arrays, "probe_gauge") == "calibrated" else "relative",
        mask=good,
        truth=_read_truth(source, arrays, config),
        pixel_size_m=pixel,
        provenance=describe_source(
            path,
            "npz",
            config,
            domain=domain,
            positions=place,
            ignored=ignored,
            **_mask_note(arrays, config),
            **crop.notes(),
        ),
        **optics.fields(),
    )


def read_npz_reconstruction(path: Path, config: LoadConfig) -> Reconstruction:
    """Read object, probe and positions of a flat NPZ file."""
    source, arrays = str(path), open_npz(path, limit_of(config.memory_budget_gib))
    image, probe = (_require(source, arrays, names) for names in (OBJECT_NAMES, PROBE_NAMES))
    modes = as_probe(source, "probe", probe)
    positions, place = _read_positions(source, arrays)
    pixel = number_in(source, arrays, "pixel_size_m")
    if place == CENTRE:
        positions = positions * position_unit_px(source, config, config.pixel_size_m or pixel) - modes.shape[-1] // 2
    return foreign_reconstruction(
        source,
        image,
        modes,
        positions,
        pixel_size_m=pixel,
        provenance=describe_source(path, "npz", config, optics=_numbers(source, arrays)),
    )


def _stored_patterns(source: str, arrays: Archive, n_positions: int, config: LoadConfig) -> tuple[str, np.ndarray]:
    """Name of the patterns and all of them, (M, rows, columns); mapped where they are not compressed."""
    name = pick(arrays, PATTERN_NAMES)
    if name is None:
        raise InputError(source, " or ".join(PATTERN_NAMES), f"only {sorted(arrays)}", "an array of patterns")
    mapped = arrays.mapped(name)
    patterns = arrays[name] if mapped is None else mapped
    if patterns.ndim != 3:
        raise InputError(source, name, f"shape {patterns.shape}", "three axes")
    if config.axis_order == "hwn":
        patterns = np.moveaxis(patterns, -1, 0)
    if len(patterns) != n_positions:
        other = "nhw" if config.axis_order == "hwn" else "hwn"
        shape = patterns.shape if config.axis_order == "nhw" else (*patterns.shape[1:], len(patterns))
        if shape[-1 if other == "hwn" else 0] == n_positions:
            wanted = f"{n_positions} patterns, one per position; set --axis-order {other}"
            raise InputError(source, name, f"shape {shape} read as {config.axis_order}", wanted)
    return name, patterns


def _take(
    path: Path, arrays: Archive, name: str, stored: np.ndarray, good: np.ndarray | None, config: LoadConfig
) -> tuple[Counts, str]:
    """Return the cropped counts, in memory or on disk, and the crop."""
    source, declared = str(path), text_in(arrays, "domain")
    window = window_of(source, stored.shape, config)
    size = len(stored) * cut(stored[:1], window).nbytes
    if size <= config.memory_budget_gib * 2**30 or arrays.mapped(name) is None:
        return to_counts(source, name, np.ascontiguousarray(cut(stored, window)), declared, config)
    domain, last = domain_of(source, name, stored.dtype, declared, config), config.axis_order == "hwn"
    squared = domain == "amplitude"
    return MappedCounts(path, window, name, patterns_last=last, squared=squared, good=good), domain


def _read_positions(source: str, arrays: Archive) -> tuple[np.ndarray, str]:
    if "positions_px" in arrays:
        return as_positions(source, "positions_px", arrays["positions_px"]), CORNER
    for names in COORDINATES:
        if all(name in arrays for name in names):
            y, x = (np.ravel(arrays[name]) for name in names)
            if y.shape != x.shape:
                raise InputError(source, names[0], f"{y.size} values for {x.size} in {names[1]}", "as many")
            return as_positions(source, ", ".join(names), np.stack([y, x], 1)), CENTRE
    raise InputError(source, "positions_px", f"only {sorted(arrays)}", "positions_px, or xcoords and ycoords")


def _corners(
    source: str,
    arrays: Archive,
    positions: np.ndarray,
    place: str,
    crop: Crop,
    optics: Optics,
    config: LoadConfig,
) -> tuple[np.ndarray, float | None]:
    """Return positions of the probe's pixel (0, 0) in object pixels of the cropped patterns, and that pixel, metres."""
    if place == CENTRE and length_in_m(config.positions_unit) is not None:
        pixel = config.pixel_size_m or crop.pixel_size_m(number_in(source, arrays, "pixel_size_m"))
        pixel = pixel or optics.pixel_size_m(crop.size)
        return positions * position_unit_px(source, config, pixel) - crop.size // 2, pixel
    edge = crop.edge or crop.size
    in_file = number_in(source, arrays, "pixel_size_m") or Optics.read(
        source, FILE_ONLY, _numbers(source, arrays), PLACES
    ).pixel_size_m(edge)
    return crop.positions(positions - (edge // 2 if place == CENTRE else 0)), crop.pixel_size_m(in_file)


def _require_one_object(source: str, arrays: Archive) -> None:
    if "scan_index" in arrays and len(np.unique(arrays["scan_index"])) > 1:
        actual = f"patterns of {len(np.unique(arrays['scan_index']))} objects"
        raise InputError(source, "scan_index", actual, "those of one; split the file")


def _read_mask(source: str, arrays: Archive, shape: tuple[int, ...], config: LoadConfig) -> np.ndarray | None:
    """Read `bad_pixels`, and `mask` where an option declares its meaning; good pixels of the crop, or None."""
    images = [arrays["bad_pixels"]] if "bad_pixels" in arrays else []
    if _has_declared_mask(arrays, config):
        images.append(~as_mask(source, arrays["mask"], config))
    masks = [take_mask(bad, source, "mask", shape, config) for bad in images]
    return np.logical_and.reduce(masks) if masks else None


def _mask_note(arrays: Archive, config: LoadConfig) -> dict[str, str]:
    return {MASK_READ: "mask"} if _has_declared_mask(arrays, config) else {}


def _has_declared_mask(arrays: Archive, config: LoadConfig) -> bool:
    return "mask" in arrays and config.mask_convention != "" and not config.mask


def _numbers(source: str, arrays: Archive) -> dict[str, float | None]:
    energies = (number_in(source, arrays, name) for name in ("photon_energy_eV", "probe_energy_ev"))
    return {
        "energy_eV": next((energy for energy in energies if energy is not None), None),
        "detector_distance_m": number_in(source, arrays, "detector_distance_m"),
        "detector_pixel_m": number_in(source, arrays, "detector_pixel_size_m"),
    }


def _require(source: str, arrays: Archive, names: tuple[str, ...]) -> np.ndarray:
    name = pick(arrays, names)
    if name is None:
        raise InputError(source, " or ".join(names), f"only {sorted(arrays)}", "an array")
    return arrays[name]


def _read_probe(source: str, arrays: Archive) -> np.ndarray | None:
    name = pick(arrays, PROBE_NAMES)
    return None if name is None else as_probe(source, name, arrays[name])


def _read_truth(source: str, arrays: Archive, config: LoadConfig) -> np.ndarray | None:
    if not config.truth:
        return None
    if config.truth not in arrays:
        raise InputError(source, config.truth, f"only {sorted(arrays)}", "the array named by --truth")
    return as_image(source, config.truth, arrays[config.truth])


def is_npz(path: Path) -> bool:
    """Return True if a file is a ZIP archive."""
    return zipfile.is_zipfile(path)


def _holds_scan(path: Path, config: LoadConfig) -> bool:
    return not names_in_archive(path).isdisjoint(PATTERN_NAMES)


NPZ = Format(
    "flat NPZ (PtychoPINN, SLAC)",
    (".npz",),
    recognises=is_npz,
    generic=True,
    entries=(
        Entry("diffraction or diff3d", "counts", "(M, N, N)", "counts", "or amplitudes; zero frequency at N//2"),
        Entry("domain", None, "", "", "text: what the patterns are, counts or amplitude", True),
        Entry("positions_px", "positions_px", "(M, 2)", "pixel", "(y, x) of the probe's pixel (0, 0)", True),
        Entry(
            "ycoords, xcoords", "positions_px", "(M,)", "pixel", "pixel N//2 of the probe; or ycoords_start ...", True
        ),
        Entry("probeGuess, probe_guess or probe", "probe", "(modes, N, N)", "arbitrary", "or (N, N)", True),
        Entry("probe_gauge", "probe_gauge", "", "", "text: calibrated where the probe is in sqrt(photons)", True),
        Entry("objectGuess or object_guess", "object", "(H, W)", "", "true object only where --truth names it", True),
        Entry("bad_pixels", "mask", "(N, N)", "", "True = bad", True),
        Entry("mask", "mask", "(N, N)", "", "read where --mask-convention declares its meaning", True),
        Entry("photon_energy_eV or probe_energy_ev", "energy_eV", "", "eV", "", True),
        Entry("detector_distance_m", "detector_distance_m", "", "m", "", True),
        Entry("detector_pixel_size_m", "detector_pixel_m", "", "m", "", True),
        Entry("pixel_size_m", "pixel_size_m", "", "m", "object pixel", True),
        Entry("scan_index", None, "(M,)", "", "which object; all the same", True),
    ),
    missing=(
        *OPTICS,
        MissingField("quantity of floating-point patterns", "domain"),
        MissingField("which axis counts the patterns (the last in files of SLAC)", "axis_order"),
        MissingField("positions that are no pixels", "positions_unit"),
        TRUTH,
    ),
    notes="Files of SLAC have the patterns' axis last, which needs `--axis-order hwn`. ptypinn writes the names of the "
    "PtychoPINN family, and beside them `positions_px`, which keeps positions to the bit.",
    read=read_npz,
    write=write_flat_npz,
    read_reconstruction=read_npz_reconstruction,
    write_reconstruction=write_flat_npz_reconstruction,
    holds_scan=_holds_scan,
)
