"""Declaration of a file format, used by its adapter, its documentation and `convert`."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import find_item
from ptypinn.io.safe.hdf5_open import open_hdf5

Field = Literal[
    "counts",
    "positions_px",
    "probe",
    "object",
    "mask",
    "energy_eV",
    "detector_distance_m",
    "detector_pixel_m",
    "pixel_size_m",
    "fresnel_number",
    "slices",
    "gap_fresnel_numbers",
    "sample_tilt",
    "particle",
    "probe_gauge",
    "background",
    "flux",
    "probe_variation",
    "beam_px",
    "point_spread_px",
    "mtf",
    "experiment",
    "illumination",
    "uncertainty",
    "unscaled",
    "records",
]
"""Content of an entry of a file: a field of `ScanData` or `Reconstruction`. `object` is the truth of a scan or the
object of a reconstruction; `records` is provenance, ledger, metrics and history."""

WORDS: dict[Field, str] = {
    "counts": "counts",
    "positions_px": "positions",
    "probe": "probe",
    "object": "object",
    "mask": "mask",
    "energy_eV": "energy",
    "detector_distance_m": "detector distance",
    "detector_pixel_m": "detector pixel",
    "pixel_size_m": "object pixel",
    "fresnel_number": "Fresnel number of a near-field scan",
    "slices": "slices of a thick sample",
    "gap_fresnel_numbers": "Fresnel numbers of the gaps between slices",
    "sample_tilt": "tilt of a thick sample against the beam",
    "particle": "kind of particle",
    "probe_gauge": "scale of the probe",
    "background": "background",
    "flux": "flux of the frames",
    "probe_variation": "changes of the probe over the scan",
    "beam_px": "motion of the beam over the detector",
    "point_spread_px": "point spread of the detector",
    "mtf": "modulation transfer function of the detector",
    "experiment": "true values of a simulated experiment",
    "illumination": "illumination",
    "uncertainty": "uncertainty of the object",
    "unscaled": "object before prediction scaling",
    "records": "records of where the data came from and how they were made",
}
"""The fields in words, for messages and tables."""


@dataclass(frozen=True)
class Entry:
    """One place in a file: an HDF5 dataset or attribute, an array of an archive, a column."""

    path: str
    """Path in the file, as the format spells it; alternatives are entries of their own."""
    field: Field | None
    """Field that it holds; None where it only helps to read others."""
    axes: str = ""
    """Shape by the names of the axes, such as `(M, N, N)`; empty for one value."""
    unit: str = ""
    """Unit in the file, such as `J`; empty where dimensionless."""
    meaning: str = ""
    """Sign, order of axes, orientation, and other conventions, in a few words."""
    optional: bool = False
    """True if files without it can be read."""


@dataclass(frozen=True)
class MissingField:
    """A quantity that files of a format do not, or need not, hold."""

    what: str
    """Description, such as `photon energy`."""
    option: str
    """Field of `LoadConfig` that supplies it."""


OPTICS = (
    MissingField("photon energy", "energy_eV"),
    MissingField("detector distance", "detector_distance_m"),
    MissingField("detector pixel", "detector_pixel_m"),
)
"""The numbers that give lengths on the sample, where files may lack them."""
TRUTH = MissingField("which object is the true one", "truth")


@dataclass(frozen=True)
class Format:
    """One file format. Scans, reconstructions or both; read, written or both.

    Writers get a temporary path in the final folder, with the final suffix, and need not be atomic.
    """

    title: str
    """Title for users."""
    suffixes: tuple[str, ...]
    """Common suffixes, lower case, with the dot, the most common first."""
    recognises: Callable[[Path], bool]
    """Return True if an existing file is of this format, by its content; False, not an error, for any other file."""
    entries: tuple[Entry, ...]
    """Every place that is read or written, in the order of the documentation."""
    missing: tuple[MissingField, ...] = ()
    """Quantities that its files lack."""
    generic: bool = False
    """True if it recognises every file of a container, such as any NPZ file: specific formats have priority."""
    notes: str = ""
    """Paragraph for the documentation: orientation, what is assumed, who writes such files."""
    read: Callable[[Path, LoadConfig], ScanData] | None = None
    """Read a scan; raises `InputError` where the file contradicts the format or leaves a choice open."""
    write: Callable[[ScanData, Path], None] | None = None
    """Write a scan; lazy counts are streamed."""
    read_reconstruction: Callable[[Path, LoadConfig], Reconstruction] | None = None
    """Read a reconstruction."""
    write_reconstruction: Callable[[Reconstruction, Path], None] | None = None
    """Write a reconstruction."""
    holds_scan: Callable[[Path, LoadConfig], bool] = lambda path, config: True
    """True if a file holds counts, and not only a reconstruction, where the format has both."""
    list_places: Callable[[Path], Iterable[Path]] = lambda path: ()
    """Return places of further files that are read with a scan, and that no HDF5 file refers to: files, also where
    they are missing, and folders where files of any name count; raises `InputError` where the file is damaged."""
    required: tuple[Field, ...] = ()
    """Fields without which no scan can be written, nor a reconstruction where `reconstruction_required` is None."""
    reconstruction_required: tuple[Field, ...] | None = None
    """Fields without which no reconstruction can be written."""
    reconstruction_fields: tuple[Field, ...] = ()
    """Fields that reconstructions carry, and scans do not."""
    varies_first_mode: bool = False
    """True if what its files hold of a varying probe and of the flux is that of the first mode."""
    recommended: tuple[Field, ...] = ()
    """Fields that other programs expect in such files; `convert` warns where they are unknown."""

    @property
    def fields(self) -> frozenset[Field]:
        """Fields that some entry holds."""
        return frozenset(entry.field for entry in self.entries if entry.field is not None)


@dataclass(frozen=True)
class Signature:
    """Content of an HDF5 file or NPZ archive by which a format recognises it, declared instead of programmed."""

    present: tuple[str, ...]
    """Datasets or arrays that the file holds, by their paths; a path that ends with a slash is a group."""
    absent: tuple[str, ...] = ()
    """Paths that it does not hold."""
    others: frozenset[str] | None = None
    """Names that may stand beside `present` at its top level; None for any."""
    archive: bool = False
    """True for NPZ archives, False for HDF5 files."""
    check: Callable[[Path], bool] | None = None
    """Further condition on a file that holds all this."""

    def __call__(self, path: Path) -> bool:
        """Return True if a file has this content."""
        if self.archive:
            return zipfile.is_zipfile(path) and self._fits_archive(path)
        if not h5py.is_hdf5(path):
            return False
        with open_hdf5(path) as file:
            fits = all(self._holds(file, name) for name in self.present)
            fits = fits and not any(name in file for name in self.absent)
            fits = fits and (self.others is None or set(file) <= {*self.present, *self.others})
        return fits and (self.check is None or self.check(path))

    def _fits_archive(self, path: Path) -> bool:
        from ptypinn.io.safe.npz import names_in_archive

        names = names_in_archive(path)
        return set(self.present) <= names and (self.others is None or names <= {*self.present, *self.others})

    @staticmethod
    def _holds(file: h5py.File, name: str) -> bool:
        if name.endswith("/"):
            return isinstance(find_item(file, name[:-1]), h5py.Group)
        return name in file and not isinstance(find_item(file, name), h5py.Group)


@dataclass(frozen=True)
class FirstBytes:
    """Bytes at the start of a file that make it one of a format."""

    magic: bytes

    def __call__(self, path: Path) -> bool:
        """Return True if a file starts with them."""
        with path.open("rb") as file:
            return file.read(len(self.magic)) == self.magic


def recognise_hdf5(recognise: Callable[[h5py.File], bool]) -> Callable[[Path], bool]:
    """Return a recogniser of HDF5 files by a condition on their content."""

    def recognise_file(path: Path) -> bool:
        if not h5py.is_hdf5(path):
            return False
        with open_hdf5(path) as file:
            return recognise(file)

    return recognise_file


def recognise_any(*recognisers: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """Return a recogniser of files that one of several recognises."""
    return lambda path: any(recognise(path) for recognise in recognisers)


def recognise_none(path: Path) -> bool:
    """Recognise no file: the recogniser of a format that is only written, or read by its name."""
    return False


def fields_of(thing: ScanData | Reconstruction) -> list[Field]:
    """List the fields that a scan or a reconstruction fills, in the order of `WORDS`."""
    names = {field.name for field in dataclasses.fields(thing)}
    return [name for name in WORDS if name in names or name in ("object", "records") if _filled(thing, name)]


def _filled(thing: ScanData | Reconstruction, name: Field) -> bool:
    if isinstance(thing, Reconstruction):
        return name == "records" or getattr(thing, name) is not None
    if name == "mask":
        return not thing.good.all()
    if name == "particle":
        return thing.particle != "photon"
    if name == "probe_gauge":
        return thing.probe is not None and thing.probe_gauge == "calibrated"
    if name == "records":
        return bool(thing.provenance)
    return getattr(thing, "truth" if name == "object" else name) is not None


def require_writable(target: Format, thing: ScanData | Reconstruction, path: Path) -> None:
    """Raise `InputError` where a format cannot be written, or not without what `thing` lacks."""
    scan = isinstance(thing, ScanData)
    if (target.write if scan else target.write_reconstruction) is None:
        expected = f"a format that ptypinn writes {'scans' if scan else 'reconstructions'} to"
        raise InputError(str(path), "format", target.title, expected)
    needs = target.required if scan or target.reconstruction_required is None else target.reconstruction_required
    missing = [name for name in needs if name not in fields_of(thing)]
    if missing:
        options = dict.fromkeys(option for name in missing for option in options_for(name))
        expected = f"one, which {target.title} files need: {' and '.join(options)}"
        raise InputError(str(path), WORDS[missing[0]], "none", expected)


def options_for(name: Field) -> tuple[str, ...]:
    """Return the options that supply a field which a file lacks."""
    geometry = ("--energy-eV", "--detector-distance-m", "--detector-pixel-m")
    return geometry if name == "pixel_size_m" else (option_name(name),)
