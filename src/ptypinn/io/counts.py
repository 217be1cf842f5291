"""Read detector counts, lazily where they exceed the memory budget, and masks: of the scan file, and of `--mask`."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool

from ptypinn.config.load import LoadConfig
from ptypinn.data.pattern_form import are_square_roots
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.crop import Window, cut, read_cut, window_of
from ptypinn.io.derived_counts import SquaredCounts, square
from ptypinn.io.lazy_counts import LazyCounts
from ptypinn.io.safe.hdf5 import require_array, require_dataset, require_readable
from ptypinn.io.safe.hdf5_chunks import read_part
from ptypinn.io.safe.hdf5_open import open_hdf5, require_file
from ptypinn.io.safe.hdf5_write import require_written
from ptypinn.io.safe.npz import Archive, map_npy
from ptypinn.io.units import unit_text

FLAG_SAMPLE = 32
"""Number of frames searched for flagged pixels and for amplitudes."""
COUNT_UNITS = ("counts", "count", "photons", "electrons")
"""Attributes `units`, lower case, that declare patterns as counts."""
CHUNK_BYTES = 2**17
BATCH_BYTES = 2**24
MASK_READ = "mask_array"
"""Key of the array of a scan file that was read as its mask by the declared convention."""
NAMES = ("mask", "bad_pixels", "good_pixels")
"""Names of a mask in an NPZ file of several arrays."""


def require_counts(source: str, config: LoadConfig, files: str) -> None:
    """Raise `InputError` where amplitudes are asked of files that always hold counts."""
    if config.domain == "amplitude":
        raise InputError(source, "--domain", "amplitude", f"counts, which is what {files} hold")


def take_counts(dataset: h5py.Dataset, path: Path, good: np.ndarray | None, config: LoadConfig) -> Counts:
    """Read a dataset of counts, or leave it on disk where it exceeds `memory_budget_gib`.

    Args:
        dataset: Patterns, (M, rows, columns), or a raster of them, (rows, columns of the raster, rows, columns), which
            is read line by line.
        path: File that holds it.
        good: Good pixels of the cropped patterns, (N, N), or None.
        config: Reading options, among them the window and the domain; amplitudes are squared.

    Raises:
        InputError: Where the dataset is no stack of numbers, or holds amplitudes as far as its values say.
    """
    if dataset.ndim not in (3, 4) or dataset.dtype.kind not in "uif":
        actual = f"{dataset.dtype} of shape {dataset.shape}"
        raise InputError(str(path), dataset.name, f"counts: {actual}", "counts of shape (patterns, N, N)")
    window = window_of(str(path), dataset.shape, config)
    rows, columns = dataset.shape[-2:] if window is None else [w.stop - w.start for w in window]
    require_readable(dataset, path)
    stack = math.prod(dataset.shape[:-2])
    if dataset.dtype.kind == "f" and unit_text(dataset.attrs.get("units")).lower() not in COUNT_UNITS:
        frames = (cut(frame, window) for frame in sample_frames(dataset))
        require_domain(str(path), str(dataset.name), frames, good, config)
    if stack * rows * columns * dataset.dtype.itemsize > config.memory_budget_gib * 2**30:
        lazy = LazyCounts(Path(dataset.file.filename), dataset.name, good, window)
        return SquaredCounts(lazy) if config.domain == "amplitude" else lazy
    whole = read_cut(dataset, (slice(None),) * (dataset.ndim - 2), window).reshape(stack, rows, columns)
    return to_domain(str(path), str(dataset.name), whole, config)


def sample_frames(dataset: h5py.Dataset | np.ndarray) -> Iterator[np.ndarray]:
    """Read at most `FLAG_SAMPLE` frames from all over a stack or raster, one after another."""
    stack = math.prod(dataset.shape[:-2])
    for number in np.unique(np.linspace(0, stack - 1, min(stack, FLAG_SAMPLE)).astype(int)):
        yield read_part(dataset, tuple(int(n) for n in np.unravel_index(number, dataset.shape[:-2])))


def require_domain(
    source: str, name: str, frames: Iterator[np.ndarray], good: np.ndarray | None, config: LoadConfig
) -> None:
    """Raise `InputError` where numbers of undeclared domain are square roots of whole numbers.

    Args:
        source: Name of the file for messages.
        name: Place of the patterns in it.
        frames: Some of the patterns.
        good: Good pixels, (N, N), or None.
        config: Reading options; a `domain` other than auto passes.
    """
    if config.domain != "auto":
        return
    for frame in frames:
        if frame.dtype.kind != "f":
            return
        if are_square_roots(frame if good is None else frame[good]):
            actual = f"{frame.dtype} values whose squares are whole numbers, as amplitudes have"
            raise InputError(
                source, name, actual, "--domain amplitude, or --domain counts if they are counts all the same"
            )


def to_domain(source: str, name: str, values: np.ndarray, config: LoadConfig) -> np.ndarray:
    """Return the counts of patterns in memory: themselves, or their squares where they are declared amplitudes."""
    if config.domain != "amplitude":
        return values
    if np.nanmin(values, initial=0) < 0:
        raise InputError(source, name, f"an amplitude of {np.nanmin(values)}", "non-negative amplitudes")
    return square(values)


def take_mask(bad: np.ndarray, source: str, name: str, shape: tuple[int, ...], config: LoadConfig) -> np.ndarray:
    """Return the good pixels of the cropped patterns, (N, N) bool.

    Args:
        bad: Bad pixels, (rows, columns) or one image per pattern; a pixel is bad where it is so in any of them.
        source: Name of the data for messages.
        name: Where the mask lies.
        shape: Shape of the patterns.
        config: Reading options, among them the window.
    """
    if bad.ndim < 2 or bad.shape[-2:] != tuple(shape[-2:]):
        raise InputError(source, name, f"{bad.dtype} of shape {bad.shape}", f"shape {shape[-2:]}, the detector's")
    somewhere = np.any(bad.astype(bool).reshape(-1, *bad.shape[-2:]), axis=0)
    return ~cut(np.asarray(somewhere), window_of(source, shape, config))


def without_flags(dataset: h5py.Dataset, good: np.ndarray | None, window: Window | None) -> np.ndarray | None:
    """Remove pixels that a detector flags by negative numbers, such as -1 in gaps and -2 where dead, from the mask.

    A pixel is flagged where signed integers are negative in every frame; in some frames only, they are an error later.

    Args:
        dataset: Patterns, (M, rows, columns), or a raster of them.
        good: Good pixels of the window so far, (N, N); None for all.
        window: Rows and columns of the crop.
    """
    stack = math.prod(dataset.shape[:-2])
    if dataset.dtype.kind != "i" or dataset.ndim < 3 or not stack:
        return good
    flagged: np.ndarray | None = None
    for frame in sample_frames(dataset):
        negative = cut(frame < 0, window)
        flagged = negative if flagged is None else flagged & negative
        if not flagged.any():
            return good
    assert flagged is not None
    return ~flagged if good is None else good & ~flagged


def write_counts(group: h5py.Group, name: str, scan: ScanData) -> h5py.Dataset:
    """Write counts chunked and compressed, a few patterns at a time.

    Args:
        group: Where to.
        name: Name of the dataset.
        scan: The scan; its lazy counts are streamed.
    """
    shape, dtype = scan.counts.shape, scan.counts.dtype
    per_chunk = max(1, min(shape[0], CHUNK_BYTES // (shape[1] * shape[2] * dtype.itemsize)))
    chunks = (per_chunk, *shape[1:])
    data = group.create_dataset(name, shape, dtype, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)
    data.attrs["units"] = "counts"
    for part, patterns in scan.batches(per_chunk * max(1, BATCH_BYTES // CHUNK_BYTES)):
        data[part] = patterns
        require_written(part.stop / shape[0])
    return data


def apply_mask_file(scan: ScanData, config: LoadConfig) -> ScanData:
    """Mask the pixels of a scan that `--mask` marks as bad, beside those that are masked already.

    Args:
        scan: Scan as read from its file, before any flip.
        config: Reading options with `mask` and `mask_convention`.

    Raises:
        InputError: Where the mask cannot be read, or has another shape than the patterns.
    """
    values = as_mask(config.mask, read_values(config.mask, "mask", NAMES), config)
    window = window_of(config.mask, values.shape, config)
    good = values if values.shape == scan.good.shape else cut(values, window)
    if good.shape != scan.good.shape:
        raise InputError(config.mask, "mask", f"shape {values.shape}", f"shape {scan.good.shape}, the detector's")
    if not (good & scan.good).any():
        raise InputError(config.mask, "mask", "no good pixel", "the other --mask-convention, or another mask")
    record = {"file": Path(config.mask.partition(":")[0]).name, "bad_pixels": int((~good).sum())}
    return scan.replace(mask=good & scan.good, provenance={**scan.provenance, "mask_file": record})


def require_mask_read(scan: ScanData, config: LoadConfig) -> None:
    """Raise `InputError` where `--mask-convention` is set and no mask was read by it."""
    if config.mask_convention and not config.mask and MASK_READ not in scan.provenance:
        expected = "none without --mask, for files without an array `mask`"
        raise InputError(scan.source, "--mask-convention", config.mask_convention, expected)


def as_mask(source: str, values: np.ndarray, config: LoadConfig) -> Bool[np.ndarray, "y x"]:
    """Return the good pixels of a mask, (rows, columns), by the declared convention.

    Args:
        source: Name of the file for messages.
        values: Numbers or booleans; one image, or one per pattern.
        config: Reading options with `mask_convention`.
    """
    if values.ndim not in (2, 3) or values.dtype.kind not in "buif":
        raise InputError(source, "mask", f"{values.dtype} of shape {values.shape}", "an image of numbers")
    images = (values != 0).reshape(-1, *values.shape[-2:])
    return images.all(0) if config.mask_convention == "good" else ~images.any(0)


def read_values(location: str, field: str, names: Sequence[str], max_values: int | None = None) -> np.ndarray:
    """Read an NPY file, an array of an NPZ file, or a dataset of an HDF5 file.

    Args:
        location: File; FILE:NAME names a dataset or an array.
        field: Name of the quantity for messages.
        names: Names that it has in NPZ files of several arrays.
        max_values: Refuse to read more values; None for any number.

    Raises:
        InputError: Where the file has no such array, or one with more values.
    """
    name, _, inner = location.partition(":")
    path = Path(name)
    require_file(path)
    if zipfile.is_zipfile(path):
        return _from_archive(path, inner, field, names, max_values)
    if not inner:
        array = map_npy(path, field)
        require_at_most(name, field, array.shape, max_values)
        return np.asarray(array)
    if not h5py.is_hdf5(path):
        raise InputError(location, field, f"the name {inner}", "none, for files of a single array")
    with open_hdf5(path) as file:
        require_at_most(name, inner, require_dataset(file, name, inner).shape, max_values)
        return require_array(file, name, inner)


def _from_archive(path: Path, inner: str, field: str, names: Sequence[str], max_values: int | None) -> np.ndarray:
    """Read the array of a name from an NPZ file, or else the only one, or one of some names."""
    archive = Archive(path)
    present = list(archive)
    only = present if len(present) == 1 else [each for each in names if each in archive]
    chosen = inner if inner in present else None if inner else next(iter(only), None)
    if chosen is None:
        expected = f"an array {inner}" if inner else f"one array, or one of {', '.join(names)}"
        raise InputError(str(path), field, f"only {sorted(present)}", expected)
    require_at_most(str(path), chosen, archive.describe(chosen)[0], max_values)
    return archive[chosen]


def require_at_most(source: str, name: str, shape: tuple[int, ...] | None, max_values: int | None) -> None:
    """Raise `InputError` where an array has more values than is allowed."""
    if max_values is not None and math.prod(shape or ()) > max_values:
        raise InputError(source, name, f"shape {shape}", f"at most {max_values} values")
