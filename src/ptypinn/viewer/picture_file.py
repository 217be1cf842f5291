"""Reconstruction files and snapshots of the viewer: headers and rectangles are read, never a whole object."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import GROUP
from ptypinn.io.safe.hdf5 import require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.runs.folder import RECONSTRUCTION, SNAPSHOT
from ptypinn.runs.untrusted import is_regular

OBJECT, ILLUMINATION, UNCERTAINTY = "object", "illumination", "uncertainty"
IMAGES = (OBJECT, ILLUMINATION, UNCERTAINTY)
SLICES = "slices"
QUOTIENT = "quotient"
"""Product of one picture with the complex conjugate of another; only in comparisons."""
COMPLEX_IMAGES = (OBJECT, QUOTIENT)

MAX_HELD_PX = 2**22
"""Snapshots of at most so many pixels are in memory."""


class FileChangedError(Exception):
    """A file was replaced after its version was read."""


@dataclass(frozen=True)
class PictureFile:
    """Header of a reconstruction file, or of the snapshot of a run in progress."""

    path: Path
    """The HDF5 file."""
    group: str
    """HDF5 group of its arrays, with a slash at the end; or empty."""
    version: str
    """Text that changes with the file."""
    shape: tuple[int, int]
    """Height and width of the object, pixels."""
    origin_px: tuple[int, int]
    """Position of the object's pixel (0, 0) in the scan's coordinates, (y, x)."""
    pixel_size_m: float | None
    """Object pixel size, metres; None where it is not in the file."""
    images: tuple[str, ...]
    """Names of its images."""
    slices: int
    """Number of slices of a thick sample; 0 for a thin one."""
    shown_slice: int
    """Slice in place of the object, from 1; 0 for all of them together."""

    @property
    def key(self) -> str:
        """Version of the file, and the slice in place of the object."""
        return f"{self.version}-{self.shown_slice}" if self.shown_slice else self.version

    @property
    def in_progress(self) -> bool:
        """True for a snapshot."""
        return not self.group

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of an image, single precision.

        Raises:
            FileChangedError: Where the file was replaced meanwhile.
            InputError: Where it cannot be read.
        """
        with open_hdf5(self.path) as file:
            if file_version(self.path) != self.version:
                raise FileChangedError(str(self.path))
            if name == OBJECT and self.shown_slice:
                values = require_dataset(file, str(self.path), self.group + SLICES)[self.shown_slice - 1, rows, columns]
            else:
                values = require_dataset(file, str(self.path), self.group + name)[rows, columns]
        return values.astype(np.complex64 if name == OBJECT else np.float32, copy=False)

    def read_slices(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of the slices of a thick sample, (slice, y, x); the errors are those of `read`."""
        with open_hdf5(self.path) as file:
            if file_version(self.path) != self.version:
                raise FileChangedError(str(self.path))
            values = require_dataset(file, str(self.path), self.group + SLICES)[:, rows, columns]
        return values.astype(np.complex64, copy=False)


@dataclass(frozen=True)
class HeldPictureFile(PictureFile):
    """A snapshot with its images in memory: a newer one may replace the file while this one is on show."""

    arrays: Mapping[str, np.ndarray]
    """Images by name."""

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of an image, single precision."""
        return self.arrays[name][rows, columns]


def hold_images(file: PictureFile) -> PictureFile:
    """Return a small snapshot with its images in memory, and any other file as it is.

    Raises:
        FileChangedError: Where the file was replaced meanwhile.
        InputError: Where it cannot be read.
    """
    if not file.in_progress or file.slices or file.shape[0] * file.shape[1] > MAX_HELD_PX:
        return file
    everything = slice(None)
    arrays = {name: file.read(name, everything, everything) for name in file.images}
    own = {field.name: getattr(file, field.name) for field in fields(PictureFile)}
    return HeldPictureFile(**own, arrays=arrays)


def find_newest_picture(path: Path) -> Path | None:
    """Return the file with the newest object of a run folder, or a reconstruction file itself; None if none exists."""
    if not path.is_dir():
        return path
    files = [path / name for name in (SNAPSHOT, RECONSTRUCTION) if is_regular(path / name)]
    return max(files, key=lambda file: file.stat().st_mtime_ns, default=None)


def file_version(path: Path) -> str:
    """Return a short text that changes when a file is written again."""
    stat = path.stat()
    text = f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def open_picture(path: Path, shown_slice: int = 0) -> PictureFile:
    """Read the header of a reconstruction or of a snapshot.

    Args:
        path: The file.
        shown_slice: Slice in place of the object, from 1; 0 for all of them together.

    Raises:
        InputError: Where the file is damaged, or neither of them, or has no such slice.
    """
    source = str(path)
    with open_hdf5(path) as file:
        version = file_version(path)
        group = f"{GROUP}/" if GROUP in file else ""
        object_ = require_dataset(file, source, group + OBJECT)
        if object_.ndim != 2 or not object_.size or object_.dtype.kind != "c":
            actual = f"{object_.dtype} of shape {object_.shape}"
            raise InputError(source, object_.name, actual, "a complex image, (height, width)")
        arrays = file[group] if group else file
        images = tuple(name for name in IMAGES if isinstance(arrays.get(name), h5py.Dataset))
        for name in images:
            if arrays[name].shape != object_.shape:
                raise InputError(source, arrays[name].name, f"shape {arrays[name].shape}", f"{object_.shape}")
        height, width = object_.shape
        slices = _count_slices(arrays, source, (height, width))
        if not 0 <= shown_slice <= slices:
            raise InputError(source, "slice", str(shown_slice), f"0 to {slices}")
        coordinates = _read_coordinates(arrays)
        return PictureFile(path, group, version, (height, width), *coordinates, images, slices, shown_slice)


def _count_slices(arrays: h5py.Group, source: str, shape: tuple[int, int]) -> int:
    """Return the number of slices of a thick sample; 0 where there are none."""
    slices = arrays.get(SLICES)
    if not isinstance(slices, h5py.Dataset):
        return 0
    if slices.ndim != 3 or slices.shape[1:] != shape or slices.dtype.kind != "c":
        actual = f"{slices.dtype} of shape {slices.shape}"
        raise InputError(source, slices.name, actual, f"complex images of shape {shape}")
    return len(slices)


def _read_coordinates(arrays: h5py.Group) -> tuple[tuple[int, int], float | None]:
    """Return origin and pixel size."""
    origin, size = (arrays[name][()] if name in arrays else None for name in ("origin_px", "pixel_size_m"))
    y, x = (0, 0) if origin is None else np.asarray(origin).ravel().tolist()
    return (int(y), int(x)), float(size) if size is not None and 0 < float(size) < np.inf else None
