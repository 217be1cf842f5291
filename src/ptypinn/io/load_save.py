"""Scan and reconstruction files: one adapter per format behind `load`, `load_reconstruction` and `save`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.validation import deferred_checks
from ptypinn.errors import InputError
from ptypinn.io.apply_options import finish, finish_reconstruction
from ptypinn.io.format import Entry, Field, Format, MissingField, require_writable
from ptypinn.io.monitor import find_place
from ptypinn.io.provenance import OWN_MONITOR, UNREAD, list_unread_arrays
from ptypinn.io.registry import FORMATS, detect_format, find_format, list_formats
from ptypinn.io.safe.external_files import external_files
from ptypinn.io.safe.hdf5_open import list_linked_places, require_file
from ptypinn.utils.atomic_files import atomic_path

DEFAULTS = LoadConfig()
MAX_REASON = 200
"""Characters of an unexpected error that a message repeats."""
SUPPLYING = ("truth", "patterns_file", "positions_file", "scan_step_m", "axis_order")
"""Options for quantities that only files of some formats lack; the other formats do not read them."""


def load(path: str | Path, config: LoadConfig = DEFAULTS) -> ScanData:
    """Read a scan and bring it into the conventions of the package.

    Args:
        path: The scan file.
        config: Facts that the file does not state.

    Returns:
        The scan; a probe of arbitrary scale is calibrated by the rule that `config` names.

    Raises:
        InputError: Where the file or an option is at fault; one line that names the file and the field.
    """
    return read_scan(path, config)


def read_scan(path: str | Path, config: LoadConfig = DEFAULTS, *, calibrate: bool = True) -> ScanData:
    """Read a scan as `load` does, optionally without calibrating its probe.

    Args:
        path: The scan file.
        config: Facts that the file does not state.
        calibrate: Calibrate a probe of arbitrary scale.
    """
    path = Path(path)
    file_format = format_of(path, config)
    if file_format.read is None:
        raise InputError(str(path), "file", f"a reconstruction ({file_format.title})", "a scan")
    _require_wanted(str(path), file_format, config)
    with external_files(config.allow_external), deferred_checks(config.survey), _reading(path):
        scan = file_format.read(path, config)
        places = [scan.provenance.get(OWN_MONITOR, ""), find_place(path, config)]
        if unread := list_unread_arrays(path, file_format, config, places):
            scan = scan.replace(provenance={**scan.provenance, UNREAD: unread})
        return finish(scan, path, config, calibrate=calibrate)


def load_reconstruction(path: str | Path, config: LoadConfig = DEFAULTS) -> Reconstruction:
    """Read a reconstruction of any format.

    Args:
        path: The file.
        config: Facts that the file does not state.

    Raises:
        InputError: Where the file or an option is at fault; one line that names the file and the field.
    """
    path = Path(path)
    file_format = format_of(path, config)
    if file_format.read_reconstruction is None:
        raise InputError(str(path), "file", f"a scan ({file_format.title})", "a reconstruction")
    with external_files(config.allow_external), _reading(path):
        return finish_reconstruction(file_format.read_reconstruction(path, config), config)


def save(thing: ScanData | Reconstruction, path: str | Path, format: str = "native") -> Path:
    """Write a scan or a reconstruction, atomically.

    Args:
        thing: What to write.
        path: Where; an existing file is replaced once the new one is complete.
        format: Name of the format; `native` is the package's own, which keeps everything.

    Raises:
        InputError: Where the format cannot be written, or not without what is missing.
    """
    path, target = Path(path), find_format(format)
    require_writable(target, thing, path)
    with atomic_path(path) as temporary:
        if isinstance(thing, ScanData) and target.write is not None:
            target.write(thing, temporary)
        elif isinstance(thing, Reconstruction) and target.write_reconstruction is not None:
            target.write_reconstruction(thing, temporary)
    return path


def format_of(path: Path, config: LoadConfig = DEFAULTS) -> Format:
    """Return the format of an existing file: the one that `config` names, or else by its content."""
    require_file(path)
    with external_files(config.allow_external), _reading(path):
        name = detect_format(path) if config.format == "auto" else config.format
    file_format = find_format(name)
    if file_format.read is None and file_format.read_reconstruction is None:
        readable = [name for name, f in list_formats().items() if f.read or f.read_reconstruction]
        raise InputError("--format", "", name, f"one of {', '.join(readable)}")
    return file_format


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what nobody expects of a file into an error that names it: damaged files raise anything in any library.

    Raises:
        InputError: Where something else than bad input, a failure of the disk or lack of memory is raised.
    """
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]
        raise InputError(str(path), "file", f"a damaged file ({reason})", "a complete one") from error


def _require_wanted(source: str, file_format: Format, config: LoadConfig) -> None:
    """Raise `InputError` where an option supplies a quantity that files of the format hold: it would be ignored."""
    for name in SUPPLYING:
        value = getattr(config, name)
        if value != getattr(DEFAULTS, name) and name not in {lack.option for lack in file_format.missing}:
            expected = f"nothing, for files of this format ({file_format.title})"
            raise InputError(source, option_name(name), str(value), expected)


def holds_scan(path: Path, config: LoadConfig = DEFAULTS) -> bool:
    """Return True if an existing file holds a scan; if not, it holds a reconstruction and no counts."""
    file_format = format_of(path, config)
    with external_files(config.allow_external), _reading(path):
        return file_format.read is not None and (
            file_format.read_reconstruction is None or file_format.holds_scan(path, config)
        )


def list_scan_places(path: Path, config: LoadConfig) -> list[Path]:
    """Return the places of all files that a scan is read from; no counts are read.

    They are the scan file, the files that go with it by its format, those of the reading options, and whatever HDF5
    files among them refer to, also where nothing lies in such a place so far.

    Args:
        path: The scan file; it may be damaged.
        config: Reading options.
    """
    named = [path, *_list_option_places(config)]
    with contextlib.suppress(InputError, OSError, MemoryError):
        named += format_of(path, config).list_places(path)
    linked = [place for each in named for place in list_linked_places(each)]
    return list(dict.fromkeys([*named, *linked]))


def _list_option_places(config: LoadConfig) -> Iterator[Path]:
    """Yield the files that options may name, with or without the dataset that they add."""
    for option in fields(config):
        value = getattr(config, option.name)
        if isinstance(value, str) and value != option.default:
            yield from dict.fromkeys((Path(value), Path(value.partition(":")[0])))


__all__ = [
    "DEFAULTS",
    "FORMATS",
    "Entry",
    "Field",
    "Format",
    "MissingField",
    "detect_format",
    "find_format",
    "format_of",
    "holds_scan",
    "list_formats",
    "list_scan_places",
    "load",
    "load_reconstruction",
    "read_scan",
    "save",
]
