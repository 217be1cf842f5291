"""Prepared data of PtyPy, `.ptyd`.

Patterns lie in numbered chunks, prepared: cropped, rebinned and turned over as the experiment asked for, so that rows
and columns run along the y and x of the positions, and the zero frequency is at `meta/center`. Positions are those of
the probe on the sample, (y, x) in metres. A chunk may be a link to a file of its own beside the first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, build_scan
from ptypinn.io.counts import take_counts, take_mask, write_counts
from ptypinn.io.crop import Crop
from ptypinn.io.format import OPTICS, Entry, Format, MissingField, Signature
from ptypinn.io.lazy_counts import join
from ptypinn.io.optics import Optics
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import find_dataset, read_array, require_array, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5

EV_PER_KEV = 1000.0
PLACES = {"energy_eV": "meta/energy", "detector_distance_m": "meta/distance", "detector_pixel_m": "meta/psize"}
WEIGHTS = ("meta/weight2d", "info/weight2d", "common/weight2d")


def read_ptyd(path: Path, config: LoadConfig) -> ScanData:
    """Read all chunks of a PtyPy data file.

    Raises:
        InputError: Where chunks, positions or the geometry are missing or contradict each other.
    """
    source = str(path)
    with open_hdf5(path) as file:
        chunks = _chunks(file, source)
        stacks = _stacks(file, source, chunks)
        inner = replace(config, centre_px=config.centre_px or _centre(file, stacks[0].shape))
        good = _good(file, source, chunks, stacks, inner)
        counts = join([take_counts(stack, path, good, inner) for stack in stacks])
        optics = Optics.read(source, config, _numbers(file, source), PLACES)
        size = optics.require_pixel_size_m(source, config, counts.shape[-1], PLACES)
        prepared = _stored(find_dataset(file, "info/orientation"))
        notes = {"centre_px": inner.centre_px, **Crop.of(source, stacks[0].shape, inner).notes()}
        notes |= {} if prepared is None else {"prepared_with_orientation": np.asarray(prepared).tolist()}
        return build_scan(
            config,
            counts=counts,
            positions_px=_positions(file, source, chunks) / size,
            mask=good,
            pixel_size_m=size,
            provenance=describe_source(path, "ptyd", config, **notes),
            **optics.fields(),
        )


def write_ptyd(scan: ScanData, path: Path) -> None:
    """Write a scan as one chunk that PtyPy's `PtydScan` loads; lazy counts are streamed."""
    assert scan.energy_eV is not None, "PtyPy data need the energy"
    assert scan.pixel_size_m is not None, "PtyPy data need the object pixel"
    with create_hdf5(path) as file:
        file.attrs["h5rw_version"] = "0.1"
        meta, chunk = branch(file, "meta"), branch(branch(file, "chunks"), "0")
        branch(file, "info")
        values: dict[str, Any] = {
            "version": "0.1",
            "label": "ptypinn",
            "num_frames": scan.n_patterns,
            "shape": np.array([scan.size, scan.size]),
            "center": np.array([scan.size / 2, scan.size / 2]),
            "energy": scan.energy_eV / EV_PER_KEV,
            "distance": scan.detector_distance_m,
            "psize": np.array([scan.detector_pixel_m, scan.detector_pixel_m]),
            "weight2d": scan.good.astype(np.float64),
        }
        for name, value in values.items():
            leaf(meta, name, value)
        leaf(chunk, "indices", np.arange(scan.n_patterns))
        leaf(chunk, "positions", scan.positions_px * scan.pixel_size_m)
        write_counts(chunk, "data", scan).attrs["type"] = "array"


def _chunks(file: h5py.File, source: str) -> list[str]:
    """Names of the chunks that hold something, in the order of their numbers."""
    group = file.get("chunks")
    names = [name for name in group if name.isdigit()] if isinstance(group, h5py.Group) else []
    chunks = [f"chunks/{name}" for name in sorted(names, key=int)]
    for name in chunks:
        if not isinstance(file.get(name), h5py.Group):
            raise InputError(source, name, "a link to a file that is not there", "a chunk of patterns")
    if not chunks:
        raise InputError(source, "chunks", "no chunk", "patterns in chunks/0 and so on")
    return chunks


def _stacks(file: h5py.File, source: str, chunks: list[str]) -> list[h5py.Dataset]:
    """Patterns of the chunks, all of one size."""
    stacks = [require_dataset(file, source, f"{name}/data") for name in chunks]
    for name, stack in zip(chunks, stacks, strict=True):
        if stack.ndim != 3 or stack.shape[1:] != stacks[0].shape[1:]:
            expected = f"patterns like those of the first chunk, {stacks[0].shape[1:]}"
            raise InputError(source, f"{name}/data", f"shape {stack.shape}", expected)
    return stacks


def _centre(file: h5py.File, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Row and column of the zero frequency, where PtyPy found it aside of the middle and left the patterns uncut."""
    values = _stored(find_dataset(file, "meta/center"))
    if values is None or values.dtype.kind not in "uif" or values.size not in (1, 2) or not np.isfinite(values).all():
        return None
    centre = np.broadcast_to(np.ravel(values).astype(np.float64), 2)
    if (np.abs(centre - np.array(shape[-2:]) / 2) < 1).all():
        return None
    return round(centre[0]), round(centre[1])


def _good(
    file: h5py.File, source: str, chunks: list[str], stacks: list[h5py.Dataset], config: LoadConfig
) -> np.ndarray | None:
    """Pixels whose weight is positive in every pattern; weights of patterns stand before a common one."""
    good = None
    for name, stack in zip(chunks, stacks, strict=True):
        weights = find_dataset(file, f"{name}/weights")
        if weights is not None and weights.size:
            part = take_mask(_unweighted(weights), source, f"{name}/weights", stack.shape, config)
            good = part if good is None else good & part
    common = find_dataset(file, *WEIGHTS)
    if good is None and common is not None and common.ndim == 2:
        good = take_mask(read_array(common) <= 0, source, common.name, stacks[0].shape, config)
    return good


def _unweighted(weights: h5py.Dataset) -> np.ndarray:
    """Pixels without weight in some pattern, read one pattern after another."""
    if weights.ndim == 2:
        return np.asarray(read_array(weights) <= 0)
    return np.logical_or.reduce([weights[i] <= 0 for i in range(len(weights))])


def _positions(file: h5py.File, source: str, chunks: list[str]) -> np.ndarray:
    places = [f"{name}/positions" for name in chunks]
    return np.concatenate(
        [as_positions(source, place, require_array(file, source, place), "y, x in metres") for place in places]
    )


def _numbers(file: h5py.File, source: str) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for name, place in PLACES.items():
        values = _stored(find_dataset(file, place))
        if values is not None and (values.dtype.kind not in "uif" or np.ptp(values) > 1e-3 * np.abs(values).max()):
            raise InputError(source, place, f"{np.ravel(values).tolist()}", "one number; square pixels")
        numbers[name] = None if values is None else float(np.ravel(values)[0])
    energy = numbers["energy_eV"]
    return {**numbers, "energy_eV": None if energy is None else energy * EV_PER_KEV}


def _stored(dataset: h5py.Dataset | None) -> np.ndarray | None:
    """A value; None where it is absent, or PtyPy's way to write None."""
    if dataset is None or dataset.attrs.get("type") == "None" or dataset.size == 0:
        return None
    return read_array(dataset)


def branch(parent: h5py.Group, name: str) -> h5py.Group:
    """A group, marked as PtyPy's reader expects."""
    group = parent.create_group(name)
    group.attrs["type"] = "dict"
    return group


def leaf(group: h5py.Group, name: str, value: Any) -> None:
    """A value, marked with its kind as PtyPy's reader expects."""
    text = isinstance(value, str)
    dataset = group.create_dataset(name, data=value, dtype=h5py.string_dtype() if text else None)
    dataset.attrs["type"] = "string" if text else "array" if isinstance(value, np.ndarray) else "scalar"


PTYD = Format(
    "PtyPy data",
    (".ptyd",),
    recognises=Signature(("chunks/", "meta/")),
    entries=(
        Entry(
            "chunks/K/data", "counts", "(M, N, N)", "counts", "zero frequency at meta/center, or N//2; K counts from 0"
        ),
        Entry("chunks/K/indices", None, "(M,)", "", "numbers of the patterns; not needed", True),
        Entry("chunks/K/positions", "positions_px", "(M, 2)", "m", "(y, x) of the probe on the sample"),
        Entry("chunks/K/weights", "mask", "(M, N, N)", "", "good where positive in every pattern", True),
        Entry("meta/weight2d", "mask", "(N, N)", "", "good where positive; or in info", True),
        Entry("meta/energy", "energy_eV", "", "keV"),
        Entry("meta/distance", "detector_distance_m", "", "m"),
        Entry("meta/shape", None, "(2,)", "pixel", "shape of the patterns; not needed", True),
        Entry("meta/psize", "detector_pixel_m", "() or (2,)", "m", "after rebinning"),
        Entry("meta/center", None, "(2,)", "pixel", "zero frequency (y, x), where not within a pixel of N/2", True),
        Entry("info/orientation", None, "", "", "has been applied to the patterns already", True),
    ),
    missing=(
        *OPTICS,
        MissingField("probe", "probe"),
    ),
    notes="Patterns are prepared by PtyPy: cropped, rebinned and turned over, so that their rows and columns run along "
    "the y and x of the positions. Chunks may be links to files beside the first.",
    read=read_ptyd,
    write=write_ptyd,
    required=("energy_eV", "detector_distance_m", "detector_pixel_m", "pixel_size_m"),
)
