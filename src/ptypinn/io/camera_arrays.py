"""Arrays of frames in DM and MRC files: where they lie, of which numbers, and in which order.

DM files of four axes have been written in two orders (tag `Data Order Swapped`): pattern by pattern, as recent
versions do, or pixel by pixel, with the values of all patterns side by side.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.camera_sources import StoredFrames, call_reader

MRC_HEADER_BYTES = 1024
"""Size of the header of MRC files."""
MRC_EXTENDED_BYTE, MRC_STAMP_BYTE = 92, 212
"""Places in it of the size of a further header, and of the order of bytes."""
MRC_BIG_ENDIAN = b"\x11\x11"
"""Stamp of MRC files with the most significant byte first."""
MRC_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2"}
"""Number types of MRC files by their mode."""
VOLUME = "volume_sections"
"""Key of the record of sections that were read as frames though the file calls them a volume."""
ORDER = "ImageTags.Meta Data.Data Order Swapped"
"""Tag of DM files of four axes: 1 where patterns lie one after the other."""


def read_mrc(path: Path) -> StoredFrames:
    """Return where the sections of an MRC file lie; each is a frame.

    Raises:
        InputError: Where its pixels are of a type that counts are not of.
    """
    with path.open("rb") as file:
        header = file.read(MRC_HEADER_BYTES).ljust(MRC_HEADER_BYTES, b"\0")
    order = _mrc_byte_order(header)
    columns, rows, sections, mode = struct.unpack_from(f"{order}4i", header)
    (extended,) = struct.unpack_from(f"{order}i", header, MRC_EXTENDED_BYTE)
    if mode not in MRC_MODES:
        raise InputError(str(path), "mode", str(mode), f"one of {', '.join(map(str, MRC_MODES))}")
    if min(columns, rows, sections) < 1 or extended < 0:
        actual = f"{sections} sections of {rows} x {columns} pixels after {extended} bytes"
        raise InputError(str(path), "header", actual, "sections of pixels")
    dtype = np.dtype(order + MRC_MODES[mode])
    return StoredFrames(path, MRC_HEADER_BYTES + extended, dtype, (rows, columns), (sections,))


def _mrc_byte_order(header: bytes) -> str:
    return ">" if header[MRC_STAMP_BYTE : MRC_STAMP_BYTE + 2] == MRC_BIG_ENDIAN else "<"


def note_mrc_volume(path: Path, config: LoadConfig) -> dict[str, Any]:
    """Return the record of a volume that is read as frames; none for a stack of images.

    By the definition mz is 1 in a stack of images, and the number of sections in a volume; many detectors write stacks
    as a volume.

    Args:
        path: The file.
        config: Reading options; a raster of as many positions as there are sections makes frames of them.

    Raises:
        InputError: Where the header states a volume and no raster does otherwise.
    """
    layout = read_mrc(path)
    with path.open("rb") as file:
        header = file.read(MRC_HEADER_BYTES)
    (depth,) = struct.unpack_from(f"{_mrc_byte_order(header)}i", header, 36)
    sections, raster = layout.shape[0], config.raster_shape
    if sections == 1 or depth in (0, 1):
        return {}
    if raster is not None and (config.select or math.prod(raster) == sections):
        return {VOLUME: depth}
    actual = f"a volume of {depth} sections, by mz in its header"
    expected = f"a stack of images (mz = 1), or --raster-shape with rows and columns of its {sections} sections"
    raise InputError(str(path), "file", actual, expected)


def read_dm(path: Path) -> StoredFrames:
    """Return where the patterns of a DM file lie: its first array of three axes or more.

    Raises:
        InputError: Where the file has none, or spectra.
    """

    def read() -> StoredFrames:
        from ncempy.io.dm import fileDM

        with fileDM(str(path)) as file:
            number = find_dm_image(file.allTags) or _refuse(path, "no array of three axes or more", "patterns")
            index = number - 1
            sizes = (file.xSize[index], file.ySize[index], file.zSize[index], file.zSize2[index])
            edges = [int(edge) for edge in sizes[: file.dataShape[index]]]
            dtype, offset = np.dtype(file._DM2NPDataType(file.dataType[index])), int(file.dataOffset[index])
            is_swapped, tags = is_pixel_by_pixel(file.allTags, number), file.allTags
        if str(tags.get(f".ImageList.{number}.ImageTags.Meta Data.Format", "")).strip().lower() == "spectrum image":
            _refuse(path, "a spectrum image", "patterns")
        if is_swapped and len(edges) == 3:
            _refuse(path, "three axes of which the last is that of patterns", "patterns one after the other")
        shape = edges[::-1]
        return StoredFrames(
            path,
            offset,
            dtype,
            (shape[0], shape[1]) if is_swapped else (shape[-2], shape[-1]),
            tuple(shape[2:] if is_swapped else shape[:-2]),
            is_swapped,
        )

    return call_reader(path, read)


def find_dm_image(tags: Mapping[str, Any]) -> int | None:
    """Return the number of the first image of three axes or more by the tags of a DM file, from 1; None for none."""
    for number in range(1, 1 + len(tags)):
        dimension = f".ImageList.{number}.ImageData.Dimensions"
        if f"{dimension}.3" in tags:
            return number
        if f"{dimension}.1" not in tags:
            break
    return None


def is_pixel_by_pixel(tags: Mapping[str, Any], number: int) -> bool:
    """Return True if the values of a pixel in all patterns lie side by side.

    Files of four axes without the tag are of versions that knew no other order.

    Args:
        tags: Tags of a DM file.
        number: Number of the image, from 1.
    """
    place = f".ImageList.{number}."
    return not int(tags.get(f"{place}{ORDER}", f"{place}ImageData.Dimensions.4" not in tags))


def _refuse(path: Path, actual: str, expected: str) -> int:
    raise InputError(str(path), "file", actual, expected)
