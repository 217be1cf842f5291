"""Ptychodus products, HDF5 or NPZ: positions, probe and object; and the patterns that belong to them.

Positions are coordinates (y, x), metres, of the probe's middle in the world of the object, whose array has its middle
at a centre of its own: pixel (0, 0) of a probe of N pixels lies at `(position - centre) / pixel + (W - N) / 2` of an
array of W pixels. Patterns and positions are joined on their indexes; patterns lie in the same file or in another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.corrected_counts import PickedCounts
from ptypinn.data.opr_modes import FrameProbes, from_opr_modes
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import Counts, ProbeGauge, ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import build_scan, foreign_reconstruction
from ptypinn.io.counts import require_domain, sample_frames, take_counts, take_mask, to_domain
from ptypinn.io.crop import Crop, cut, window_of
from ptypinn.io.format import OPTICS, TRUTH, Entry, Format, MissingField, Signature, recognise_any
from ptypinn.io.formats.npz_archive import open_npz
from ptypinn.io.formats.ptychodus_product import (
    DETECTOR_PIXEL,
    POSITIONS,
    WEIGHTS,
    Fields,
    number,
    read_fields,
    write_ptychodus,
    write_ptychodus_product,
)
from ptypinn.io.optics import Optics
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import limit_of, require_array, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5, require_file
from ptypinn.io.safe.npz import names_in_archive
from ptypinn.physics.optics import probe_photons

PLACES = {
    "energy_eV": "photon_energy_eV",
    "detector_distance_m": "detector_object_distance_m",
    "detector_pixel_m": "patterns@detector_pixel_width_m",
}
INDEXES = "probe_position_indexes"
PRODUCT, PATTERNS = (*POSITIONS, "probe", "object"), ("patterns", "indexes")
"""Arrays that make a file a product, or one of patterns."""
VARIES = "changes of the probe over the scan, which reconstructions have; the mean probe was read"
SAME = 1e-6
"""Maximum relative difference of equal powers."""


def read_ptychodus(path: Path, config: LoadConfig) -> ScanData:
    """Read a product and its patterns, joined on their indexes.

    Raises:
        InputError: Where the patterns are in no file that is named, or do not belong to the product.
    """
    source, fields = str(path), read_fields(path)
    place = Path(config.patterns_file) if config.patterns_file else path
    counts, indexes, good, detector_pixel, shape = _read_patterns(place, config)
    rows, row_index = _joined(source, fields, _indexes(str(place), "indexes", indexes, counts.shape[0]))
    image, probes, gauge = _arrays(source, fields)
    probe = probes.probe
    pixel, corners = _corners(source, fields, probe.shape[-1])
    crop = Crop.of(source, shape, config, probe)
    numbers = {**_numbers(fields), "detector_pixel_m": detector_pixel}
    left_out = [VARIES] if probes.variation is not None or probes.flux is not None else _drop_modes(fields)
    notes = {
        "patterns_file": place.name,
        "positions_without_pattern": len(corners) - len(row_index),
        "ignored": [] if config.truth == "object" else ["object"],
        **crop.notes(),
    }
    return build_scan(
        config,
        counts=_picked(counts, rows),
        positions_px=crop.positions(corners[row_index]),
        probe=crop.probe(probe),
        probe_gauge=gauge,
        truth=image if config.truth == "object" else None,
        mask=good,
        pixel_size_m=crop.pixel_size_m(pixel),
        provenance=describe_source(path, "ptychodus", config, left_out=left_out, **notes),
        **Optics.read(source, config, numbers, PLACES).fields(),
    )


def read_ptychodus_reconstruction(path: Path, config: LoadConfig) -> Reconstruction:
    """Read object, probe and positions of a product."""
    source, fields = str(path), read_fields(path)
    image, probes, _ = _arrays(source, fields)
    probe = probes.probe
    pixel, corners = _corners(source, fields, probe.shape[-1])
    losses = fields.get("loss_values", fields.get("costs", np.zeros(0)))
    indexes = _indexes(source, INDEXES, fields.get(INDEXES, np.arange(len(corners))), len(corners))
    return foreign_reconstruction(
        source,
        image,
        probe,
        corners,
        pixel_size_m=pixel,
        patterns=None if indexes == list(range(len(corners))) else np.array(indexes, np.int64),
        probe_variation=probes.variation,
        probe_weights=probes.weights,
        flux=probes.flux,
        history={"loss": losses.astype(float).tolist()} if losses.size else {},
        provenance=describe_source(path, "ptychodus", config, left_out=_drop_modes(fields), optics=_numbers(fields)),
    )


def _numbers(fields: Fields) -> dict[str, float | None]:
    return {
        "energy_eV": number(fields, "photon_energy_eV", "probe_energy_eV"),
        "detector_distance_m": number(fields, "detector_object_distance_m"),
    }


def _drop_modes(fields: Fields) -> list[str]:
    """Return what is left out where coherent modes have no weights."""
    coherent = len(fields["probe"]) if fields["probe"].ndim == 4 else 1
    return [f"{coherent - 1} further coherent modes without weights"] if coherent > 1 and WEIGHTS not in fields else []


def _arrays(source: str, fields: Fields) -> tuple[np.ndarray, FrameProbes, ProbeGauge]:
    """Object (H, W), complex64, the probes of the positions, and the scale of them."""
    image, probe = fields["object"], fields["probe"]
    image = image[0] if image.ndim == 3 and len(image) == 1 else image
    images = probe if probe.ndim == 4 else probe[None, None] if probe.ndim == 2 else probe[None]
    probe = images[0]
    if image.ndim != 2:
        raise InputError(source, "object", f"shape {image.shape}", "one layer (H, W)")
    if probe.ndim != 3 or probe.shape[1] != probe.shape[2]:
        raise InputError(source, "probe", f"shape {fields['probe'].shape}", "square modes (modes, N, N)")
    photons, power = number(fields, "probe_photon_count"), probe_photons(probe)
    if photons is not None and photons < 0:
        raise InputError(source, "probe_photon_count", f"{photons:g}", "photons, or 0 where they are not known")
    if photons is not None and power > 0 and abs(photons / power - 1) > SAME:
        images = images * np.sqrt(photons / power)
    gauge: ProbeGauge = "relative" if photons is None else "calibrated"
    weights = _weights(source, fields, len(images))
    probes = FrameProbes(images[0].astype(np.complex64)) if weights is None else from_opr_modes(images, weights)
    return image.astype(np.complex64), probes, gauge


def _weights(source: str, fields: Fields, coherent: int) -> np.ndarray | None:
    """Return the weights of coherent modes at every position; None where the product has none."""
    if WEIGHTS not in fields:
        return None
    weights, shape = fields[WEIGHTS], (fields[POSITIONS[0]].size, coherent)
    if weights.shape != shape or not np.isfinite(weights).all():
        actual = f"{weights.dtype} of shape {weights.shape}"
        raise InputError(source, WEIGHTS, actual, f"finite numbers of shape {shape}, positions and coherent modes")
    return weights.astype(np.float64)


def _corners(source: str, fields: Fields, size: int) -> tuple[float, np.ndarray]:
    """Object pixel, metres, and positions (y, x) of the probe's pixel (0, 0) on the object, pixels."""
    height, places = number(fields, "object_pixel_height_m"), [np.ravel(fields[name]) for name in POSITIONS]
    width = number(fields, "object_pixel_width_m") or height
    if height is None or width is None or not (height > 0 and abs(width / height - 1) < 1e-3):
        raise InputError(source, "pixel_height_m", f"{height} x {width} m", "square pixels of a positive size")
    centre = np.array([fields[f"object_center_{axis}_m"].item() for axis in "yx"])
    if places[0].shape != places[1].shape:
        raise InputError(source, POSITIONS[1], f"{places[1].size} values for {places[0].size} of y", "as many")
    room = np.array(fields["object"].shape[-2:]) - size
    return height, np.stack(places, 1).astype(np.float64) / height - (centre / height - room / 2)


def _read_patterns(
    path: Path, config: LoadConfig
) -> tuple[Counts, np.ndarray, np.ndarray | None, float | None, tuple[int, ...]]:
    """Counts, their indexes, good pixels, detector pixel and shape of the patterns in a file with patterns."""
    require_file(path)
    source = str(path)
    if not h5py.is_hdf5(path):
        arrays = open_npz(path, limit_of(config.memory_budget_gib))
        if "patterns" not in arrays:
            raise InputError(source, "patterns", "nothing here", "patterns, or --patterns-file FILE with them")
        patterns = arrays["patterns"]
        bad, indexes = arrays.get("bad_pixels"), arrays.get("indexes")
        good = None if bad is None else take_mask(bad, source, "bad_pixels", patterns.shape, config)
        cropped = np.asarray(cut(patterns, window_of(source, patterns.shape, config)))
        require_domain(source, "patterns", sample_frames(cropped), good, config)
        cropped = to_domain(source, "patterns", cropped, config)
        indexes = np.arange(len(patterns)) if indexes is None else indexes
        pixel = number({name: arrays[name] for name in DETECTOR_PIXEL if name in arrays}, *DETECTOR_PIXEL)
        return cropped, indexes, good, pixel, patterns.shape
    with open_hdf5(path) as file:
        if "patterns" not in file:
            raise InputError(source, "patterns", "nothing here", "patterns, or --patterns-file FILE with them")
        data = require_dataset(file, source, "patterns")
        bad = require_array(file, source, "bad_pixels") if "bad_pixels" in file else None
        good = None if bad is None else take_mask(bad, source, "bad_pixels", data.shape, config)
        indexes = require_array(file, source, "indexes") if "indexes" in file else np.arange(len(data))
        attributes: Any = {name: np.asarray(value) for name, value in data.attrs.items()}
        pixel, counts = number(attributes, *DETECTOR_PIXEL), take_counts(data, path, good, config)
        return counts, indexes, good, pixel, data.shape


def _joined(source: str, fields: Fields, indexes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the patterns, and of the positions, that belong together, in the order of the positions."""
    row_of, positions = {index: row for row, index in enumerate(indexes)}, fields[POSITIONS[0]].size
    if len(row_of) != len(indexes):
        raise InputError(source, "indexes", "several patterns of one index", "one of each")
    wanted = _indexes(source, INDEXES, fields.get(INDEXES, np.arange(positions)), positions)
    matched = [place for place, index in enumerate(wanted) if index in row_of]
    if not matched:
        raise InputError(source, INDEXES, "none that a pattern has", "the indexes of the patterns")
    return np.array([row_of[wanted[place]] for place in matched], np.int64), np.array(matched, np.int64)


def _indexes(source: str, name: str, values: np.ndarray, count: int) -> list[int]:
    if values.dtype.kind not in "ui" or values.size != count:
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", f"{count} whole numbers")
    return np.ravel(values).tolist()


def _picked(counts: Counts, rows: np.ndarray) -> Counts:
    if np.array_equal(rows, np.arange(counts.shape[0])):
        return counts
    return counts[rows] if isinstance(counts, np.ndarray) else PickedCounts(counts, rows)


def _holds_scan(path: Path, config: LoadConfig) -> bool:
    if config.patterns_file:
        return True
    if not h5py.is_hdf5(path):
        return "patterns" in names_in_archive(path)
    with open_hdf5(path) as file:
        return "patterns" in file


PTYCHODUS = Format(
    "Ptychodus product",
    (".h5", ".hdf5", ".npz"),
    recognises=recognise_any(
        *(Signature(names, archive=archive) for names in (PRODUCT, PATTERNS) for archive in (False, True))
    ),
    entries=(
        Entry(
            "probe_position_y_m, probe_position_x_m", "positions_px", "(M,)", "m", "middle of the probe in the world"
        ),
        Entry(INDEXES, None, "(M,)", "", "which pattern belongs to a position", True),
        Entry("probe", "probe", "([orders,] modes, N, N)", "sqrt(photons)"),
        Entry("opr_weights", None, "(M, orders)", "", "of the first mode of every order, at every position", True),
        Entry("@probe_photon_count", "probe_gauge", "", "photons", "power of the probe; 0 where not known", True),
        Entry("object", "object", "(1, H, W)", "", "true object of a scan only with --truth object"),
        Entry("object@center_y_m, @center_x_m", None, "", "m", "middle of the object's array in the world"),
        Entry("object@pixel_height_m, @pixel_width_m", "pixel_size_m", "", "m"),
        Entry("@photon_energy_eV", "energy_eV", "", "eV", "or probe_energy_eV", True),
        Entry("@detector_object_distance_m", "detector_distance_m", "", "m", "", True),
        Entry("loss_values", "records", "(epochs,)", "", "read into the history of a reconstruction", True),
        Entry("patterns", "counts", "(M, N, N)", "counts", "here or in --patterns-file; zero frequency at N//2"),
        Entry("patterns@detector_pixel_width_m", "detector_pixel_m", "", "m", "", True),
        Entry("indexes", None, "(M,)", "", "of the patterns", True),
        Entry("bad_pixels", "mask", "(N, N)", "", "True = bad", True),
    ),
    missing=(
        *OPTICS,
        MissingField("patterns that lie in a file of their own", "patterns_file"),
        TRUTH,
    ),
    notes="In NPZ files, which have no attributes, `object@center_y_m` is `object_center_y_m` and so on, and root "
    "attributes are arrays of the same name. ptypinn writes patterns into the same file, which Ptychodus opens both "
    "as a product and as patterns; a scan without a true object gets a flat one, for a product has to have one.",
    read=read_ptychodus,
    write=write_ptychodus,
    read_reconstruction=read_ptychodus_reconstruction,
    write_reconstruction=write_ptychodus_product,
    holds_scan=_holds_scan,
    required=("probe", "pixel_size_m"),
    recommended=("energy_eV", "detector_distance_m"),
    reconstruction_fields=("probe_variation", "flux"),
    varies_first_mode=True,
)
