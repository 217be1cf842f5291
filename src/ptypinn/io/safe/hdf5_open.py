"""Open HDF5 files that are complete, or being written, and that refer to no file outside their folder.

HDF5 follows three kinds of references to other files without a word: external links, the sources of virtual datasets,
and raw data kept outside the file. A file from elsewhere may point them at anything that its reader may read.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the compression filters
from h5py import h5d, h5l, h5o

from ptypinn.errors import InputError
from ptypinn.io.safe.external_files import are_external_files_allowed
from ptypinn.io.safe.hdf5_heaps import require_sane_heaps

OPEN_FOR_WRITING = "already open for write"
"""Part of HDF5's message for a file whose writer has not closed it."""
LOCKED = "unable to lock file"
"""Part of HDF5's message for a file that another process has locked."""
UNFINISHED = "the file is marked as being written: its writer has not closed it; if it has ended, `h5clear -s` mends it"
DAMAGE = (OSError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)
"""Errors of h5py and NumPy for damaged files."""
MAX_OBJECTS = 500_000
"""Maximum number of links of all files together; a scan has at most a few per frame."""
MAX_LINKED = 10_000
"""Maximum number of places that `list_linked_places` lists."""
RAW_DATA = "raw data's link"
"""Kind of the references to files that are no HDF5."""


def open_for_reading(path: Path) -> h5py.File:
    """Open an HDF5 file; one that is written in the mode for simultaneous readers (SWMR) as it is at the moment.

    Raises:
        InputError: Where a writer has the file open without that mode, or ended without closing it; where the library
            would read it without end.
        OSError: Where the file is damaged.
    """
    require_sane_heaps(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if LOCKED in str(error):
            expected = "a closed file; wait for the writer, or let it write in SWMR mode"
            raise InputError(str(path), "file", "a file that another program has open for writing", expected) from error
        if OPEN_FOR_WRITING not in str(error):
            raise
    try:
        return h5py.File(path, "r", libver="latest", swmr=True)
    except OSError as error:
        actual = "a file that its writer has not closed"
        expected = f"a closed one; wait for the writer, or, if it has ended, `h5clear -s {path.name}`"
        raise InputError(str(path), "file", actual, expected) from error


def require_file(path: Path) -> None:
    """Raise `InputError` where `path` is not a file that can be read."""
    if not path.exists():
        raise InputError(str(path), "file", "nothing under this name", "a file")
    if not path.is_file():
        raise InputError(str(path), "file", "a folder" if path.is_dir() else "a device or pipe", "a file")


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, also one that is being written for readers beside the writer (SWMR).

    Raises:
        InputError: Where the file is missing, not HDF5, truncated, or damaged where it is read; where its writer has it
            open for itself; or where it leads out of its folder outside of `external_files(True)`.
    """
    require_file(path)
    if not h5py.is_hdf5(path):
        raise InputError(str(path), "file", "something else", "an HDF5 file")
    unfinished = False
    try:
        require_contained(path)
        with open_for_reading(path) as file:
            unfinished = bool(file.swmr_mode)
            yield file
    except InputError as error:
        if unfinished and UNFINISHED not in error.expected:
            raise InputError(error.source, error.field, error.actual, f"{error.expected}; {UNFINISHED}") from error
        raise
    except DAMAGE as error:
        raise InputError(str(path), "file", f"a truncated or damaged HDF5 file ({error})", "a complete one") from error


@dataclass(frozen=True)
class Reference:
    """Reference of an HDF5 file to another file."""

    name: str
    """Link or dataset with the reference."""
    kind: str
    """Kind of reference, in words."""
    target: str
    """Name of the other file, as it is written."""


def require_contained(path: Path) -> None:
    """Raise `InputError` where an HDF5 file, or a file it refers to, would be completed from outside its folder.

    What lies below the folder counts as inside. References to files that do not exist, or that HDF5 cannot open, are
    left alone: nothing can be read through them.

    Args:
        path: The file; symbolic links count as the file they lead to.
    """
    if are_external_files_allowed():
        return
    folder = path.resolve().parent
    waiting, visited, budget = [path.resolve()], set(), MAX_OBJECTS
    while waiting:
        current = waiting.pop()
        visited.add(current)
        try:
            references = list_references(current)
        except OSError:
            if current == path.resolve():
                raise
            continue
        budget -= len(references)
        if budget < 0:
            raise InputError(str(path), "file", "too many references to other files", f"at most {MAX_OBJECTS}")
        for reference in references:
            for target in _targets(reference, current.parent):
                if not target.is_relative_to(folder):
                    source = path if current == path.resolve() else current
                    where = f"{reference.kind} to {reference.target}, outside the folder of the file"
                    raise InputError(str(source), f"/{reference.name}", where, "files in it, or --allow-external")
                if target not in visited and h5py.is_hdf5(target):
                    waiting.append(target)


def list_linked_places(path: Path) -> list[Path]:
    """Return the places where HDF5 looks for the files that a file refers to, and those for what they refer to.

    Places where nothing lies are among them: a file that appears there is read from then on. Where sources of a virtual
    dataset are numbered, their folder is one of them. Files that are no HDF5, or damaged, refer to nothing.
    """
    waiting, places = [path.resolve()], dict[Path, None]()
    while waiting and len(places) < MAX_LINKED:
        current = waiting.pop()
        with contextlib.suppress(InputError, *DAMAGE):
            for reference in list_references(current) if current.is_file() and h5py.is_hdf5(current) else ():
                new = [place for place in _list_places(reference, current.parent) if place not in places]
                places.update(dict.fromkeys(new))
                waiting += [place.resolve() for place in new]
    return list(places)[:MAX_LINKED]


def list_references(path: Path) -> tuple[Reference, ...]:
    """Return every reference of an HDF5 file to another file.

    Raises:
        InputError: Where the file has more objects than a scan.
        OSError: Where it is damaged.
    """
    status = path.stat()
    return _references(path, status.st_mtime_ns, status.st_size)


def _targets(reference: Reference, folder: Path) -> Iterator[Path]:
    """Return existing files that HDF5 may resolve a reference to, with symbolic links followed.

    HDF5 files are looked for in the folder of the file first: what is there hides others of that name.
    """
    yield from (target.resolve() for target in _list_places(reference, folder) if target.is_file())


def _list_places(reference: Reference, folder: Path) -> Iterator[Path]:
    """Return places where HDF5 may look for the file of a reference, those where nothing lies included."""
    named = Path(reference.target)
    numbered = "%" in named.name  # sources of a virtual dataset: `%b` stands for their number
    places = {folder / named, Path.cwd() / named, folder / named.name}
    if reference.kind != RAW_DATA and not numbered and (folder / named).is_file():
        places = {folder / named}
    for place in sorted(places):
        if numbered and place.parent.is_dir():
            yield from (place.parent, *sorted(place.parent.glob("*")))
        else:
            yield place


@functools.lru_cache(maxsize=64)
def _references(path: Path, modified_ns: int, size: int) -> tuple[Reference, ...]:
    """Return every reference to another file; cached until the file changes."""
    references: list[Reference] = []
    count = 0

    def at_link(name: bytes, info: h5l.LinkInfo) -> bool | None:
        nonlocal count
        count += 1
        if info.type == h5l.TYPE_EXTERNAL:
            target, _ = file.id.links.get_val(name)
            references.append(Reference(name.decode(errors="replace"), "an external link", decode_name(target)))
        return True if count > MAX_OBJECTS else None

    def at_object(name: bytes, info: h5o.ObjInfo) -> None:
        if info.type == h5o.TYPE_DATASET:
            references.extend(_storage(name, h5d.open(file.id, name).get_create_plist()))

    with open_for_reading(path) as file:
        if file.id.links.visit(at_link, info=True):
            raise InputError(str(path), "file", f"more than {MAX_OBJECTS} objects", "a scan")
        h5o.visit(file.id, at_object, info=True)
    return tuple(references)


def _storage(name: bytes, created: h5py.h5p.PropDCID) -> Iterator[Reference]:
    dataset = name.decode(errors="replace")
    if created.get_layout() == h5d.VIRTUAL:
        for source in {created.get_virtual_filename(i) for i in range(created.get_virtual_count())} - {"."}:
            yield Reference(dataset, "a virtual dataset's link", decode_name(source))
    for i in range(created.get_external_count()):
        yield Reference(dataset, RAW_DATA, decode_name(created.get_external(i)[0]))


def decode_name(name: bytes | str) -> str:
    """Return the name of a file or dataset as text."""
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name


def list_source_places(name: str, dataset: h5py.Dataset) -> Iterator[Path]:
    """Return the places where HDF5 looks for a source of a virtual dataset, in order."""
    folder = Path(dataset.file.filename).resolve().parent
    yield from (folder / name, Path.cwd() / name, folder / Path(name).name)
