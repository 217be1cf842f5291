"""Facts that headers of cameras' files state: energy, step of the raster, detector pixel, other files of the scan."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.errors import InputError
from ptypinn.io.camera_arrays import find_dm_image, is_pixel_by_pixel, read_mrc
from ptypinn.io.camera_sources import call_reader
from ptypinn.io.raster import Calibration
from ptypinn.io.units import Kind, convert_to_si

SEQ_SIDE_FILES = (".seq.dark.mrc", ".seq.gain.mrc", ".seq.metadata", ".seq.Config.Metadata.xml")
"""Ends of the names of files that LiberTEM opens beside one of Norpix."""
BLO_FIELDS = struct.Struct("<6sHIIIHHHHHddIHId")
"""Identifier, magic number, offsets of images and of patterns, flags, edge of a pattern, its rotation, columns and rows
of the raster, its rotation, steps x and y (nm), energy (V), detector pixels per metre, camera length (0.1 mm), time."""
BLO_FRAME_HEADER_BYTES = 6
TVIPS_FIELDS = struct.Struct("<13i")
"""Length of the header, version, width, height, bits, offset x and y, binning x and y, pixel (nm), voltage (kV),
magnification, length of the header of an image."""
TVIPS_HEADER_BYTES = 256
VOLTAGE = "ImageTags.Microscope Info.Voltage"
"""Tag of DM files with the accelerating voltage, V."""
SERIES = ("mib", "tvips")
"""Formats of scans in files with running numbers."""
EMPAD_VOLTAGE = "iom_measurements/high_voltage"
"""Element of EMPAD files with the accelerating voltage, V."""


def read_blo(path: Path) -> Calibration:
    """Return step and energy of a NanoMegas block file."""
    fields = BLO_FIELDS.unpack(_first_bytes(path, BLO_FIELDS.size))
    (step_x, step_y), energy = fields[10:12], float(fields[12])
    steps = (1e-9 * step_y, 1e-9 * step_x)
    return Calibration(energy_eV=_positive(energy), step_m=steps if all(map(_positive, steps)) else None)


def blo_bytes(path: Path) -> int:
    """Return the size of a NanoMegas block file of single bytes."""
    fields = BLO_FIELDS.unpack(_first_bytes(path, BLO_FIELDS.size))
    offset, edge, columns, rows = fields[3], fields[5], fields[7], fields[8]
    return int(offset + rows * columns * (BLO_FRAME_HEADER_BYTES + edge**2))


def check_blo_pixels(path: Path, dtype: np.dtype[Any]) -> None:
    """Raise `InputError` where the patterns of a block file have more or fewer bytes than their pixels would take."""
    fields = BLO_FIELDS.unpack(_first_bytes(path, BLO_FIELDS.size))
    offset, edge, frames = fields[3], fields[5], fields[7] * fields[8]
    stated = offset + frames * (BLO_FRAME_HEADER_BYTES + edge**2 * dtype.itemsize)
    if (size := path.stat().st_size) != stated:
        actual = f"{size} bytes for {frames} patterns of {edge} x {edge} pixels of {dtype}"
        raise InputError(str(path), "file", actual, f"{stated}, or a text in it that states the bits of a pixel")


def mrc_bytes(path: Path) -> int:
    """Return the size of an MRC file."""
    return read_mrc(path).end


def dm_bytes(path: Path) -> int:
    """Return the size of a DM file: its tags, after version, length and order of bytes."""
    header = _first_bytes(path, 12)
    (version,) = struct.unpack_from(">I", header)
    (length,) = struct.unpack_from(">I" if version == 3 else ">Q", header, 4)
    return int(length) + (12 if version == 3 else 16)


def read_tvips(path: Path) -> Calibration:
    """Return the energy of a TVIPS series; its first file has it."""
    fields = TVIPS_FIELDS.unpack(_first_bytes(path, TVIPS_FIELDS.size))
    return Calibration(energy_eV=_positive(1e3 * fields[10]) if fields[0] == TVIPS_HEADER_BYTES else None)


def read_empad(path: Path) -> Calibration:
    """Return the energy that the XML file of an EMPAD states; the raw file states none."""
    if path.suffix.lower() != ".xml":
        return Calibration()

    def read() -> float | None:
        text = _parse_xml(path).findtext(EMPAD_VOLTAGE)
        return None if text is None else _positive(abs(float(text)))

    return Calibration(energy_eV=call_reader(path, read))


def read_empad_raw_name(path: Path) -> str:
    """Return the name of the raw file, in the same folder, that the XML file of an EMPAD states."""
    return call_reader(path, lambda: Path(_parse_xml(path).find("raw_file").attrib["filename"]).name)


def _parse_xml(path: Path) -> Any:
    from defusedxml.ElementTree import parse

    return parse(path).getroot()


def read_dm_calibration(path: Path) -> Calibration:
    """Return the calibration of a DM file: of its first data of three axes or more."""

    def read() -> Mapping[str, Any]:
        from ncempy.io.dm import fileDM

        with fileDM(str(path)) as file:
            return dict(file.allTags)

    tags = call_reader(path, read)
    number = find_dm_image(tags)
    return Calibration() if number is None else _calibrate_dm(tags, number)


def _calibrate_dm(tags: Mapping[str, Any], number: int) -> Calibration:
    """Return the calibration of an image of a DM file.

    Its axes are columns and rows of a pattern, then of the raster; those of the raster first where the pixels of
    patterns lie outermost. Steps in pixels, as uncalibrated axes have them, are none.
    """
    place = f".ImageList.{number}."
    dimension = f"{place}ImageData.Calibrations.Dimension."
    detector, raster = ((3, 4), (1, 2)) if is_pixel_by_pixel(tags, number) else ((1, 2), (3, 4))
    steps = [_dm_step(tags, f"{dimension}{axis}", "length") for axis in raster[::-1]]
    voltage = float(tags.get(f"{place}{VOLTAGE}", math.nan))
    return Calibration(
        energy_eV=_positive(voltage),
        step_m=(steps[0], steps[1]) if steps[0] and steps[1] else None,
        pixel_rad=_dm_step(tags, f"{dimension}{detector[0]}", "angle"),
        pixel_per_m=_dm_step(tags, f"{dimension}{detector[0]}", "reciprocal length"),
    )


def _dm_step(tags: Mapping[str, Any], axis: str, kind: Kind) -> float | None:
    """Return the step of an axis of a DM file; None where it is none of a kind."""
    return convert_to_si(float(tags.get(f"{axis}.Scale", math.nan)), str(tags.get(f"{axis}.Units", "")), kind)


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def _first_bytes(path: Path, number: int) -> bytes:
    """Return the first bytes of a file, followed by zeros where it is shorter."""
    with path.open("rb") as file:
        return file.read(number).ljust(number, b"\0")


def list_files(path: Path, kind: str) -> tuple[Path, ...]:
    """Return the files that are read with one of a camera, itself among them; nothing but headers is read.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format.

    Raises:
        InputError: Where the package is missing, or the file does not name others as it should.
    """
    return (path, *sorted(other for other in _list_others(path, kind) if other != path and other.exists()))


def list_places(path: Path, kind: str) -> list[Path]:
    """Return the places of files that are read with one of a camera, and the folder that those of a series appear in.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format.

    Raises:
        InputError: As `list_files`.
    """
    return [*_list_others(path, kind), *([path.parent] if kind in SERIES else [])]


def _list_others(path: Path, kind: str) -> list[Path]:
    """Return the places of the files of a scan, also where they are missing."""
    if kind == "empad" and path.suffix.lower() == ".xml":
        return [path.parent / read_empad_raw_name(path)]
    if kind in SERIES:
        return call_reader(path, lambda: _list_series(path, kind))
    return [path.with_name(path.stem + end) for end in SEQ_SIDE_FILES if kind == "seq"]


def _list_series(path: Path, kind: str) -> list[Path]:
    return [Path(name) for name in import_module(f"libertem.io.dataset.{kind}").get_filenames(str(path))]
