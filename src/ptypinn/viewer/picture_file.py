"""The images of a run where they lie: headers and rectangles are read, never a whole object."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import GROUP
from ptypinn.io.safe.hdf5 import open_hdf5, require_dataset
from ptypinn.runs.folder import RECONSTRUCTION, SNAPSHOT

OBJECT, ILLUMINATION, UNCERTAINTY = "object", "illumination", "uncertainty"
IMAGES = (OBJECT, ILLUMINATION, UNCERTAINTY)
QUOTIENT = "quotient"
"""One picture over another, times the intensity of the other: complex, only where two are compared."""
COMPLEX_IMAGES = (OBJECT, QUOTIENT)


class FileChangedError(Exception):
    """A file has been replaced since it was looked at."""


@dataclass(frozen=True)
class PictureFile:
    """What a reconstruction, or the snapshot of a run in progress, has to show."""

    path: Path
    """The HDF5 file."""
    group: str
    """Where its arrays lie, ending with a slash or empty."""
    version: str
    """Changes when the file does."""
    shape: tuple[int, int]
    """Height and width of the object, pixels."""
    origin_px: tuple[int, int]
    """Where the object's pixel (0, 0) lies in the scan's coordinates, (y, x)."""
    pixel_size_m: float | None
    """Object pixel, metres, where known."""
    images: tuple[str, ...]
    """Names of its images."""

    @property
    def in_progress(self) -> bool:
        """Whether this is a snapshot."""
        return not self.group

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of an image, single precision.

        Raises:
            OutdatedError: Where the file is another one by now.
            InputError: Where it cannot be read.
        """
        with open_hdf5(self.path) as file:
            if file_version(self.path) != self.version:
                raise FileChangedError(str(self.path))
            values = require_dataset(file, str(self.path), self.group + name)[rows, columns]
        return values.astype(np.complex64 if name == OBJECT else np.float32, copy=False)


def find_newest_picture(place: Path) -> Path | None:
    """The file to show of a run folder, or of a reconstruction file; None where there is nothing to see yet."""
    if not place.is_dir():
        return place
    found = [place / name for name in (SNAPSHOT, RECONSTRUCTION) if (place / name).is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def file_version(path: Path) -> str:
    """A short text that changes when a file is written again."""
    known = path.stat()
    text = f"{known.st_ino} {known.st_mtime_ns} {known.st_size}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def open_picture(path: Path) -> PictureFile:
    """Read the header of a reconstruction or of a snapshot.

    Raises:
        InputError: Where the file is damaged, or neither of them.
    """
    source = str(path)
    with open_hdf5(path) as file:
        version = file_version(path)
        group = f"{GROUP}/" if GROUP in file else ""
        object_ = require_dataset(file, source, group + OBJECT)
        if object_.ndim != 2 or not object_.size or object_.dtype.kind != "c":
            found = f"{object_.dtype} of shape {object_.shape}"
            raise InputError(source, object_.name, found, "a complex image, (height, width)")
        here = file[group] if group else file
        images = tuple(name for name in IMAGES if isinstance(here.get(name), h5py.Dataset))
        for name in images:
            if here[name].shape != object_.shape:
                raise InputError(source, here[name].name, f"shape {here[name].shape}", f"{object_.shape}")
        height, width = object_.shape
        return PictureFile(path, group, version, (height, width), *_place(here), images)


def _place(here: h5py.Group) -> tuple[tuple[int, int], float | None]:
    """Origin and pixel size."""
    known = {name: here[name][()] if name in here else None for name in ("origin_px", "pixel_size_m")}
    y, x = (0, 0) if known["origin_px"] is None else np.asarray(known["origin_px"]).ravel().tolist()
    size = known["pixel_size_m"]
    return (int(y), int(x)), float(size) if size is not None and 0 < float(size) < np.inf else None
