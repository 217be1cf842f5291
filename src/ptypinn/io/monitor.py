"""Readings of a beam monitor, one per frame: of the scan file, of another HDF5, NPY or NPZ file, or of a table."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.config.load import LoadConfig
from ptypinn.data.monitor import MONITOR, monitor_record, with_monitor
from ptypinn.data.ranges import list_ranges
from ptypinn.data.scan import ScanData
from ptypinn.data.survey import SELECTED, list_file_numbers
from ptypinn.errors import InputError
from ptypinn.io.counts import read_values, require_at_most
from ptypinn.io.crop import DOUBTS
from ptypinn.io.provenance import OWN_MONITOR
from ptypinn.io.safe.hdf5 import find_dataset, find_item, read_array
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.text_table import read_lines, split_cells, split_names
from ptypinn.io.units import unit_text

OPTION = "--monitor"
NONE = "none"
"""Value of the option that leaves the monitor of a scan file aside."""
NAMES = (MONITOR,)
"""Name of a monitor in an NPZ file of several arrays."""
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
        group = find_item(file, place)
        for name in group if isinstance(group, h5py.Group) else ():
            member = find_item(file, f"{place}/{name}")
            if not isinstance(member, h5py.Group) or unit_text(member.attrs.get("NX_class")) != NX_MONITOR:
                continue
            if find_dataset(file, f"{place}/{name}/data") is not None:
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
    is_wanted: bool = True
    """True for that of `--monitor`, False for one that the format of the scan file defines."""

    def take(self, index: Int64[np.ndarray, " part"]) -> Monitor:
        """Return the readings of some of the frames."""
        return replace(self, readings=self.readings[index], frames=self.frames[index])

    def require_flux(self) -> None:
        """Raise `InputError` where a reading is no flux."""
        good = np.isfinite(self.readings) & (self.readings > 0)
        if good.all():
            return
        bad = self.frames[~good]
        actual = f"{self.readings[~good][0]:g} in frame{'s' if len(bad) > 1 else ''} {list_ranges(bad)}"
        expected = f"readings above 0; --select leaves frames out, {OPTION} {NONE} the monitor"
        raise InputError(self.source, self.field, actual, expected)


def read_monitor(scan: ScanData, path: Path, config: LoadConfig) -> tuple[ScanData, Monitor | None]:
    """Read the monitor of `--monitor`, or else that of the scan file.

    The latter is read from this file alone, whatever its name, and left aside with a doubt where it is no flux.

    Args:
        scan: Scan as read from its file, its patterns selected.
        path: The scan file.
        config: Reading options with `monitor`.

    Returns:
        The scan, and its monitor; None where there is none.

    Raises:
        InputError: Where that of `--monitor` cannot be read, or has another number of readings than the file or the
            selection frames.
    """
    place = scan.provenance.get(OWN_MONITOR)
    scan = scan.replace(provenance={key: value for key, value in scan.provenance.items() if key != OWN_MONITOR})
    if config.monitor or place is None:
        location = config.monitor or NONE
        return scan, None if location == NONE else _to_monitor(scan, path, *_read_location(location, path))
    try:
        return scan, replace(_to_monitor(scan, path, str(path), place, _from_scan_file(path, place)), is_wanted=False)
    except InputError as error:
        return _leave_aside(scan, place, error), None


def _to_monitor(scan: ScanData, path: Path, source: str, field: str, values: np.ndarray) -> Monitor:
    """Return the monitor of a scan.

    Raises:
        InputError: Where the values are not one number per frame.
    """
    if values.dtype.kind not in "uif" or values.ndim == 0:
        raise InputError(source, field, f"{values.dtype} of shape {values.shape}", "one number per frame")
    numbers = list_file_numbers(scan)
    total = scan.provenance[SELECTED]["of"] if SELECTED in scan.provenance else scan.n_patterns
    if values.size not in (total, scan.n_patterns):
        selected = "" if total == scan.n_patterns else f", or {scan.n_patterns} for those selected"
        actual = f"{values.size} readings" if values.ndim == 1 else f"readings of shape {values.shape}"
        raise InputError(source, field, actual, f"{total}, one per frame{selected}")
    readings, place = values.ravel().astype(np.float64), "" if field == MONITOR else field
    name = place if Path(source) == path else ":".join(filter(None, (Path(source).name, place)))
    return Monitor(readings[numbers] if len(readings) == total else readings, numbers, source, field, name)


def apply_monitor(scan: ScanData, monitor: Monitor | None) -> ScanData:
    """Return a scan with the flux that a monitor shows, unless its counts contradict that.

    Args:
        scan: The scan, with the frames that are used.
        monitor: Readings of these frames; None for none.

    Raises:
        InputError: Where a reading of `--monitor` is no flux; the monitor of a file is left aside with a doubt.
    """
    if scan.flux is None and monitor_record(scan.provenance).get("applied") is not False:
        scan = scan.replace(provenance={key: value for key, value in scan.provenance.items() if key != MONITOR})
    if monitor is None:
        return scan
    try:
        monitor.require_flux()
    except InputError as error:
        if monitor.is_wanted:
            raise
        return _leave_aside(scan, monitor.field, error)
    return with_monitor(scan, monitor.readings, monitor.name)


def _leave_aside(scan: ScanData, place: str, error: InputError) -> ScanData:
    """Return a scan with the doubt that the monitor of its file is no flux."""
    doubt = f"the beam monitor {place} is left aside: found {error.actual}, expected {error.expected.split(';')[0]}"
    doubts = [*scan.provenance.get(DOUBTS, []), f"{doubt}; {OPTION} names another, or {NONE}"]
    return scan.replace(provenance={**scan.provenance, DOUBTS: doubts})


def _read_location(location: str, scan_path: Path) -> tuple[str, str, np.ndarray]:
    """Return the file, the name in it, and the values of a monitor."""
    name, _, inner = location.partition(":")
    path = Path(name)
    if not os.path.isfile(name):
        if not h5py.is_hdf5(scan_path):
            raise InputError(OPTION, "", f"no file {name}", "a file, or FILE.h5:DATASET")
        return str(scan_path), location, _from_scan_file(scan_path, location)
    if h5py.is_hdf5(path) and not inner:
        raise InputError(OPTION, "", location, f"{name}:DATASET, for HDF5 files hold many")
    if h5py.is_hdf5(path) or zipfile.is_zipfile(path) or path.suffix == ".npy":
        return name, inner or MONITOR, read_values(location, MONITOR, NAMES, MAX_READINGS)
    return name, inner or MONITOR, _read_table(path, inner)


def find_place(path: Path, config: LoadConfig) -> str:
    """Return the name of the array of a scan file that `--monitor` names; empty for that of another file."""
    head, _, inner = config.monitor.partition(":")
    if not os.path.isfile(head):
        return config.monitor
    return inner if os.path.samefile(head, path) else ""


def _from_scan_file(path: Path, name: str) -> np.ndarray:
    """Read a dataset of the scan file.

    Raises:
        InputError: Where it has none of that name, or one of more values than any scan has frames.
    """
    with open_hdf5(path) as file:
        dataset = find_dataset(file, name)
        if dataset is None:
            expected = f"a file, FILE.h5:DATASET, or a dataset of {path.name}"
            raise InputError(OPTION, "", f"{name}, neither a file nor a dataset", expected)
        require_at_most(str(path), name, dataset.shape, MAX_READINGS)
        return read_array(dataset, str(path))


def _read_table(path: Path, column: str) -> Readings:
    """Read a table in a text file, whose only column, or the one of a name, has one number per frame.

    Raises:
        InputError: Where the table is at fault, naming the line.
    """
    values, place, count = list[float](), 0, 0
    names, is_comment = list[str](), False
    for number, line in read_lines(path):
        cells = split_cells(line, count or len(names))
        if not count and (line.startswith("#") or _to_number(cells[0]) is None):
            names, is_comment = split_names(line), line.startswith("#")
            continue
        if not count:
            count = len(cells) if is_comment else len(names) or len(cells)
            place = (
                0 if is_comment and count == 1 and not column else _choose_column(path, number, names, count, column)
            )
        value = _to_number(cells[place]) if len(cells) == count else None
        if value is None:
            raise InputError(str(path), f"line {number}", repr(line[:60]), f"{count} numbers, as in the lines before")
        values.append(value)
        if len(values) > MAX_READINGS:
            raise InputError(str(path), MONITOR, f"more than {MAX_READINGS} lines", "one per frame")
    return np.array(values, np.float64)


def _choose_column(path: Path, number: int, names: list[str], count: int, column: str) -> int:
    """Return the column of a name, or the only one of some."""
    if column and column in names and len(names) == count:
        return names.index(column)
    if column or count != 1:
        labels = f"columns {', '.join(names)}"[:120] if names else "no names of columns"
        actual = labels if len(names) in (0, count) else f"{labels}, and {count} numbers"
        expected = f"a column {column}" if column else f"one column, or {path.name}:COLUMN"
        raise InputError(str(path), f"line {number}", actual, expected)
    return 0


def _to_number(text: str) -> float | None:
    """Return a number, with a decimal point or comma; None for other text."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
