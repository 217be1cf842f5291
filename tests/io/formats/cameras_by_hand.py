"""Frames of electron cameras in the files of seven programs, written by hand from the definitions of their formats."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

ROWS, COLUMNS, EDGE = 3, 4, 64
VOLTAGE_V, STEP_NM = 200e3, (0.3, 0.25)


def frames(dtype: str, edge: int = EDGE, high: int = 200) -> np.ndarray:
    """Counts, (ROWS * COLUMNS, edge, edge)."""
    return np.random.default_rng(3).integers(0, high, (ROWS * COLUMNS, edge, edge)).astype(dtype)


def empad(folder: Path) -> tuple[Path, np.ndarray]:
    """130 rows of 128 float32 per frame; the last two are no image, and here a trap."""
    image = frames("<f4", 128)
    rows = np.full((len(image), 130, 128), 1e9, "<f4")
    rows[:, :128] = image
    rows.tofile(folder / "scan.raw")
    xml = folder / "scan.xml"
    xml.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<root><raw_file filename="scan.raw"/>'
        f'<scan_parameters mode="acquire"><scan_resolution_x>{COLUMNS}</scan_resolution_x>'
        f"<scan_resolution_y>{ROWS}</scan_resolution_y></scan_parameters>"
        f"<iom_measurements><high_voltage>{VOLTAGE_V}</high_voltage></iom_measurements></root>"
    )
    return xml, image


def empad_raw(folder: Path) -> tuple[Path, np.ndarray]:
    path, image = empad(folder)
    return path.with_suffix(".raw"), image


def mib_header(number: int, dtype: str, bits: int) -> bytes:
    """Merlin 1: identifier, number, length, chips, width, height, kind, layout, mask, time, ..., bits of a pixel."""
    text = f"MQ1,{number:06d},00384,01,{EDGE:04d},{EDGE:04d},{dtype},   1x1,01,2026-01-01 12:00:00.0,0.001,0,0,0,{bits}"
    return (text + ",").encode().ljust(384, b"\0")


def mib(folder: Path) -> tuple[Path, np.ndarray]:
    """Processed frames, big-endian, in two files; the .hdr states lines of a raster."""
    image = frames("u2", high=60000)
    for number, part in enumerate(np.split(image, [7])):
        with (folder / f"scan{number:02d}.mib").open("wb") as file:
            for place, frame in enumerate(part, 1 + 7 * number):
                file.write(mib_header(place, "U16", 12) + frame.astype(">u2").tobytes())
    path = folder / "scan.hdr"
    lines = ["HDR,\t", f"Frames in Acquisition (Number):\t{ROWS * COLUMNS}", f"Frames per Trigger (Number):\t{COLUMNS}"]
    path.write_text("\n".join([*lines, "End\t"]) + "\n")
    return path, image


def mib_raw(folder: Path) -> tuple[Path, np.ndarray]:
    """Raw frames of 12 bits: big-endian, every four pixels in reverse; a single file without a raster."""
    image = frames("u2", high=4096)
    path = folder / "raw.mib"
    with path.open("wb") as file:
        for number, frame in enumerate(image, 1):
            swapped = frame.reshape(EDGE, EDGE // 4, 4)[..., ::-1].reshape(EDGE, EDGE)
            file.write(mib_header(number, "R64", 12) + swapped.astype(">u2").tobytes())
    return path, image


def blo(folder: Path) -> tuple[Path, np.ndarray]:
    """NanoMegas: a header, a bright-field image, then 6 bytes before every pattern of single bytes."""
    image = frames("u1")
    first, second = 0x1000, 0x1000 + ROWS * COLUMNS
    step_y, step_x = STEP_NM
    header = struct.pack(
        "<6sHIIIHHHHHddIHId", b"IMGBLO", 258, first, second, 0, EDGE, 0, COLUMNS, ROWS, 0, step_x, step_y,
        int(VOLTAGE_V), 0, 0, 0.0,
    )  # fmt: skip
    path = folder / "scan.blo"
    with path.open("wb") as file:
        file.write(header.ljust(first, b"\0") + bytes(ROWS * COLUMNS))
        for number, frame in enumerate(image):
            file.write(struct.pack("<HI", 0x55AA, number) + frame.tobytes())
    return path, image


def tvips(folder: Path) -> tuple[Path, np.ndarray]:
    """Version 2: a header in the first file, one before every image, and a second file that goes on."""
    image = frames("<u2", high=60000)
    header = struct.pack("<13i", 256, 2, EDGE, EDGE, 16, 0, 0, 1, 1, 15500, int(VOLTAGE_V / 1e3), 0, 128).ljust(
        256, b"\0"
    )
    path = folder / "scan_000.tvips"
    for number, part in enumerate(np.split(image, [7])):
        with (folder / f"scan_{number:03d}.tvips").open("wb") as file:
            file.write(b"" if number else header)
            for place, frame in enumerate(part, 7 * number):
                scan = struct.pack("<2f", place % COLUMNS, place // COLUMNS)
                file.write((struct.pack("<I", place).ljust(68, b"\0") + scan).ljust(128, b"\0") + frame.tobytes())
    return path, image


def seq(folder: Path) -> tuple[Path, np.ndarray]:
    """Norpix StreamPix 6: 8192 bytes of header, frames with a time of 8 bytes behind each."""
    image = frames("<u2", high=60000)
    size = 2 * EDGE * EDGE
    header = struct.pack("<I24sii512s", 0xFEED, "Norpix seq".encode("utf-16-le"), 5, 1024, "camera".encode("utf-16-le"))
    header += struct.pack("<9I", EDGE, EDGE, 16, 16, size, 100, len(image), 0, size + 8)
    path = folder / "scan.seq"
    with path.open("wb") as file:
        file.write(header.ljust(8192, b"\0"))
        for frame in image:
            file.write(frame.tobytes() + bytes(8))
    return path, image


def mrc(folder: Path, depth: int = 1, order: str = "<") -> tuple[Path, np.ndarray]:
    """MRC 2014: 1024 bytes of header with the letters MAP, then 16-bit sections (mode 6: unsigned); depth: mz."""
    image = frames(f"{order}u2", high=60000)
    header = struct.pack(f"{order}4i", EDGE, EDGE, len(image), 6) + bytes(12)
    header += struct.pack(f"{order}3i6f3i", EDGE, EDGE, depth, EDGE, EDGE, len(image), 90, 90, 90, 1, 2, 3)
    letters = b"MAP " + {"<": b"\x44\x44", ">": b"\x11\x11"}[order]
    path = folder / "scan.mrc"
    path.write_bytes(header.ljust(208, b"\0") + letters.ljust(1024 - 208, b"\0") + image.tobytes())
    return path, image.astype("u2")


def mrc_big_endian(folder: Path) -> tuple[Path, np.ndarray]:
    return mrc(folder, order=">")


DM_TYPES = {"<i2": (1, 2), "<f4": (2, 6), "<u1": (6, 8), "<i4": (7, 3), "<u2": (10, 4), "<u4": (11, 5)}
"""Data type of an image and of an element of its data, by the type of NumPy."""


def dm4(folder: Path, dtype: str = "<u2", swapped: int | None = 1) -> tuple[Path, np.ndarray]:
    """DigitalMicrograph 4: groups of tags; a raster with steps in nm and mrad.

    Of swapped order, patterns lie one after the other. Before there was a tag for it, axes began with those of the
    raster, and the innermost one was that of its columns.
    """
    image = frames(dtype, high=200 if dtype == "<u1" else 30000)
    detector = [(EDGE, 0.5, "mrad"), (EDGE, 0.5, "mrad")]
    raster = [(COLUMNS, STEP_NM[1], "nm"), (ROWS, STEP_NM[0], "nm")]
    axes = detector + raster if swapped else raster + detector
    stored = image if swapped else np.moveaxis(image, 0, -1)
    kind, element = DM_TYPES[dtype]
    data = _group(
        ("Calibrations", _group(("Dimension", _group(*(("", _step(*axis[1:])) for axis in axes))))),
        ("Data", _array(element, np.ascontiguousarray(stored).tobytes(), image.size)),
        ("DataType", _number(5, kind)),
        ("Dimensions", _group(*(("", _number(5, axis[0])) for axis in axes))),
    )
    order = [] if swapped is None else [("Data Order Swapped", _number(8, swapped))]
    tags = _group(
        ("Meta Data", _group(*order, ("Format", _text("Diffraction image")))),
        ("Microscope Info", _group(("Voltage", _number(7, VOLTAGE_V)))),
    )
    root = _group(("ImageList", _group(("", _group(("ImageData", data), ("ImageTags", tags))))))
    path = folder / "scan.dm4"
    path.write_bytes(struct.pack(">IQI", 4, len(root) + 8, 1) + root + bytes(8))
    return path, image


def dm4_pixel_by_pixel(folder: Path) -> tuple[Path, np.ndarray]:
    return dm4(folder, swapped=None)


def dm4_signed(folder: Path) -> tuple[Path, np.ndarray]:
    return dm4(folder, dtype="<i2")


WIDTHS = {2: "<h", 3: "<i", 4: "<H", 5: "<I", 6: "<f", 7: "<d", 8: "<B"}


def _entry(label: str, content: tuple[int, bytes]) -> bytes:
    kind, body = content
    return struct.pack(">BH", kind, len(label)) + label.encode() + struct.pack(">Q", len(body)) + body


def _group(*entries: tuple[str, bytes | tuple[int, bytes]]) -> bytes:
    """Sorted, closed, number of tags, the tags; a group is a tag of kind 20 itself."""
    body = b"".join(_entry(name, content if isinstance(content, tuple) else (20, content)) for name, content in entries)
    return struct.pack(">BBQ", 1, 0, len(entries)) + body


def _data(info: tuple[int, ...], body: bytes) -> tuple[int, bytes]:
    return 21, b"%%%%" + struct.pack(f">Q{len(info)}Q", len(info), *info) + body


def _number(kind: int, value: float) -> tuple[int, bytes]:
    return _data((kind,), struct.pack(WIDTHS[kind], value if kind in (6, 7) else int(value)))


def _array(kind: int, body: bytes, number: int) -> tuple[int, bytes]:
    return _data((20, kind, number), body)


def _text(value: str) -> tuple[int, bytes]:
    return _array(4, value.encode("utf-16-le"), len(value))


def _step(scale: float, unit: str) -> bytes:
    return _group(("Origin", _number(6, 0.0)), ("Scale", _number(6, scale)), ("Units", _text(unit)))


RASTERS = (empad, mib, blo, dm4, dm4_pixel_by_pixel, dm4_signed)
STACKS = (empad_raw, mib_raw, tvips, seq, mrc, mrc_big_endian)
WRITERS = {one.__name__: one for one in (*RASTERS, *STACKS)}
"""Writers by their names: of files that state a raster, and of those that state none."""
