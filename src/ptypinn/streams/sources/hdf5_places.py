"""Places of frames, positions and facts in HDF5 files of a scan in progress: CXI, NXcxi_ptycho, NeXus, Eiger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.formats import cxi, eiger, nxcxi
from ptypinn.io.formats.cxi_layout import (
    DETECTOR,
    LABORATORY,
    TRANSLATION,
    names_nxcxi,
    probe_positions,
    read_basis,
    read_translation,
)
from ptypinn.io.safe.hdf5 import find_dataset, read_array, read_scalar
from ptypinn.io.units import length_in_m, read_quantity, unit_text

CONFIG = LoadConfig()
FRAMES = (*cxi.DATA, "entry/data/data", "entry/instrument/detector/data")
"""Stacks of frames, in order of preference."""
LINK_FOLDERS = ("entry/data", "entry")
"""Groups of a master file that link to its data files."""
ENDS = ("end", "entry/end_time", "entry_1/end_time")
"""Datasets whose presence says that a scan is over; the attribute `end` of the file does so too."""


@dataclass(frozen=True)
class FileOptions:
    """Options of a file or folder that grows, given as a query: `scan.h5?positions=entry/stage&positions_unit=um`."""

    data: str = ""
    """Dataset of the frames, (frames, rows, columns); empty for the usual places."""
    positions: str = ""
    """Dataset of the positions (y, x) of the beam on the sample, (frames, 2); empty for the usual places."""
    frames: int = 0
    """Number of frames of the scan; 0 where only the file may state it."""


def find_frames(file: h5py.File, name: str = "") -> h5py.Dataset | None:
    """Return the stack of frames of a file: the dataset of that name, or in one of the usual places."""
    stack = find_dataset(file, *((name,) if name else FRAMES))
    return stack if stack is not None and stack.ndim == 3 and stack.dtype.kind in "uif" else None


def list_data_files(file: h5py.File) -> dict[str, str]:
    """Return the files that a master file links to by the names of the links, in order, with the datasets in them."""
    for folder in LINK_FOLDERS:
        group = file.get(folder)
        names = group.keys() if isinstance(group, h5py.Group) else ()
        links = {name: group.get(name, getlink=True) for name in sorted(names) if name.startswith("data_")}
        files = {link.filename: link.path for link in links.values() if isinstance(link, h5py.ExternalLink)}
        if files:
            return files
    return {}


def is_over(file: h5py.File) -> bool:
    """Return True where a file says that its scan is over."""
    stated = np.ravel(file.attrs.get("end", ()))
    if stated.size and bool(stated[0]):
        return True
    dataset = find_dataset(file, *ENDS)
    if dataset is None or dataset.size != 1:
        return False
    if file.swmr_mode:
        dataset.refresh()
    return bool(np.ravel(read_array(dataset))[0])


def describe_file(file: h5py.File, source: str) -> tuple[dict[str, Any], list[str]]:
    """Return what a file states about its scan, by the names of `METADATA_FIELDS`, and what of it cannot be read."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    for name, read in _list_readers(file, source):
        try:
            value = read()
        except InputError as error:
            faults.append(str(error))
        else:
            values |= {} if value is None else {name: value}
    return values, faults


def _list_readers(file: h5py.File, source: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield a function for every quantity that a file may state."""
    cxi_like, distances = DETECTOR in file, (f"{DETECTOR}/distance", *eiger.DISTANCES)
    if cxi_like and names_nxcxi(file):
        yield "energy_eV", lambda: read_quantity(file, source, CONFIG, "energy_eV", "energy", "J", *nxcxi.ENERGY)
    else:
        yield "energy_eV", lambda: (cxi if cxi_like else eiger).read_energy(file, source, CONFIG)
    yield (
        "detector_distance_m",
        lambda: read_quantity(file, source, CONFIG, "detector_distance_m", "length", "m", *distances),
    )
    yield "detector_pixel_m", lambda: _read_pixel(file, source)
    yield "n_frames", lambda: _read_count(file, source)
    yield "beam_centre_px", lambda: eiger.read_beam_centre(file, source)
    yield "mask", lambda: _read_mask(file, source)


def _read_pixel(file: h5py.File, source: str) -> float | None:
    if DETECTOR not in file:
        return eiger.read_detector_pixel(file, source, CONFIG)
    basis, _ = read_basis(file, source, CONFIG)
    return None if basis is None else float(np.linalg.norm(basis[:, 0]))


def _read_count(file: h5py.File, source: str) -> int | None:
    """Return the number of frames that a detector was set to: images per trigger times triggers."""
    images, triggers = (read_scalar(file, source, f"{eiger.SPECIFIC}/{name}") for name in ("nimages", "ntrigger"))
    count = (images or 0) * (triggers or 1)
    return int(count) if 0 < count < 2**53 else None


def _read_mask(file: h5py.File, source: str) -> np.ndarray | None:
    """Return the good pixels of the whole detector."""
    dataset = find_dataset(file, f"{DETECTOR}/mask", f"{DETECTOR}/pixel_mask", *eiger.MASKS)
    if dataset is None or dataset.ndim != 2 or dataset.dtype.kind not in "uib":
        return None
    bits = read_array(dataset, source).astype(np.int64)
    return (bits & ~cxi.HAS_SIGNAL if dataset.name == f"/{DETECTOR}/mask" else bits) == 0


def read_places(file: h5py.File, source: str, name: str = "", unit: str = "m") -> Float64[np.ndarray, "rows 2"] | None:
    """Return the positions (y, x) of the beam on the sample, metres, one line per frame; None where there are none.

    Args:
        file: The file.
        source: Its name for messages.
        name: Dataset of positions (y, x); empty for the motion of the sample in the usual places.
        unit: Unit of a named dataset that states none.

    Raises:
        InputError: Where they are no positions.
    """
    if not name:
        names = nxcxi.TRANSLATION if names_nxcxi(file) else TRANSLATION
        if find_dataset(file, *names) is None:
            return None
        _refresh(file, *names)
        basis, _ = read_basis(file, source, CONFIG)
        moved = read_translation(file, source, CONFIG, *names)
        return probe_positions(moved, LABORATORY if basis is None else basis)
    dataset = _refresh(file, name)
    if dataset is None:
        return None
    if dataset.ndim != 2 or dataset.shape[1] != 2 or dataset.dtype.kind not in "uif":
        raise InputError(source, name, f"{dataset.dtype} of shape {dataset.shape}", "positions (y, x), (frames, 2)")
    text = unit_text(dataset.attrs.get("units")) or unit
    factor = length_in_m(text)
    if factor is None:
        raise InputError(source, f"{name}@units", repr(text[:40]), "a unit of length, such as m, mm, um or nm")
    return read_array(dataset, source).astype(np.float64) * factor


def _refresh(file: h5py.File, *names: str) -> h5py.Dataset | None:
    dataset = find_dataset(file, *names)
    if dataset is not None and file.swmr_mode:
        dataset.refresh()
    return dataset


def find_index(path: Path) -> int | None:
    """Return the number at the end of the name of a file, as of `scan_data_000001.h5`; None without one.

    >>> find_index(Path("scan_data_000012.h5")), find_index(Path("scan.h5"))
    (12, None)
    """
    digits = path.stem[len(find_prefix(path)) :]
    return int(digits) if digits and len(digits) < 16 else None


def find_prefix(path: Path) -> str:
    """Return the name of a file without its suffix and the number at its end: the files of one scan share it."""
    return path.stem.rstrip("0123456789")
