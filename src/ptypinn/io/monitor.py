"""Readings of a beam monitor, one per frame: of the scan file, of another HDF5, NPY or NPZ file, or of a table."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.config.load import LoadConfig
from ptypinn.data.monitor import MONITOR, with_monitor
from ptypinn.data.ranges import list_ranges
from ptypinn.data.scan import ScanData
from ptypinn.data.survey import SELECTED, list_file_numbers
from ptypinn.errors import InputError
from ptypinn.io.counts import read_values
from ptypinn.io.safe.hdf5 import find_dataset, read_array
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.text_table import read_lines, split_cells

OPTION = "--monitor"
NONE = "none"
"""Value of the option that leaves the monitor of a scan file aside."""
NAMES = (MONITOR,)
"""Name of a monitor in an NPZ file of several arrays."""
OWN = "monitor_at"
"""Key of the record of the dataset that a format defines as the monitor, until it is read."""
NX_MONITOR = "NXmonitor"
"""Class of groups of NeXus files that hold a beam monitor."""
MAX_READINGS = 10_000_000

Readings = Float64[np.ndarray, " readings"]


def find_nexus_monitors(file: h5py.File, *groups: str) -> list[str]:
    """Return the paths of the readings of all monitors, by their class, that lie in some groups of a NeXus file.

    Args:
        file: The file.
        groups: Groups whose members are looked at.
    """
    paths = list[str]()
    for place in groups:
        group = file.get(place)
        for name in group if isinstance(group, h5py.Group) else ():
            member = group.get(name)
            if not isinstance(member, h5py.Group):
                continue
            kind = member.attrs.get("NX_class")
            named = kind.decode(errors="replace") if isinstance(kind, bytes) else kind
            if named == NX_MONITOR and find_dataset(file, f"{place}/{name}/data") is not None:
                paths.append(f"{place}/{name}/data")
    return paths


@dataclass(frozen=True)
class Monitor:
    """Readings of a monitor, one per frame of a scan."""

    readings: Readings
    """As they are, in any unit."""
    frames: Int64[np.ndarray, " readings"]
    """Numbers of the frames in their file."""
    source: str
    """File of the readings, for messages."""
    field: str
    """Their place in it, for messages."""
    name: str
    """Both in short, for the record."""

    def take(self, index: Int64[np.ndarray, " part"]) -> Monitor:
        """Return the readings of some of the frames."""
        return replace(self, readings=self.readings[index], frames=self.frames[index])


def read_monitor(scan: ScanData, path: Path, config: LoadConfig) -> Monitor | None:
    """Read the monitor of `--monitor`, or else that of the scan file; None where there is none.

    Args:
        scan: Scan as read from its file, its patterns selected.
        path: The scan file.
        config: Reading options with `monitor`.

    Raises:
        InputError: Where it cannot be read, or has another number of readings than the file or the selection frames.
    """
    location = config.monitor or scan.provenance.get(OWN, NONE)
    if location == NONE:
        return None
    source, field, values = _read_location(location, path)
    if values.dtype.kind not in "uif" or values.ndim == 0:
        raise InputError(source, field, f"{values.dtype} of shape {values.shape}", "one number per frame")
    readings, numbers = values.ravel().astype(np.float64), list_file_numbers(scan)
    total = scan.provenance[SELECTED]["of"] if SELECTED in scan.provenance else scan.n_patterns
    if len(readings) not in (total, scan.n_patterns):
        selected = "" if total == scan.n_patterns else f", or {scan.n_patterns} for those selected"
        actual = f"{len(readings)} readings" if values.ndim == 1 else f"readings of shape {values.shape}"
        raise InputError(source, field, actual, f"{total}, one per frame{selected}")
    place = "" if field == MONITOR else field
    name = place if Path(source) == path else ":".join(filter(None, (Path(source).name, place)))
    return Monitor(readings[numbers] if len(readings) == total else readings, numbers, source, field, name)


def apply_monitor(scan: ScanData, monitor: Monitor | None) -> ScanData:
    """Return a scan with the flux that a monitor shows, unless its counts contradict that.

    Args:
        scan: The scan, with the frames that are used.
        monitor: Readings of these frames; None for none.

    Raises:
        InputError: Where a reading is no flux.
    """
    void = {OWN, MONITOR} if scan.flux is None else {OWN}
    if not void.isdisjoint(scan.provenance):
        scan = scan.replace(provenance={key: value for key, value in scan.provenance.items() if key not in void})
    if monitor is None:
        return scan
    good = np.isfinite(monitor.readings) & (monitor.readings > 0)
    if not good.all():
        bad = monitor.frames[~good]
        actual = f"{monitor.readings[~good][0]:g} in frame{'s' if len(bad) > 1 else ''} {list_ranges(bad)}"
        expected = f"readings above 0; --select leaves frames out, {OPTION} {NONE} the monitor"
        raise InputError(monitor.source, monitor.field, actual, expected)
    return with_monitor(scan, monitor.readings, monitor.name)


def _read_location(location: str, scan_path: Path) -> tuple[str, str, np.ndarray]:
    """Return the file, the name in it, and the values of a monitor."""
    name, _, inner = location.partition(":")
    path = Path(name)
    if not path.is_file():
        if inner or not h5py.is_hdf5(scan_path):
            raise InputError(OPTION, "", f"no file {name}", "a file, or FILE.h5:DATASET")
        return str(scan_path), location, _from_scan_file(scan_path, location)
    if h5py.is_hdf5(path):
        if not inner:
            raise InputError(OPTION, "", location, f"{name}:DATASET, for HDF5 files hold many")
        return name, inner, read_values(location, MONITOR, NAMES)
    if zipfile.is_zipfile(path) or path.suffix == ".npy":
        return name, MONITOR, read_values(name, MONITOR, NAMES)
    return name, inner or MONITOR, _read_table(path, inner)


def _from_scan_file(path: Path, name: str) -> np.ndarray:
    """Read a dataset of the scan file.

    Raises:
        InputError: Where it has none of that name; the error lists datasets with one number per frame at most.
    """
    with open_hdf5(path) as file:
        dataset = find_dataset(file, name)
        if dataset is None:
            expected = f"a file, FILE.h5:DATASET, or a dataset of {path.name}"
            raise InputError(OPTION, "", f"{name}, neither a file nor a dataset", expected)
        if dataset.size > MAX_READINGS:
            raise InputError(str(path), name, f"shape {dataset.shape}", "one number per frame")
        return read_array(dataset, str(path))


def _read_table(path: Path, column: str) -> Readings:
    """Read a table in a text file, whose only column, or the one of a name, has one number per frame.

    Raises:
        InputError: Where the table is at fault, naming the line.
    """
    values, place, count = list[float](), 0, 0
    for number, line in read_lines(path):
        cells = split_cells(line.lstrip("# ") if not values else line, count)
        if not count and (column or _to_number(cells[0]) is None):
            place, count = _choose_column(path, number, cells, column), len(cells)
            continue
        if not count:
            place, count = _choose_column(path, number, cells, ""), len(cells)
        value = _to_number(cells[place]) if len(cells) == count else None
        if value is None:
            raise InputError(str(path), f"line {number}", repr(line[:60]), f"{count} numbers, as in the lines before")
        values.append(value)
        if len(values) > MAX_READINGS:
            raise InputError(str(path), MONITOR, f"more than {MAX_READINGS} lines", "one per frame")
    return np.array(values, np.float64)


def _choose_column(path: Path, number: int, names: list[str], column: str) -> int:
    """Return the column of a name, or the only one."""
    if column in names:
        return names.index(column)
    if column or len(names) != 1:
        actual = f"columns {', '.join(names)}"[:120]
        expected = f"a column {column}" if column else f"one column, or {path.name}:COLUMN"
        raise InputError(str(path), f"line {number}", actual, expected)
    return 0


def _to_number(text: str) -> float | None:
    """Return a number, with a decimal point or comma; None for other text."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
