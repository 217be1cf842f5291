"""`Reconstruction` as an HDF5 file that opens as a default plot in NeXus viewers, and snapshots of one in progress.

`/entry/object_phase`, `/entry/object_amplitude` and `/entry/object_uncertainty` are NXdata with axes, for people;
`/entry/reconstruction` holds every field exactly, for programs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.data.depth import project_phase, slice_depths, slice_uncertainties
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.validation import MTF_TABLE, is_mtf_table
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import (
    add_dataset,
    add_group,
    find_dataset,
    read_array,
    read_json,
    read_scalar,
    require_array,
    write_json,
)
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5, replace_hdf5
from ptypinn.utils.atomic_files import require_space
from ptypinn.utils.progress import IterateCallback

GROUP = "entry/reconstruction"
ARRAYS = {
    "object": np.complex64,
    "illumination": np.float32,
    "probe": np.complex64,
    "positions_px": np.float64,
    "origin_px": np.int64,
}
UNITS = {
    "object": "",
    "illumination": "photons/pixel",
    "probe": "sqrt(photons)",
    "positions_px": "pixel",
    "origin_px": "pixel",
}
OPTIONAL = {
    "slices": np.complex64,
    "gap_fresnel_numbers": np.float64,
    "sample_tilt": np.float64,
    "unscaled": np.complex64,
    "uncertainty": np.float32,
    "flux": np.float64,
    "background": np.float32,
    "beam_px": np.float64,
    "mtf": np.float64,
    "probe_variation": np.complex64,
    "probe_weights": np.float64,
}
"""Optional arrays: images of transmission, the terms of the experiment."""
NUMBERS = {"pixel_size_m": "m", "point_spread_px": "detector pixel", "fresnel_number": ""}
"""Optional numbers, and their units."""
RECORDS = ("scale", "metrics", "history", "provenance")
LATER = ("prediction_scale",)
"""Records that files of earlier versions may lack."""
MAX_TIME_FRACTION = 0.03
"""Maximum fraction of a run's time that snapshots take."""
MAX_OBJECT_PX = 2**26
"""Larger objects (0.8 GB with their illumination) have no snapshots."""
SnapshotCallback = IterateCallback[Reconstruction]
"""Called after every iteration, round or tile with a function that returns the current reconstruction."""


def write_reconstruction(recon: Reconstruction, path: Path) -> None:
    """Write a reconstruction.

    Args:
        recon: What to write.
        path: The file; an existing one is emptied.

    Raises:
        OSError: Where it cannot be written, as on a disk without space for it.
    """
    types = {**ARRAYS, **{name: kind for name, kind in OPTIONAL.items() if getattr(recon, name) is not None}}
    need_bytes = sum(np.size(getattr(recon, name)) * np.dtype(dtype).itemsize for name, dtype in types.items())
    require_space(path.parent, need_bytes)
    with create_hdf5(path) as file:
        file.attrs.update({"NX_class": "NXroot", "default": "entry"})
        entry = add_group(file, "entry", "NXentry", default="object_phase")
        entry["title"] = "Ptychographic reconstruction"
        write_plots(entry, recon)
        exact = add_group(entry, "reconstruction", "NXcollection", format_version=1)
        for name, dtype in ARRAYS.items():
            add_dataset(exact, name, np.asarray(getattr(recon, name), dtype), UNITS[name])
        if recon.patterns is not None:
            exact.create_dataset("patterns", data=np.asarray(recon.patterns, np.int64))
        for name, unit in NUMBERS.items():
            if (value := getattr(recon, name)) is not None:
                add_dataset(exact, name, value, unit)
        for name, dtype in OPTIONAL.items():
            if (values := getattr(recon, name)) is not None:
                add_dataset(exact, name, np.asarray(values, dtype), "")
        for name in (*RECORDS, *LATER):
            write_json(exact, name, getattr(recon, name))


def read_reconstruction(path: Path) -> Reconstruction:
    """Read what `write_reconstruction` wrote.

    Raises:
        InputError: Where the file is missing, not HDF5, truncated, or not a reconstruction.
    """
    source = str(path)
    with open_hdf5(Path(path)) as file:
        if not is_reconstruction(file):
            raise InputError(source, f"/{GROUP}", "no such group", "a reconstruction written by ptypinn")
        present = [name for name in OPTIONAL if name in file[GROUP]]
        types = {**ARRAYS, **{name: OPTIONAL[name] for name in present}}
        arrays: dict[str, Any] = {
            name: require_array(file, source, f"{GROUP}/{name}").astype(dtype) for name, dtype in types.items()
        }
        records = {name: read_json(file, source, f"{GROUP}/{name}") for name in RECORDS}
        records |= {name: read_json(file, source, f"{GROUP}/{name}") for name in LATER if name in file[GROUP]}
        numbers: dict[str, Any] = {name: read_scalar(file, source, f"{GROUP}/{name}") for name in NUMBERS}
        patterns = find_dataset(file, f"{GROUP}/patterns")
        y, x = arrays.pop("origin_px").tolist()
        part = None if patterns is None else read_array(patterns, source).astype(np.int64)
    _require_slices(source, arrays)
    if "mtf" in arrays and not is_mtf_table(arrays["mtf"]):
        raise InputError(source, f"{GROUP}/mtf", f"values of shape {arrays['mtf'].shape}", MTF_TABLE)
    return Reconstruction(**arrays, **records, **numbers, origin_px=(y, x), patterns=part)


def _require_slices(source: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `InputError` where slices and the gaps between them do not fit the object and each other."""
    slices, gaps = arrays.get("slices"), arrays.get("gap_fresnel_numbers")
    if slices is None and gaps is None:
        return
    shape, field = arrays["object"].shape, f"{GROUP}/slices"
    if slices is None or slices.ndim != 3 or slices.shape[1:] != shape or len(slices) < 2:
        actual = "none" if slices is None else f"an array of shape {slices.shape}"
        raise InputError(source, field, actual, f"two slices or more of shape {shape}")
    if bool(np.isfinite(arrays["object"]).all()) and not bool(np.isfinite(slices).all()):
        raise InputError(source, field, "values that are not finite", "finite values, as those of the object")
    if gaps is None or gaps.shape != (len(slices) - 1,) or not bool((np.isfinite(gaps) & (gaps > 0)).all()):
        actual = "none" if gaps is None else f"an array of shape {gaps.shape}"
        expected = f"{len(slices) - 1} positive numbers, one for every gap"
        raise InputError(source, f"{GROUP}/gap_fresnel_numbers", actual, expected)
    tilt = arrays.get("sample_tilt")
    if tilt is not None and (tilt.shape != (2,) or not bool(np.isfinite(tilt).all())):
        raise InputError(source, f"{GROUP}/sample_tilt", f"{tilt.tolist()}", "two finite numbers")


def is_reconstruction(file: h5py.File) -> bool:
    """Return True if an open HDF5 file is one that `write_reconstruction` wrote."""
    return isinstance(file.get(GROUP), h5py.Group)


def write_plots(entry: h5py.Group, recon: Reconstruction) -> None:
    """Add images with axes and units for viewers: `object_phase`, `object_amplitude`, `object_uncertainty` if known."""
    images = {"object_phase": (np.angle(recon.object), "rad"), "object_amplitude": (np.abs(recon.object), "")}
    if recon.uncertainty is not None:
        images["object_uncertainty"] = recon.uncertainty, ""
    for name, (image, unit) in images.items():
        plot = add_group(entry, name, "NXdata", signal="data", axes=["y", "x"])
        add_dataset(plot, "data", image.astype(np.float32), unit)
    _write_axes(entry["object_phase"], recon)
    if recon.slices is not None:
        _write_slices(entry, recon, recon.slices)
    for name in list(images)[1:]:
        for axis in "yx":
            entry[name][axis] = entry["object_phase"][axis]  # a link: the images share their axes


def _write_slices(entry: h5py.Group, recon: Reconstruction, slices: np.ndarray) -> None:
    """Add phase and amplitude of the slices, with their depth as the first axis, and their projected phase.

    Depth is in metres, or in numbers of slices where it is not on record. The expected error of every slice is
    `uncertainty` beside them, where it is.
    """
    depths = slice_depths(recon.provenance, len(slices))
    plot = add_group(entry, "projected_phase", "NXdata", signal="data", axes=["y", "x"])
    add_dataset(plot, "data", project_phase(slices).astype(np.float32), "rad")
    for axis in "yx":
        plot[axis] = entry["object_phase"][axis]
    for name, image, unit in (("slices_phase", np.angle(slices), "rad"), ("slices_amplitude", np.abs(slices), "")):
        plot = add_group(entry, name, "NXdata", signal="data", axes=["z", "y", "x"])
        add_dataset(plot, "data", image.astype(np.float32), unit)
        if errors := slice_uncertainties(recon):
            add_dataset(plot, "uncertainty", np.asarray(errors), "")
        add_dataset(plot, "z", np.arange(len(slices)) if depths is None else depths, "" if depths is None else "m")
        for axis in "yx":
            plot[axis] = entry["object_phase"][axis]


def _write_axes(plot: h5py.Group, recon: Reconstruction) -> None:
    """Add the coordinates of the rows and columns of the object."""
    step, unit = (1.0, "pixel") if recon.pixel_size_m is None else (recon.pixel_size_m, "m")
    for axis, length, origin in zip("yx", recon.object.shape, recon.origin_px, strict=True):
        add_dataset(plot, axis, (origin + np.arange(length)) * step, unit)


class Snapshots:
    """A `SnapshotCallback` that writes the current reconstruction to a file.

    The file has `object`, `illumination`, `probe`, `positions_px`, `origin_px` and, where known, `pixel_size_m` and
    `patterns`, as in `Reconstruction`, and the scan in `provenance`. It is replaced atomically, and seldom enough that
    the run takes hardly longer. Where it cannot be written, the run continues without snapshots.

    Args:
        path: File to write.
        scan_file: File of the scan, recorded so that its patterns can be found.
        interval_s: Minimum time between two snapshots, seconds.
        time_fraction: Maximum fraction of the run's time that they take.
    """

    def __init__(
        self,
        path: Path,
        scan_file: str | Path | None = None,
        interval_s: float = 2.0,
        time_fraction: float = MAX_TIME_FRACTION,
    ) -> None:
        self._path, self._interval_s, self._due_s = path, interval_s, float("-inf")
        self._time_fraction = time_fraction
        self._scan_path = {} if scan_file is None else {"path": str(Path(scan_file).resolve())}

    def __call__(self, current: Callable[[], Reconstruction], /) -> None:
        """Write the current reconstruction if the interval has passed."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        recon = current()
        if recon.object.size > MAX_OBJECT_PX:
            self._stop(f"an object of {recon.object.size} pixels is shown only when it is finished")
            return
        try:
            self._write(recon)
        except OSError as error:
            self._stop(str(error))
            return
        now_s = time.monotonic()
        self._due_s = now_s + max(self._interval_s, (now_s - start_s) / self._time_fraction)

    def _write(self, recon: Reconstruction) -> None:
        scan = recon.provenance.get("scan")
        record: dict[str, Any] = dict(scan) if isinstance(scan, Mapping) else {}
        with replace_hdf5(self._path) as file:
            for name, dtype in ARRAYS.items():
                file.create_dataset(name, data=getattr(recon, name), dtype=dtype).attrs["units"] = UNITS[name]
            for name in ("pixel_size_m", "patterns"):
                if (value := getattr(recon, name)) is not None:
                    file[name] = value
            write_json(file, "provenance", {"scan": {**record, **self._scan_path}})

    def _stop(self, reason: str) -> None:
        logging.getLogger("ptypinn").warning(f"no more snapshots: {reason}")
        self._due_s = float("inf")
