"""The `convert` stage: bring a scan or a reconstruction into another file format."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import h5py

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.crop import LEFT_OUT
from ptypinn.io.format import WORDS, Field, fields_of, require_writable
from ptypinn.io.load_save import (
    detect_format,
    find_format,
    holds_scan,
    list_formats,
    load_reconstruction,
    read_scan,
    save,
)
from ptypinn.io.optics import Optics
from ptypinn.io.provenance import UNREAD, optics_record
from ptypinn.io.safe.external_files import external_files
from ptypinn.io.safe.hdf5_open import require_file

DEFAULTS = LoadConfig()
IN_MEMORY_GIB = 0.06
"""Counts that take more stay on disk while they are copied."""
INCIDENTAL = ("format", "memory_budget_gib")
"""Options of the reading itself, which do not change the content."""
SAME_PIXEL = 1e-9
"""Maximum relative difference of equal object pixels."""
DERIVED: tuple[Field, ...] = ("illumination",)
"""Fields that follow from others, so that nothing is lost with them."""


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion."""

    path: Path
    """The new file."""
    kind: str
    """`scan` or `reconstruction`."""
    source_format: str
    """Name of the format that was read."""
    format: str
    """Name of the format that was written."""
    lost: list[str]
    """Contents that are left out, a few words each."""


def convert(
    source: str | Path,
    target: str | Path,
    to: str = "",
    config: LoadConfig = DEFAULTS,
    *,
    overwrite: bool = False,
) -> Conversion:
    """Read a scan or a reconstruction of any format and write it in another.

    Counts in HDF5 are copied a few patterns at a time. A probe of arbitrary scale stays so, unless `photons` or a rule
    other than the default is set.

    Args:
        source: File to read.
        target: File to write, atomically.
        to: Name of its format; the most common one of its suffix where empty.
        config: Facts that the source does not state.
        overwrite: Replace an existing file.

    Raises:
        InputError: Where the source cannot be read, or the target not be written.
    """
    source, target = Path(source), Path(target)
    require_file(source)
    if target.exists() and not overwrite:
        raise InputError(str(target), "", "a file that exists", "a new one, or --overwrite as well")
    name = format_for(target, to)
    with external_files(config.allow_external):
        if config.format == "auto":
            config = dataclasses.replace(config, format=detect_format(source))
        thing = _read(source, config)
    require_writable(find_format(name), thing, target)
    lost = [*list_lost_fields(thing, name), *_fields_not_read(thing), *_unknown_fields(thing, name)]
    save(thing, target, name)
    return Conversion(target, "scan" if isinstance(thing, ScanData) else "reconstruction", config.format, name, lost)


def format_for(target: Path, to: str = "") -> str:
    """Return the name of the format to write: the one that is named, or the most common one of the suffix.

    Raises:
        InputError: Where neither determines it.
    """
    writable = {name: f for name, f in list_formats().items() if f.write or f.write_reconstruction}
    if to:
        if to not in writable:
            raise InputError("--to", "", to, f"one of {', '.join(writable)}")
        return to
    suffix = target.suffix.lower()
    ranks = {name: f.suffixes.index(suffix) for name, f in writable.items() if suffix in f.suffixes}
    if ranks:
        return min(ranks, key=lambda name: ranks[name])
    raise InputError(str(target), "suffix", repr(target.suffix), f"--to with one of {', '.join(writable)}")


def list_lost_fields(thing: ScanData | Reconstruction, name: str) -> list[str]:
    """List what a scan or a reconstruction has that a format does not hold, a few words each."""
    target = find_format(name)
    holds = target.fields.union(() if isinstance(thing, ScanData) else target.reconstruction_fields)
    filled = fields_of(thing)
    missing = [WORDS[field] for field in filled if field not in {*holds, *DERIVED}]
    if target.varies_first_mode and not {"flux", "probe_variation"}.isdisjoint(filled) and _has_modes(thing):
        missing.append("changes of the further modes of the probe over the scan")
    if isinstance(thing, ScanData) and thing.pixel_size_m is not None and "pixel_size_m" not in holds:
        optics = Optics(thing.energy_eV, thing.detector_distance_m, thing.detector_pixel_m, thing.particle)
        far_field = optics.pixel_size_m(thing.size)
        same = far_field is not None and abs(far_field / thing.pixel_size_m - 1) < SAME_PIXEL
        missing = [word for word in missing if word != WORDS["pixel_size_m"]]
        missing += [] if same else [f"object pixel of {thing.pixel_size_m:.6g} m, which the far field does not give"]
    return missing


def _has_modes(thing: ScanData | Reconstruction) -> bool:
    return thing.probe is not None and len(thing.probe) > 1


def _fields_not_read(thing: ScanData | Reconstruction) -> list[str]:
    """List what was not read of the source, and objects in it that may be the true one."""
    provenance = thing.provenance
    ignored = (f"{name} of the source, unless --truth {name} reads it" for name in provenance.get("ignored", []))
    unread = (f"{array}, an array that was not read" for array in provenance.get(UNREAD, []))
    return [*provenance.get(LEFT_OUT, []), *ignored, *unread]


def _unknown_fields(thing: ScanData | Reconstruction, name: str) -> list[str]:
    """List what other programs expect in a file of the format, and neither the source nor an option has."""
    available = optics_record(thing) if isinstance(thing, Reconstruction) else fields_of(thing)
    return [
        f"{WORDS[field]}, which {option_name(field)} supplies"
        for field in find_format(name).recommended
        if field not in available
    ]


def _read(source: Path, config: LoadConfig) -> ScanData | Reconstruction:
    if not holds_scan(source, config):
        return load_reconstruction(source, config)
    budget = min(config.memory_budget_gib, IN_MEMORY_GIB) if h5py.is_hdf5(source) else config.memory_budget_gib
    calibrate = config.photons is not None or config.calibration != DEFAULTS.calibration
    scan = read_scan(source, dataclasses.replace(config, memory_budget_gib=budget), calibrate=calibrate)
    options = {key: value for key, value in scan.provenance["options"].items() if key not in INCIDENTAL}
    return scan.replace(provenance={**scan.provenance, "options": options})
