"""Reconstructions of PtyPy, `.ptyr` (those saved with `minimal`, the default).

Object and probe are storages with a pixel size and the coordinates (y, x) of their pixel [0, 0], metres; positions are
the coordinates of the *centre* of the view, pixel N//2, in those of the object.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.formats.base import Entry, Format, Lack
from ptypinn.data.formats.foreign import foreign_reconstruction
from ptypinn.data.formats.source import describe_source
from ptypinn.data.hdf5 import find_dataset, open_hdf5, require_array
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.storage import read_array
from ptypinn.errors import InputError


def read_ptyr(path: Path, config: LoadConfig) -> Reconstruction:
    """Read object, probe and positions of the only scan in the file.

    Raises:
        InputError: Where a storage or the positions are missing, or there are several.
    """
    source = str(path)
    with open_hdf5(path) as file:
        image, probe = (_storage(file, source, kind) for kind in ("obj", "probe"))
        modes = require_array(file, source, f"{probe}/data")
        pixel, origin = _grid(file, source, image)
        centres = require_array(file, source, f"content/positions/{image.rsplit('/')[-1]}")
        if centres.ndim != 2 or centres.shape[1] != 2 or centres.dtype.kind not in "uif":
            raise InputError(source, "content/positions", f"shape {centres.shape}", "(patterns, 2): y, x in metres")
        corners = (centres.astype(np.float64) - origin) / pixel - np.array(modes.shape[-2:]) // 2
        return foreign_reconstruction(
            source,
            require_array(file, source, f"{image}/data"),
            modes,
            corners,
            pixel_size_m=float(config.pixel_size_m or pixel[0]),
            provenance=describe_source(path, "ptyr", config),
        )


def _storage(file: h5py.File, source: str, kind: str) -> str:
    group = file.get(f"content/{kind}")
    names = [name for name in group if isinstance(group[name], h5py.Group)] if isinstance(group, h5py.Group) else []
    if len(names) != 1:
        raise InputError(source, f"content/{kind}", f"{len(names)} storages {sorted(names)}", "one")
    return f"content/{kind}/{names[0]}"


def _grid(file: h5py.File, source: str, storage: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixel size and coordinates of pixel [0, 0], (y, x), metres."""
    pixel, origin = (find_dataset(file, f"{storage}/{name}") for name in ("_psize", "_origin"))
    if pixel is None or origin is None:
        raise InputError(source, f"{storage}/_psize", "no pixel size or origin", "both")
    pixel, origin = (np.broadcast_to(np.asarray(read_array(d), np.float64).ravel(), 2) for d in (pixel, origin))
    if not (np.isfinite(pixel).all() and pixel.min() > 0 and abs(pixel[0] / pixel[1] - 1) < 1e-3):
        raise InputError(source, f"{storage}/_psize", f"{pixel.tolist()}", "square pixels of a positive size")
    return pixel, origin


def is_ptyr(path: Path) -> bool:
    """Whether a file is HDF5 with an object and a probe as PtyPy saves them."""
    if not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all(isinstance(file.get(f"content/{kind}"), h5py.Group) for kind in ("obj", "probe"))


PTYR = Format(
    "PtyPy reconstruction",
    (".ptyr",),
    sniff=is_ptyr,
    entries=(
        Entry("content/obj/ID/data", "object", "(1, H, W)"),
        Entry("content/obj/ID/_psize", "pixel_size_m", "(2,)", "m", "(y, x)"),
        Entry("content/obj/ID/_origin", None, "(2,)", "m", "coordinates (y, x) of the object's pixel [0, 0]"),
        Entry("content/probe/ID/data", "probe", "(modes, N, N)", "sqrt(photons)"),
        Entry("content/positions/ID", "positions_px", "(M, 2)", "m", "(y, x) of the probe's pixel N//2"),
    ),
    lacks=(Lack("photon energy", "energy_eV"), Lack("detector distance", "detector_distance_m")),
    notes="ID is the name of the storage. Read, not written: PtyPy cannot start from a file without its parameters.",
    read_reconstruction=read_ptyr,
)
